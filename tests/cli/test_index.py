"""``llave index``: exit codes, and what else is done with an index."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from llave.cli.main import main
from llave.models import precision
from llave.models.about import dtype_of
from llave.models.nano_build import build_nano
from llave.search.build import build_index
from llave.search.index import Index

Captured = pytest.CaptureFixture[str]
Draw = Callable[[int], Image.Image]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a name that is also a word of the command."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "sources"
    root.mkdir()
    (root / "a.txt").write_text("a red circle")
    (root / "b.txt").write_text("a blue square")
    return root


def llave(*words: object) -> int:
    return main(["index", *map(str, words)])


def update(*words: object) -> int:
    return llave("nano", *words, "--index", "the.index", "--map", "false", "--device", "cpu")


def test_only_new_errors_end_with_one(folder: Path, capsys: Captured) -> None:
    assert update(folder) == 0
    (folder / "bad.png").write_bytes(b"no picture")
    assert update(folder) == 1
    assert "left out bad.png" in capsys.readouterr().err
    assert update(folder) == 0
    captured = capsys.readouterr()
    assert "1 with errors (1 of them known)" in captured.out
    assert "left out bad.png" not in captured.err
    assert "all 1 errors, 1 of them known" in captured.err
    assert update(folder, "--strict") == 1
    (folder / "worse.png").write_bytes(b"no picture")
    capsys.readouterr()
    assert update(folder, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["errors"].keys() == {"bad.png", "worse.png"}
    assert report["known"] == ["bad.png"]


def test_sources_move_and_remove(folder: Path, capsys: Captured) -> None:
    assert update("sources") == 0
    moved = folder.rename(folder.with_name("moved"))
    assert llave("move", "the.index", "sources", "moved") == 0
    assert "2 items are of moved now" in capsys.readouterr().out
    assert update("moved") == 0
    assert "2 unchanged" in capsys.readouterr().out
    assert llave("sources", "the.index", "--json") == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found.pop("updated")
    assert found == {"path": str(moved), "items": 2, "there": True, "missing": 0}
    moved.rename(folder)
    assert llave("sources", "the.index") == 0
    assert "gone" in capsys.readouterr().out
    assert llave("remove", "the.index", "sources") == 2
    assert f"its sources are: {moved}" in capsys.readouterr().err
    assert llave("remove", "the.index", "moved") == 0
    assert "2 items of moved removed" in capsys.readouterr().out


def test_a_renamed_folder_is_taken_over(folder: Path, capsys: Captured) -> None:
    assert update(folder) == 0
    folder.rename(folder.with_name("renamed"))
    capsys.readouterr()
    assert update("renamed") == 0
    captured = capsys.readouterr()
    assert "the.index: 2 items" in captured.out
    assert "no longer there; 2 of its items are here now" in captured.err


def test_upgrade(folder: Path, capsys: Captured) -> None:
    build_nano(device="cpu", seed=1).save_pretrained("model")
    (folder / "bad.png").write_bytes(b"no picture")
    assert update(folder) == 1
    (folder / "a.txt").unlink()
    words = ("upgrade", "the.index", "--model", "model", "--map", "false", "--device", "cpu")
    capsys.readouterr()
    assert llave(*words) == 0
    captured = capsys.readouterr()
    assert "the.index: 1 items of" in captured.out
    assert "1 embedded" in captured.out
    assert f"{folder}: 1 items are gone, and left the index" in captured.err
    assert "all 1 errors, 1 of them known" in captured.err
    assert llave(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["embedded"] == 0
    assert main(["search", "square", "--index", "the.index", "--json", "--device", "cpu"]) == 0
    assert [hit["path"] for hit in json.loads(capsys.readouterr().out)] == ["b.txt"]
    assert update(folder) == 2
    assert "other weights" in capsys.readouterr().err


def test_an_index_remembers_int8(folder: Path, capsys: Captured) -> None:
    assert update(folder, "--quantize", "int8") == 0
    assert "int8: cosine to the same model's float32 vectors at least 0.9" in capsys.readouterr().err
    kept = json.loads(Path("the.index/index.json").read_text())
    assert (kept["quantize"], kept["dtype"]) == ("int8", "float32")
    (folder / "c.txt").write_text("a green line")
    assert update(folder) == 0, "without a word it is as before"
    said = capsys.readouterr()
    assert "1 added" in said.out
    assert "cosine" not in said.err, "said once"
    assert update(folder, "--quantize", "none") == 2
    assert "was made with quantize int8, and this model is opened with none; say --quantize int8" in (
        capsys.readouterr().err
    )
    assert Index.open("the.index").search("a green line", limit=1)[0].path == "c.txt"
    assert llave("upgrade", "the.index", "--model", "nano", "--quantize", "none", "--map", "false") == 0
    assert json.loads(Path("the.index/index.json").read_text())["quantize"] == "none"


@pytest.mark.parametrize("quick", [True, False])
def test_an_index_keeps_its_type_on_other_processors(
    folder: Path, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made on a processor with bfloat16 and searched on one without, and the other way round."""
    monkeypatch.setattr(precision, "processor_multiplies_bfloat16", lambda: quick)
    assert update(folder) == 0
    assert json.loads(Path("the.index/index.json").read_text())["dtype"] == ("bfloat16" if quick else "float32")
    monkeypatch.setattr(precision, "processor_multiplies_bfloat16", lambda: not quick)
    (folder / "c.txt").write_text("a green line")
    assert update(folder) == 0
    index = Index.open("the.index")
    assert index.search("a green line", limit=1)[0].path == "c.txt"
    assert dtype_of(index.use_model()) == index.info.dtype
    _, report = build_index("the.index", "nano", folder)
    assert report.unchanged == 3
