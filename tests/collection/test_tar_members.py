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


def test_a_member_larger_than_its_archive_ends_it(tmp_path: Path) -> None:
    """To skip it, tarfile would read to what it says: for years."""
    path = write(tmp_path / "a.tar", [("a.png", picture()), ("b.png", picture()), ("c.png", picture())])
    data = bytearray(path.read_bytes())
    at = data.index(b"b.png\0")
    data[at + 124 : at + 136] = b"\x80" + (1 << 80).to_bytes(11, "big")
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    path.write_bytes(data)
    keys, bad = read(path)
    assert keys == ["a/a"]
    assert len(bad) == 1
    assert "it ends within 'b.png'" in bad[0].message
    assert bad[0].hides


@pytest.mark.parametrize("name", ["b\udce9d.png", "b\n\x1b[2Kd.txt"])
def test_a_name_that_cannot_be_shown_costs_no_other_item(tmp_path: Path, name: str) -> None:
    members = [("a.png", picture()), (name, b"\xff\xfe\xfd"), ("z.png", picture())]
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for member, content in members:
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    keys, bad = read(tmp_path / "a.tar")
    assert keys == ["a/a", "a/z"]
    assert len(bad) == 1
    assert bad[0].message.isprintable()
    bad[0].key.encode()
