"""Another model for an index: the old one is searched until the new one is whole."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.errors import UserError
from llave.search import update, upgrade
from llave.search.index import Index
from llave.search.info import index_info
from llave.search.manage import move_source, remove_source
from llave.search.options import BuildOptions
from llave.search.upgrade import UpgradeReport, upgrade_index
from tests.search.things import build, check_equal, counts, rows

Draw = Callable[[int], Image.Image]
QUIET = BuildOptions(progress=False)


@pytest.fixture
def folder(tmp_path: Path, picture: Draw) -> Path:
    root = tmp_path / "things"
    root.mkdir()
    for number in range(5):
        picture(number).save(root / f"p{number}.png")
    (root / "metadata.csv").write_text("file_name,artist\np0.png,me\n")
    return root


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.jsonl"
    path.write_text('{"id": 1, "text": "a red circle"}\n{"id": 2, "text": "a blue square"}\n')
    return path


@pytest.fixture
def index(tmp_path: Path, nano_untouched: SentenceTransformer, folder: Path, table: Path) -> Index:
    made = Index.create(tmp_path / "index", index_info(nano_untouched, "nano"))
    for source in (folder, table):
        build(made, nano_untouched, source)
    return made


def check_fresh(index: Index, model: SentenceTransformer, *sources: Path) -> None:
    """Equal to what a new index of the same has."""
    fresh = Index.create(index.path.with_name("fresh"), index_info(model, "nano"))
    for source in sources:
        build(fresh, model, source, make_map=False)
    check_equal(rows(index), rows(fresh))
    shutil.rmtree(fresh.path)


def test_every_item_is_the_other_models(
    index: Index, other_nano: SentenceTransformer, folder: Path, table: Path
) -> None:
    reader, before = Index.open(index.path), rows(index)
    version = reader.version()
    first_map = index.map()
    upgraded, report = upgrade_index(index, other_nano, QUIET)
    assert report == UpgradeReport(items=7, embedded=7, notes=report.notes)
    assert (upgraded.info.dimension, upgraded.info.generation, upgraded.info.retired) == (128, 1, (0,))
    check_fresh(upgraded, other_nano, folder, table)
    second_map = upgraded.map()
    assert first_map is not None
    assert second_map is not None
    assert first_map.state != second_map.state
    check_equal(rows(reader), before)  # who has it open is not disturbed
    assert reader.version() != version
    now = reader.refreshed()
    assert now.info == upgraded.info
    assert len(now.search(np.asarray(other_nano.encode("a red circle")), limit=9)) == 7
    assert not (index.path / "upgrade.json").exists()
    assert upgrade_index(now, other_nano, QUIET)[1] == UpgradeReport(items=7)
    for source in (folder, table):
        assert build(now, other_nano, source).added == 0


def test_what_is_gone_is_said_and_what_is_new_is_there(
    index: Index, other_nano: SentenceTransformer, folder: Path, table: Path, picture: Draw
) -> None:
    (folder / "p0.png").unlink()
    picture(9).save(folder / "p9.png")
    (folder / "p1.png").write_bytes(b"no picture any more")
    table.rename(table.with_name("away.jsonl"))
    upgraded, report = upgrade_index(index, other_nano, QUIET)
    assert report.gone == {str(folder): 1, str(table): 2}
    assert report.errors.keys() == {f"{folder}: p1.png"}
    assert report.items == 4
    check_fresh(upgraded, other_nano, folder)


def test_an_upgrade_that_would_leave_nothing(
    index: Index, other_nano: SentenceTransformer, nano_untouched: SentenceTransformer, folder: Path, table: Path
) -> None:
    before = rows(index)
    away = folder.rename(folder.with_name("away"))
    text = table.read_text()
    table.unlink()
    with pytest.raises(UserError, match=r"no item is left.*things"):
        upgrade_index(index, other_nano, QUIET)
    check_equal(rows(Index.open(index.path)), before)
    away.rename(folder)
    table.write_text(text)
    assert upgrade_index(index, other_nano, QUIET)[1].items == 7


def test_a_kill_at_any_point(
    index: Index,
    nano_untouched: SentenceTransformer,
    other_nano: SentenceTransformer,
    folder: Path,
    table: Path,
    picture: Draw,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until the switch the index is the old one and can be brought up to date; then the same call goes on."""
    monkeypatch.setattr(update, "CHUNK", 2)

    class Killed(BaseException):
        pass

    def stopped(name: str) -> None:
        with monkeypatch.context() as patch:
            original = getattr(upgrade, name)

            def killed(*words: object, **more: object) -> None:
                original(*words, **more)
                raise Killed

            patch.setattr(upgrade, name, killed)
            with pytest.raises(Killed):
                upgrade_index(Index.open(index.path), other_nano, QUIET)

    for place in ("write_info", "follow_source", "_embed", "tune"):
        before = rows(index)
        stopped(place)
        check_equal(rows(Index.open(index.path)), before)
    picture(8).save(folder / "p8.png")
    (folder / "p2.png").unlink()
    assert counts(build(Index.open(index.path), nano_untouched, folder)) == (1, 0, 0, 4, 1)
    moved = folder.rename(folder.with_name("moved"))
    move_source(Index.open(index.path), folder, moved)
    remove_source(Index.open(index.path), table)
    stopped("remember")  # which follows the switch
    upgraded, report = upgrade_index(Index.open(index.path), other_nano, QUIET)
    assert report == UpgradeReport(items=5)
    assert upgraded.info.generation == 1
    assert upgraded.map() is not None
    moved.rename(folder)
    move_source(upgraded, moved, folder)
    check_fresh(upgraded, other_nano, folder)


