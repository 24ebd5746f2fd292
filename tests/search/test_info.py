"""What an index remembers may have been written by anybody."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from llave.errors import UserError
from llave.search.info import IndexInfo, read_info, write_info
from llave.search.store import Settings

INFO = IndexInfo(model="m", fingerprint="f", dimension=4)


def test_it_comes_back(tmp_path: Path) -> None:
    settings = Settings(40, 16, "binary", 3, 0.9)
    info = dataclasses.replace(INFO, chunk_tokens=100, settings=settings)
    write_info(tmp_path, info)
    assert read_info(tmp_path) == info


def test_settings_of_before(tmp_path: Path) -> None:
    """An index that knew probes and candidates alone has 8 bits of whole vectors, as it was made."""
    write_info(tmp_path, INFO)
    file = tmp_path / "index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "settings": {"probes": 10, "refine": 4}}))
    assert read_info(tmp_path).settings == Settings(10, 4, "int8", None)


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
        {"settings": {"precision": "int4"}},
        {"settings": {"precision": ["int8"]}},
        {"settings": {"prefix": 0}},
        {"settings": {"prefix": 5}},
        {"settings": {"prefix": "2"}},
        {"settings": {"target": 0}},
        {"settings": {"target": "0.9"}},
        {"settings": {"target": True}},
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
