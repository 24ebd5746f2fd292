"""An index may be anybody's: its files are given out, and its server is spoken to, where the user has named them."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.errors import UserError
from llave.search import trust
from llave.search.index import Index
from llave.search.info import IndexInfo, index_info, write_info
from llave.search.manage import move_source, remove_source
from llave.search.trust import Withheld, check_address, qdrant_key, remember, state_directory
from tests.search.things import build

Draw = Callable[[int], Image.Image]


@pytest.fixture
def folder(tmp_path: Path, picture: Draw) -> Path:
    root = tmp_path / "things"
    root.mkdir()
    picture(0).save(root / "p0.png")
    return root


@pytest.fixture
def index(tmp_path: Path, nano_untouched: SentenceTransformer, folder: Path) -> Index:
    made = Index.create(tmp_path / "index", index_info(nano_untouched, "nano"))
    build(made, nano_untouched, folder, make_map=False)
    return made


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAVE_HOME", str(tmp_path / "home"))
    for name in ("LLAVE_QDRANT", "QDRANT_URL", "QDRANT_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def item(index: Index) -> str:
    identity = index.find("p0.png")
    assert identity is not None
    return identity


def test_files_of_a_foreign_index_are_withheld(index: Index, folder: Path, tmp_path: Path) -> None:
    assert index.file(item(index)) == folder / "p0.png"
    copied = Index.open(shutil.copytree(index.path, tmp_path / "copied"))
    assert copied.thumbnail(item(copied))
    with pytest.raises(Withheld, match="--allow_sources"):
        copied.file(item(copied))
    assert (index.withheld(), copied.withheld()) == ([], [str(folder)])
    allowed = Index.open(copied.path, allow_sources=[folder])
    assert allowed.file(item(allowed)) == folder / "p0.png"
    assert allowed.withheld() == []
    assert Index.open(copied.path, allow_sources=[tmp_path]).file(item(copied)) == folder / "p0.png"


@pytest.mark.parametrize("source", ["/", "{parent}", "{parent}/none"])
def test_rows_do_not_say_what_may_be_read(index: Index, folder: Path, picture: Draw, source: str) -> None:
    """A folder above, or one that is not there, whose files would be those of its parent."""
    secret = folder.with_name("secret.png")
    picture(1).save(secret)
    row = index.store.get([item(index)], vectors=True)[item(index)]
    source = source.format(parent=folder.parent)
    file = secret.relative_to("/") if source == "/" else secret.name
    index.store.upsert([dataclasses.replace(row, source=source, file=str(file))])
    with pytest.raises(Withheld):
        index.file(row.id)


def test_moved_and_removed_sources(index: Index, folder: Path) -> None:
    moved = folder.rename(folder.with_name("elsewhere"))
    move_source(index, folder, moved)
    assert index.file(item(index)) == moved / "p0.png"
    row = index.store.get([item(index)], vectors=True)[item(index)]
    remove_source(index, moved)
    index.store.upsert([row])
    with pytest.raises(Withheld):
        index.file(row.id)


def test_a_home_that_takes_nothing(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLAVE_HOME", str(tmp_path / "file" / "home"))
    [line] = build(index, nano_untouched, folder, make_map=False).notes
    assert "cannot remember that you indexed" in line
    assert "--allow_sources" in line


def test_what_is_remembered(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an index that is not there as long as there is room: its disk may be away."""
    kept = state_directory() / "named.json"
    shutil.rmtree(index.path)
    for most, wanted in ((9, [index.path, tmp_path / "other"]), (2, [tmp_path / "other"])):
        monkeypatch.setattr(trust, "MOST", most)
        (tmp_path / "other").mkdir(exist_ok=True)
        remember(tmp_path / "other", f"https://qdrant:{most}", {})
        assert json.loads(kept.read_text()).keys() == set(map(str, wanted))
    kept.write_text("[")
    with pytest.raises(UserError, match=r"named\.json: damaged"):
        check_address("http://x", index=tmp_path)


def test_an_address_that_only_the_index_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = IndexInfo(model="m", fingerprint="f", dimension=4, store="http://127.0.0.1:9")
    write_info(tmp_path, info)
    with pytest.raises(UserError, match="not named on this machine"):
        Index.open(tmp_path)
    with pytest.raises(UserError, match="no Qdrant server that answers"):
        Index.open(tmp_path, qdrant="http://127.0.0.1:9")
    monkeypatch.setenv("LLAVE_QDRANT", "http://127.0.0.1:9/")
    with pytest.raises(UserError, match="no Qdrant server that answers"):
        Index.open(tmp_path)
    monkeypatch.delenv("LLAVE_QDRANT")
    remember(tmp_path, info.store, {})
    with pytest.raises(UserError, match="no Qdrant server that answers"):
        Index.open(tmp_path)


def test_a_key_does_not_travel_in_clear_text(monkeypatch: pytest.MonkeyPatch) -> None:
    assert qdrant_key("http://qdrant:6333") is None
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    for address in ("https://qdrant:6333", "http://localhost:6333", "http://127.0.0.1:6333", "http://[::1]:6333"):
        assert qdrant_key(address) == "secret"
    for address in ("http://qdrant:6333", "http://localhost.example.org", "http://10.0.0.1"):
        with pytest.raises(UserError, match="in clear text"):
            qdrant_key(address)