def test_what_was_embedded_before_a_kill_is_not_embedded_again(
    index: Index, other_nano: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(upgrade, "tune", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            upgrade_index(index, other_nano, QUIET)
    assert upgrade_index(index, other_nano, QUIET)[1].embedded == 0


def test_another_model_begins_anew(
    index: Index, nano_untouched: SentenceTransformer, other_nano: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(upgrade, "tune", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            upgrade_index(index, other_nano, QUIET)
    options = dataclasses.replace(QUIET, item_prompt="Find: ")  # of another dimension than what was begun
    upgraded, report = upgrade_index(index, nano_untouched, options)
    assert report.embedded == 7
    assert upgraded.info.prompts["item"] == "Find: "
    (index.path / "upgrade.json").write_text("{")  # as nobody writes it
    assert upgrade_index(upgraded, other_nano, QUIET)[1].embedded == 7


def test_tables_of_models_before_are_removed(
    index: Index, nano_untouched: SentenceTransformer, other_nano: SentenceTransformer, folder: Path
) -> None:
    """By a run that comes ten minutes later; here the clock is the file's."""
    upgraded, _ = upgrade_index(index, other_nano, QUIET)
    upgraded, _ = upgrade_index(upgraded, nano_untouched, QUIET)
    assert upgraded.info.retired == (0, 1)
    tables = index.path / "lance"
    assert sorted(path.name for path in tables.iterdir()) == ["items-1.lance", "items-2.lance", "items.lance"]
    build(upgraded, nano_untouched, folder)
    assert len(list(tables.iterdir())) == 3
    os.utime(index.path / "index.json", (1, 1))
    assert counts(build(upgraded, nano_untouched, folder)) == (0, 0, 0, 5, 0)
    assert [path.name for path in tables.iterdir()] == ["items-2.lance"]
    assert Index.open(index.path).info.retired == ()
    assert Index.open(index.path).count() == 7


def test_a_writer_that_opened_the_index_before_changes_nothing(
    index: Index, nano_untouched: SentenceTransformer, other_nano: SentenceTransformer, folder: Path
) -> None:
    """It would write to the old table, and could name it again."""
    upgraded, _ = upgrade_index(Index.open(index.path), other_nano, QUIET)
    for write in (
        lambda: build(index, nano_untouched, folder),
        lambda: remove_source(index, folder),
        lambda: upgrade_index(index, nano_untouched, QUIET),
    ):
        with pytest.raises(UserError, match="open it again"):
            write()
    assert Index.open(index.path).info == upgraded.info


def test_a_model_that_has_moved_embeds_nothing(
    index: Index, nano_untouched: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "model_name", lambda model: "elsewhere/nano")
    upgraded, report = upgrade_index(index, nano_untouched, QUIET)
    assert (report.embedded, upgraded.info.generation) == (0, 0)
    assert Index.open(index.path).info.model == "elsewhere/nano"


def test_sources_that_only_the_index_names_are_not_read(
    index: Index, other_nano: SentenceTransformer, folder: Path, table: Path, tmp_path: Path
) -> None:
    foreign = Index.open(shutil.copytree(index.path, tmp_path / "foreign"))
    with pytest.raises(UserError, match=r"not indexed it on this machine.*--allow_sources"):
        upgrade_index(foreign, other_nano, QUIET)
    with pytest.raises(UserError, match=r"t\.jsonl: you have not indexed it"):
        upgrade_index(foreign, other_nano, QUIET, allow_sources=[folder])
    assert upgrade_index(foreign, other_nano, QUIET, allow_sources=[folder, table.parent])[1].items == 7


def test_a_table_is_read_as_it_was(
    tmp_path: Path, nano_untouched: SentenceTransformer, other_nano: SentenceTransformer
) -> None:
    from llave import build_index
    from llave.collection.collection import Columns

    path = tmp_path / "odd.jsonl"
    path.write_text(json.dumps({"sku": "a", "caption": "not this", "about": "a red circle"}) + "\n")
    columns = Columns(id="sku", text="about")
    index, _ = build_index(tmp_path / "odd.index", nano_untouched, path, columns=columns, options=QUIET)
    upgraded, _ = upgrade_index(index, other_nano, QUIET)
    [row] = rows(upgraded).values()
    assert (row.key, row.text) == ("a", "a red circle")
