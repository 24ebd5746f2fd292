"""Where items come from: folders that move, disks that are gone, sources that are taken out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.encode.encoder import Encoder
from llave.errors import UserError
from llave.search import manage
from llave.search.index import Index
from llave.search.info import index_info
from llave.search.manage import list_sources, move_source, remove_source
from tests.search.things import build, check_equal, counts, rows

Draw = Callable[[int], Image.Image]


@pytest.fixture
def folder(tmp_path: Path, picture: Draw) -> Path:
    root = tmp_path / "things"
    (root / "sub").mkdir(parents=True)
    for number in range(3):
        picture(number).save(root / f"p{number}.png")
    (root / "sub" / "note.txt").write_text("a red circle on blue")
    return root


@pytest.fixture
def index(tmp_path: Path, nano_untouched: SentenceTransformer, folder: Path) -> Index:
    made = Index.create(tmp_path / "index", index_info(nano_untouched, "nano"))
    build(made, nano_untouched, folder, make_map=False)
    return made


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items went through the model, call by call."""
    calls: list[int] = []
    encode = Encoder.encode

    def counting(self: Encoder, items: list, *rest: object, **more: object) -> object:  # type: ignore[type-arg]
        calls.append(len(items))
        return encode(self, items, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Encoder, "encode", counting)
    return calls


def state(index: Index) -> list[tuple[str, int, bool, int]]:
    return [(each.path, each.items, each.there, each.missing) for each in list_sources(index)]


