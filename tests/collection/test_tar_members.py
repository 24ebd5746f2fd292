"""Members of archives that nobody should unpack: with holes, without a name, leading elsewhere, too large together."""

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from llave.collection import tar
from llave.collection.entry import BadEntry, Entry
from llave.collection.tar import TarCollection


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, members: list[tuple[str, bytes]], headers: dict[str, dict[str, str]] | None = None) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.pax_headers = (headers or {}).get(name, {})
            archive.addfile(info, io.BytesIO(content))
    return path


def read(path: Path) -> tuple[list[str], list[BadEntry]]:
    found = list(TarCollection([path]))
    return [entry.key for entry in found if isinstance(entry, Entry)], [e for e in found if isinstance(e, BadEntry)]


def test_a_sparse_member_costs_itself_and_no_memory(tmp_path: Path) -> None:
    holes = {"hole.png": {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "hole.png"}}
    holes["hole.png"] |= {"GNU.sparse.size": "200000000", "GNU.sparse.realsize": "200000000", "GNU.sparse.map": "0,4"}
    path = write(tmp_path / "a.tar", [("a.png", picture()), ("hole.png", b"1234"), ("z.png", picture())], holes)
    keys, bad = read(path)
    assert keys == ["a/a", "a/z"]
    assert [entry.message for entry in bad] == ["hole.png: stored with holes; make the archive without --sparse"]


@pytest.mark.parametrize("name", ["x\0y.png", "../x.png", "/x.png", "a/../../x.png"])
def test_an_odd_name_costs_its_member(tmp_path: Path, name: str) -> None:
    headers = {"odd.png": {"path": name}}
    path = write(tmp_path / "a.tar", [("a.png", picture()), ("odd.png", picture()), ("z.png", picture())], headers)
    keys, bad = read(path)
    assert keys == ["a/a", "a/z"]
    assert len(bad) == 1
    assert "not a name of a file; rename it" in bad[0].message


def test_one_item_has_so_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "MAX_ITEM_BYTES", 1000)
    members = [("a.png", picture()), ("b.png", picture()), ("b.txt", b"x" * 990), ("c.txt", b"fine")]
    keys, bad = read(write(tmp_path / "a.tar", members))
    assert keys == ["a/a", "a/c"]
    assert [entry.message for entry in bad] == ["b.txt: more than 1,000 bytes in one item"]


def test_an_archive_cut_anywhere(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.tar", [("a.png", picture()), ("b.png", picture())]).read_bytes()
    for cut in range(0, len(whole), 97):
        (tmp_path / "cut.tar").write_bytes(whole[:cut])
        keys, bad = read(tmp_path / "cut.tar")
        assert keys in ([], ["cut/a"], ["cut/a", "cut/b"])
        assert all("cannot read on" in entry.message and entry.hides for entry in bad)
