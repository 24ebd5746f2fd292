"""What an index remembers may have been written by anybody."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from llave.errors import UserError
from llave.search.info import IndexInfo, read_info, write_info

INFO = IndexInfo(model="m", fingerprint="f", dimension=4)


def test_it_comes_back(tmp_path: Path) -> None:
    info = dataclasses.replace(INFO, chunk_tokens=100)
    write_info(tmp_path, info)
    assert read_info(tmp_path) == info


@pytest.mark.parametrize(
    "changes",
    [
        {"dimension": "4"},
        {"dimension": True},
        {"model": None},
        {"prompts": {"item": ""}},
        {"prompts": []},
        {"settings": [1, 2]},
        {"settings": {"probes": "many", "refine": 1}},
        {"num_frames": 8.5},
        {"chunk_tokens": "x"},
        {"unknown": 1},
        {"dimension": 0},
        {"dimension": 10**12},
        {"num_frames": -1},
        {"chunk_tokens": 0},
        {"generation": -1},
        {"settings": {"probes": 0, "refine": 1}},
        {"settings": {"probes": 1, "refine": 10**400}},
        {"dtype": "../x"},
        {"store": ""},
        {"collection": "../other"},
        {"model": ""},
    ],
)
def test_a_value_that_cannot_be_is_one_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_info(tmp_path, INFO)
    file = tmp_path / "index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(UserError, match=r"index\.json: damaged"):
        read_info(tmp_path)


@pytest.mark.parametrize("text", ["[]", "null", "{", "1", '"x"', "[" * 100_000])
def test_what_is_no_object_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(UserError, match=r"index\.json: damaged"):
        read_info(tmp_path)