def test_sources_are_listed(index: Index, nano_untouched: SentenceTransformer, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    table.write_text('{"id": 1, "text": "a row"}\n')
    build(index, nano_untouched, table, make_map=False)
    (folder / "p0.png").unlink()
    assert state(index) == [(str(folder), 4, True, 1), (str(table), 1, True, 0)]
    assert all(each.updated for each in list_sources(index))
    table.unlink()
    assert state(index)[1] == (str(table), 1, False, 1)


def test_an_index_of_before_knows_its_sources(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, embedded: list[int]
) -> None:
    """It has no sources.json, and ids of paths."""
    (index.path / "sources.json").unlink()
    assert state(index) == [(str(folder), 4, True, 0)]
    assert counts(build(index, nano_untouched, folder, make_map=False)) == (0, 0, 0, 4, 0)
    assert sum(embedded) == 0


def test_a_folder_that_is_said_to_have_moved(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, embedded: list[int]
) -> None:
    before = rows(index)
    moved = folder.rename(folder.with_name("elsewhere"))
    assert move_source(index, folder, moved) == 4
    check_equal(rows(index), before)
    assert state(index) == [(str(moved), 4, True, 0)]
    assert index.file(index.find("p0.png") or "") == moved / "p0.png"
    assert counts(build(index, nano_untouched, moved, make_map=False)) == (0, 0, 0, 4, 0)
    assert sum(embedded) == 0
    folder.mkdir()  # another one takes its place: ids are of both
    (folder / "p0.png").write_bytes((moved / "p1.png").read_bytes())
    assert counts(build(index, nano_untouched, folder, make_map=False)) == (1, 0, 0, 0, 0)
    assert len(rows(index)) == 5
    assert sum(embedded) == 1


def test_what_cannot_move(index: Index, nano_untouched: SentenceTransformer, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing there"):
        move_source(index, folder, tmp_path / "none")
    with pytest.raises(UserError, match=f"no items of .*none; its sources are: {folder}"):
        move_source(index, tmp_path / "none", tmp_path)
    table = tmp_path / "t.jsonl"
    table.write_text('{"id": 1, "text": "a row"}\n')
    build(index, nano_untouched, table, make_map=False)
    with pytest.raises(UserError, match=r"one of its sources already.*llave index remove"):
        move_source(index, folder, table)


def test_a_move_that_was_killed(
    index: Index,
    nano_untouched: SentenceTransformer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    embedded: list[int],
) -> None:
    """Between the list of sources and the rows: the same call ends it, and so does the next run."""
    before = rows(index)
    for again in ("move", "index"):
        moved = folder.rename(folder.with_name(f"before {again}"))
        with monkeypatch.context() as patch:
            patch.setattr(manage, "end_moves", lambda index: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                move_source(index, folder, moved)
        if again == "move":
            assert move_source(index, folder, moved) == 4
        else:
            assert counts(build(index, nano_untouched, moved, make_map=False)) == (0, 0, 0, 4, 0)
        check_equal(rows(index), before)
        assert state(index) == [(str(moved), 4, True, 0)]
        folder = moved
    assert sum(embedded) == 0


def test_a_moved_folder_that_is_indexed_again_has_no_twins(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, embedded: list[int], picture: Draw
) -> None:
    moved = folder.rename(folder.with_name("elsewhere"))
    picture(9).save(moved / "p0.png")  # one that has changed meanwhile
    report = build(index, nano_untouched, moved, make_map=False)
    assert counts(report) == (4, 0, 0, 0, 0)
    assert sum(embedded) == 1
    [line] = report.notes
    assert "things: no longer there; 3 of its items are here now, and were taken over; 1 of its items stay" in line
    assert "llave index move" in line
    assert "llave index remove" in line
    assert remove_source(index, folder) == 1
    assert state(index) == [(str(moved), 4, True, 0)]
    fresh = Index.create(index.path.with_name("fresh"), index.info)
    build(fresh, nano_untouched, moved, make_map=False)
    check_equal(rows(index), rows(fresh))


def test_a_source_whose_items_are_all_elsewhere_is_forgotten(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, embedded: list[int]
) -> None:
    moved = folder.rename(folder.with_name("elsewhere"))
    assert "4 of its items are here now" in build(index, nano_untouched, moved, make_map=False).notes[0]
    assert state(index) == [(str(moved), 4, True, 0)]
    assert build(index, nano_untouched, moved, make_map=False).notes == []
    assert sum(embedded) == 0


def test_a_disk_that_is_not_mounted_loses_nothing(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, tmp_path: Path, embedded: list[int]
) -> None:
    """What another folder has under another name stays in the index twice, and a line says how to change that."""
    away = folder.rename(tmp_path / "away")
    other = tmp_path / "other"
    other.mkdir()
    (other / "another name.png").write_bytes((away / "p0.png").read_bytes())
    report = build(index, nano_untouched, other, make_map=False)
    assert "4 of its items stay in the index" in report.notes[0]
    away.rename(folder)
    assert counts(build(index, nano_untouched, folder, make_map=False)) == (0, 0, 0, 4, 0)
    assert sum(embedded) == 0


def test_renamed_and_copied_files_are_not_embedded_again(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, embedded: list[int], picture: Draw
) -> None:
    """Names that change places, too: a vector is taken from where its content was before this run."""
    (folder / "p0.png").rename(folder / "swap.png")
    (folder / "p1.png").rename(folder / "p0.png")
    (folder / "swap.png").rename(folder / "p1.png")
    (folder / "copy.png").write_bytes((folder / "p2.png").read_bytes())
    (folder / "sub" / "note.txt").rename(folder / "note.txt")
    assert counts(build(index, nano_untouched, folder, make_map=False)) == (2, 2, 0, 1, 1)
    assert sum(embedded) == 0
    best = index.search(np.asarray(nano_untouched.encode(picture(1))), limit=1)[0]  # type: ignore[call-overload]
    assert (best.path, best.score) == ("p0.png", pytest.approx(1, abs=1e-5))


def test_a_source_is_removed_though_it_is_gone(index: Index, folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "away")
    with pytest.raises(UserError, match=f"its sources are: {folder}"):
        remove_source(index, tmp_path)
    assert remove_source(index, folder) == 4
    assert index.count() == 0
    assert state(index) == []
    with pytest.raises(UserError, match="its sources are: none"):
        remove_source(index, folder)


@pytest.mark.parametrize(
    "sources",
    [
        "[]",
        "{",
        '{"/a": {}}',
        '{"/a": {"path": "/b", "name": "/a", "columns": {}, "updated": "", "moved_from": ""}}',
        '{"/a": {"path": "/a", "name": 5, "columns": {}, "updated": "", "moved_from": ""}}',
        '{"/a": {"path": "/a", "name": "/a", "columns": {"text": 1}, "updated": "", "moved_from": ""}}',
    ],
)
def test_what_is_no_list_of_sources_is_one_line(index: Index, sources: str) -> None:
    (index.path / "sources.json").write_text(sources)
    with pytest.raises(UserError, match=r"sources\.json: damaged"):
        list_sources(index)
