"""What cannot be embedded is said once as new, and not tried again as long as nothing that may help has changed."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.encode.encoder import Encoder
from llave.search import known_errors
from llave.search.index import Index
from llave.search.info import index_info
from llave.search.manage import move_source, remove_source
from tests.search.things import build, counts

Draw = Callable[[int], Image.Image]


@pytest.fixture
def folder(tmp_path: Path, picture: Draw) -> Path:
    root = tmp_path / "things"
    root.mkdir()
    picture(0).save(root / "p0.png")
    (root / "bad.png").write_bytes(b"no picture")
    (root / "empty.txt").write_text("")
    return root


@pytest.fixture
def index(tmp_path: Path, nano_untouched: SentenceTransformer) -> Index:
    return Index.create(tmp_path / "index", index_info(nano_untouched, "nano"))


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that were read."""
    names: list[str] = []
    measure = Encoder.measure

    def noting(self: Encoder, items: list, *rest: object) -> object:  # type: ignore[type-arg]
        names.extend(item.file.name for item in items if item.file is not None)
        return measure(self, items, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Encoder, "measure", noting)
    return names


def test_errors_are_new_once(index: Index, nano_untouched: SentenceTransformer, folder: Path, tried: list[str]) -> None:
    report = build(index, nano_untouched, folder, make_map=False)
    assert report.errors.keys() == {"bad.png", "empty.txt"}
    assert report.known == []
    tried.clear()
    report = build(index, nano_untouched, folder, make_map=False)
    assert report.errors.keys() == {"bad.png", "empty.txt"}
    assert set(report.known) == {"bad.png", "empty.txt"}
    assert counts(report) == (0, 0, 0, 1, 0)
    assert "2 with errors (2 of them known)" in str(report)
    assert tried == []
    (folder / "bad.png").write_bytes(b"no picture either")
    (folder / "empty.txt").write_text(" ")
    assert build(index, nano_untouched, folder, make_map=False).known == []
    assert tried == ["bad.png"]


def test_what_may_help_is_tried(
    index: Index,
    nano_untouched: SentenceTransformer,
    folder: Path,
    tried: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error stays a known one."""
    build(index, nano_untouched, folder, make_map=False)

    def again(**options: int) -> list[str]:
        tried.clear()
        assert "bad.png" in build(index, nano_untouched, folder, make_map=False, **options).known
        return tried

    os.chmod(folder / "bad.png", 0o600)
    assert again() == ["bad.png"]
    assert again() == []
    assert again(max_pixels=1000) == ["bad.png"]
    assert again() == ["bad.png"]
    monkeypatch.setattr(known_errors, "_packages", lambda: "another decoder is installed")
    assert again() == ["bad.png"]
    assert again() == []
    assert set(again(check_content=True)) == {"bad.png", "p0.png"}


def test_a_good_file_is_no_error_any_more(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, picture: Draw
) -> None:
    build(index, nano_untouched, folder, make_map=False)
    picture(1).save(folder / "bad.png")
    (folder / "empty.txt").unlink()
    assert counts(build(index, nano_untouched, folder, make_map=False)) == (1, 0, 0, 1, 0)
    assert not (index.path / "errors.jsonl").exists()


def test_each_source_has_its_own(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / "t.jsonl"
    table.write_text('{"id": "bad.png", "image": "none.png"}\n{"id": 2, "text": "fine"}\n')

    def errors() -> list[tuple[str, str]]:
        lines = (index.path / "errors.jsonl").read_text().splitlines()
        return sorted((row["source"], row["key"]) for row in map(json.loads, lines))

    build(index, nano_untouched, folder, make_map=False)
    assert build(index, nano_untouched, table, make_map=False).known == []
    of_folder = [(str(folder), "bad.png"), (str(folder), "empty.txt")]
    assert errors() == sorted([*of_folder, (str(table), "bad.png")])
    assert build(index, nano_untouched, table, make_map=False).known == ["bad.png"]
    moved = folder.rename(tmp_path / "elsewhere")
    move_source(index, folder, moved)
    assert len(build(index, nano_untouched, moved, make_map=False).known) == 2
    remove_source(index, moved)
    assert errors() == [(str(table), "bad.png")]


@pytest.mark.parametrize(
    "line", ["", "{", "[]", '{"key": 1}', '{"key": "bad.png", "error": "x", "source": 5}', "[" * 9999]
)
def test_a_file_of_errors_of_anybody(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, line: str
) -> None:
    (index.path / "errors.jsonl").write_text(line + "\n")
    assert build(index, nano_untouched, folder, make_map=False).known == []
