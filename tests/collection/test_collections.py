"""Folders, tables and archives: the same entries whole and in parts, and one bad file costs one entry."""

import datetime
import decimal
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, features

from llave.collection.collection import Collection, Columns
from llave.collection.entry import BadEntry, Entry, chunks
from llave.collection.open import open_collection
from llave.encode.item import Item, Reading
from llave.errors import DataError, UserError
from tests.data.films import frames, write_film

Draw = Callable[[int], Image.Image]


def entries(collection: Collection) -> dict[str, Entry]:
    found = list(collection)
    assert not [entry for entry in found if isinstance(entry, BadEntry)]
    return {entry.key: entry for entry in found if isinstance(entry, Entry)}


def in_parts(collection: Collection, size: int) -> list[Entry | BadEntry]:
    parts = json.loads(json.dumps(list(collection.parts(size))))  # a manifest keeps them as JSON
    return [entry for part in parts for entry in collection.read(part)]


@pytest.fixture
def folder(tmp_path: Path, picture: Draw) -> Path:
    root = tmp_path / "things"
    (root / "pets").mkdir(parents=True)
    (root / ".hidden").mkdir()
    picture(1).save(root / "pets" / "cat.PNG", "PNG")
    picture(2).save(root / "dog.jpg")
    picture(3).save(root / ".hidden" / "no.png")
    (root / "note.txt").write_text("  a short note\n")
    (root / "table.xlsx").write_bytes(b"nothing of ours")
    (root / "link.png").symlink_to(root / "dog.jpg")
    stills = frames(4)
    stills[0].save(root / "moving.webp", save_all=True, append_images=stills[1:], lossless=True)
    write_film(root / "film.mp4", frames(6))
    picture(5).save(root / "paper.pdf", save_all=True, append_images=[picture(6)])
    return root


def test_a_folder(folder: Path) -> None:
    collection = open_collection(folder)
    found = entries(collection)
    assert {key: entry.item.kind for key, entry in found.items()} == {
        "dog.jpg": "image",
        "film.mp4": "video",
        "moving.webp": "video",
        "note.txt": "text",
        "paper.pdf#page=1": "page",
        "paper.pdf#page=2": "page",
        "pets/cat.PNG": "image",
    }
    assert found["note.txt"].item.text == "a short note"
    assert found["pets/cat.PNG"].fields == {"folder": "pets"}
    assert collection.size() == 6
    assert in_parts(collection, 1) == in_parts(collection, 4) == list(collection)


def test_metadata_beside_the_files(folder: Path) -> None:
    rows = [{"file_name": "dog.jpg", "text": "a dog", "year": 2020, "good": True, "tags": ["a", "b"]}]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = entries(open_collection(folder))
    assert found["dog.jpg"].item.text == "a dog"
    assert found["dog.jpg"].fields == {"folder": ".", "year": 2020.0, "good": True, "tags": '["a", "b"]'}
    (folder / "metadata.jsonl").write_text('{"name": "dog.jpg"}\n')
    with pytest.raises(UserError, match="row 1: no file_name"):
        open_collection(folder)


def test_bad_files_are_named(folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    (folder / "empty.txt").write_text(" \n")
    found = list(open_collection(folder))
    bad = {entry.key: entry.message for entry in found if isinstance(entry, BadEntry)}
    assert bad.keys() == {"broken.pdf", "empty.txt"}
    assert "not a PDF" in bad["broken.pdf"]
    assert len(found) == 9


def test_a_stamp_changes_with_the_file(folder: Path, picture: Draw) -> None:
    before = entries(open_collection(folder))
    picture(4).save(folder / "dog.jpg")
    after = entries(open_collection(folder))
    assert [key for key in before if before[key].stamp != after[key].stamp] == ["dog.jpg"]
    assert before["film.mp4"].item.measure(Reading()) == after["film.mp4"].item.measure(Reading())
    assert before["film.mp4"].item.measure(Reading()).key != after["film.mp4"].item.measure(Reading(num_frames=4)).key


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv", ".json"])
def test_a_table(tmp_path: Path, picture: Draw, suffix: str) -> None:
    (tmp_path / "images").mkdir()
    picture(1).save(tmp_path / "images" / "a.png")
    rows = [
        {"sku": "a", "photo": "images/a.png", "caption": "", "price": 5},
        {"sku": "b", "photo": "", "caption": "only words", "price": 7},
        {"sku": "c", "photo": "images/a.png", "caption": "both", "price": 9},
    ]
    path = tmp_path / f"goods{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    elif suffix == ".csv":
        path.write_text("sku,photo,caption,price\n" + "".join(",".join(map(str, row.values())) + "\n" for row in rows))
    else:
        lines = [json.dumps(row) for row in rows]
        path.write_text("\n\n".join(lines) + "\n" if suffix == ".jsonl" else f"[{','.join(lines)}]")
    collection = open_collection(path, Columns(id="sku", image="photo", fields="price"))
    found = entries(collection)
    assert [(key, entry.item.kind, entry.item.text) for key, entry in found.items()] == [
        ("a", "image", ""),
        ("b", "text", "only words"),
        ("c", "image", "both"),
    ]
    assert found["c"].fields == {"price": 9}
    assert found["c"].item.image == tmp_path / "images" / "a.png"
    assert in_parts(collection, 1) == in_parts(collection, 2) == in_parts(collection, 100) == list(collection)
    assert collection.size() == 3


def test_pictures_in_a_table(tmp_path: Path, picture: Draw) -> None:
    buffer = io.BytesIO()
    picture(1).save(buffer, "PNG")
    rows = [{"image": {"bytes": buffer.getvalue(), "path": "one.png"}}, {"image": {"bytes": None, "path": None}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    first, second = open_collection(tmp_path / "t.parquet")
    assert isinstance(first, Entry)
    assert (first.item.kind, first.name) == ("image", "one.png")
    assert first.item.load(Reading()) == picture(1)
    assert first.item.measure(Reading()).size == (64, 56)
    assert isinstance(second, BadEntry)
    assert "row 2: no text, picture, video or sound" in second.message


def test_rows_without_an_id_are_named_by_content(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "u.jsonl").write_text('{"text": "two"}\n{"text": "three"}\n')
    first, second = (entries(open_collection(tmp_path / name)) for name in ("t.jsonl", "u.jsonl"))
    assert len(first.keys() & second.keys()) == 1


def test_links_are_followed_before_they_are_judged(tmp_path: Path, picture: Draw) -> None:
    """Of a page the document, and of a folder of frames each of them."""
    folder = tmp_path / "in"
    (folder / "frames").mkdir(parents=True)
    picture(1).save(folder / "frames" / "1.png")
    picture(1).save(tmp_path / "outside.png")
    (folder / "frames" / "2.png").symlink_to(folder / "frames" / "1.png")
    (folder / "link.pdf").symlink_to(tmp_path / "outside.pdf")
    path = folder / "t.jsonl"
    path.write_text('{"id": 1, "video": "frames"}\n{"id": 2, "image": "link.pdf#page=1", "video": null}\n')
    fine, page = open_collection(path)
    assert isinstance(fine, Entry)
    assert isinstance(page, BadEntry)
    assert "link.pdf#page=1: outside the table's folder" in page.message
    (folder / "frames" / "3.png").symlink_to(tmp_path / "outside.png")
    frames, _ = open_collection(path)
    assert isinstance(frames, BadEntry)
    assert "frames: its frame 3.png is outside the table's folder" in frames.message


def test_what_a_table_may_not_name(tmp_path: Path, picture: Draw) -> None:
    picture(1).save(tmp_path / "outside.png")
    (tmp_path / "in").mkdir()
    rows = [{"image": "../outside.png"}, {"image": "/etc/hostname"}, {"image": "https://a.test/x.png"}, {"image": 5}]
    path = tmp_path / "in" / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(open_collection(path))
    assert all(isinstance(entry, BadEntry) for entry in found)
    assert ["outside the table" in entry.message for entry in found if isinstance(entry, BadEntry)] == [1, 1, 0, 0]


def test_unknown_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": "x", "b": "y"}\n')
    with pytest.raises(UserError, match=r"which column is what.*there are: a, b"):
        open_collection(path)
    with pytest.raises(UserError, match=r"no column 'c' for --columns.text"):
        open_collection(path, Columns(text="c"))
    with pytest.raises(UserError, match="no such folder or file"):
        open_collection(tmp_path / "nothing")
    (tmp_path / "x.zip").write_bytes(b"")
    with pytest.raises(UserError, match="not a folder, a table"):
        open_collection(tmp_path / "x.zip")


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def test_archives(tmp_path: Path, picture: Draw) -> None:
    write_film(tmp_path / "film.mp4", frames(5))
    buffer = io.BytesIO()
    picture(2).save(buffer, "PNG")
    for number in range(2):
        with tarfile.open(tmp_path / f"part-{number}.tar", "w") as archive:
            add(archive, "sub/0001.png", buffer.getvalue())
            add(archive, "sub/0001.txt", b"a picture\n")
            add(archive, "sub/0001.json", b'{"source": "here", "width": 56}')
            add(archive, "0002.json", b'{"caption": "words alone"}')
            add(archive, "0003.mp4", (tmp_path / "film.mp4").read_bytes())
            add(archive, "0004.bin", b"?")
            add(archive, "0005.json", b"{")
    collection = open_collection(tmp_path / "part-*.tar")
    found = list(collection)
    good = {entry.key: entry for entry in found if isinstance(entry, Entry)}
    assert sorted(good) == [f"part-{n}/{k}" for n in (0, 1) for k in ("0002", "0003", "sub/0001")]
    assert good["part-1/sub/0001"].item.text == "a picture"
    assert good["part-1/sub/0001"].fields == {"source": "here", "width": 56.0}
    assert good["part-0/0002"].item.text == "words alone"
    film = good["part-0/0003"].item.load(Reading(num_frames=3))
    assert isinstance(film, dict)
    assert film["video"]["array"].shape == (3, 48, 64, 3)
    assert [entry.key for entry in found if isinstance(entry, BadEntry)] == [
        f"part-{number}/{key}" for number in (0, 1) for key in ("0004", "0005")
    ]
    assert len(list(collection.parts(1))) == 2
    assert in_parts(collection, 1) == found


def test_a_truncated_archive_gives_what_it_has(tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar"
    with tarfile.open(whole, "w") as archive:
        for number in range(20):
            add(archive, f"{number}.txt", b"word " * 400)
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:30_000])
    found = list(open_collection(tmp_path / "cut.tar"))
    assert isinstance(found[0], Entry)
    assert isinstance(found[-1], BadEntry)
    assert "items after this place are missing" in found[-1].message


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".CSV"])
def test_a_bad_line_costs_one_row(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    if suffix == ".jsonl":
        deep = b'{"id": 4, "text": ' + b"[" * 100_000 + b"}\n"
        path.write_bytes(
            b'\xef\xbb\xbf{"id": 1, "text": "a"}\n{"id": 2, "te\n\n[5]\n'
            + deep
            + b'{"text": "\xff"}\n{"id": 6, "text": "f"}'
        )
        bad = [2, 3, 4, 5]
    else:
        path.write_bytes(b"\xef\xbb\xbfid,text\n1,a\n2,b,c\n3\n6,f\n")
        bad = [2, 3]
    collection = open_collection(path)
    found = list(collection)
    assert [(entry.key, entry.item.text) for entry in found if isinstance(entry, Entry)] == [("1", "a"), ("6", "f")]
    assert [entry.key for entry in found if isinstance(entry, BadEntry)] == [
        f"t{suffix} row {number}" for number in bad
    ]
    for size in (1, 3):
        again = in_parts(collection, size)
        assert [entry.key for entry in again] == [entry.key for entry in found]


def test_values_that_are_odd(tmp_path: Path) -> None:
    rows = [
        {"id": "cut", "text": "a \ud83d", "size": float("nan"), "note": "\ud83d"},
        {"id": float("nan"), "text": "missing id", "image": float("nan"), "size": 10**400},
        {"id": 0, "text": float("nan"), "image": None},
        {"id": "\ud83d", "text": "x"},
        {"id": "bytes", "image": {"bytes": "iVBOR", "path": None}},
        {"id": "nul", "image": "a\0b.png"},
        {"id": "list", "text": ["a"]},
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(open_collection(path))
    good = [entry for entry in found if isinstance(entry, Entry)]
    assert [entry.item.text for entry in good] == ["missing id"]
    assert len(good[0].key) == 32
    assert good[0].fields["size"] == str(10**400)
    bad = [entry.key for entry in found if isinstance(entry, BadEntry)]
    assert bad == ["t.jsonl row 1", "0", "t.jsonl row 4", "bytes", "nul", "list"]


def test_dates_and_decimals_are_fields(tmp_path: Path) -> None:
    row = {
        "text": "x",
        "day": datetime.date(2024, 1, 2),
        "at": datetime.datetime(2024, 1, 2, 3),
        "price": decimal.Decimal("1.5"),
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "t.parquet")
    (entry,) = open_collection(tmp_path / "t.parquet")
    assert isinstance(entry, Entry)
    assert entry.fields == {"day": "2024-01-02", "at": "2024-01-02T03:00:00", "price": 1.5}


def test_a_name_that_is_not_unicode(tmp_path: Path, picture: Draw) -> None:
    picture(1).save(tmp_path / os.fsdecode(b"caf\xe9.png"))
    (found,) = open_collection(tmp_path)
    assert isinstance(found, BadEntry)
    assert "not in Unicode" in found.message


def archive_of(path: Path, *texts: str) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for number, text in enumerate(texts):
            add(archive, f"{number}.txt", text.encode())


def test_archives_of_several_folders(tmp_path: Path) -> None:
    """Each is read where it lies, though their names are equal."""
    for name in ("one", "two"):
        archive_of(tmp_path / name / "part.tar", name)
    found = entries(open_collection(tmp_path / "*" / "part.tar"))
    assert {key: entry.item.text for key, entry in found.items()} == {"one/part/0": "one", "two/part/0": "two"}


def test_an_archive_with_brackets_and_a_folder_named_as_one(tmp_path: Path) -> None:
    archive_of(tmp_path / "a[1].tar", "a")
    assert entries(open_collection(tmp_path / "a[1].tar")).keys() == {"a[1]/0"}
    (tmp_path / "folder.tar").mkdir()
    (tmp_path / "folder.tar" / "x.txt").write_text("x")
    assert entries(open_collection(tmp_path / "folder.tar")).keys() == {"x.txt"}


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # to read it would wait for ever
    assert list(open_collection(tmp_path)) == []


@pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
def test_a_broken_avif(tmp_path: Path, picture: Draw) -> None:
    """Whose decoder has errors of another kind than all others."""
    picture(1).save(tmp_path / "a.avif")
    whole = (tmp_path / "a.avif").read_bytes()
    for broken in (whole[:-40] + bytes(40), whole.replace(b"iloc", b"ilox")):
        (tmp_path / "a.avif").write_bytes(broken)
        (entry,) = open_collection(tmp_path)
        assert isinstance(entry, Entry)
        entry.item.measure(Reading())
        with pytest.raises(DataError, match=r"a\.avif: cannot decode"):
            entry.item.load(Reading())


def test_a_chunk_holds_few_bytes() -> None:
    found: list[Entry | BadEntry] = [Entry(key=str(number), item=Item(image=bytes(100 * 2**20))) for number in range(4)]
    found += [Entry(key=str(number), item=Item("x")) for number in range(4, 10)]
    assert [len(chunk) for chunk in chunks(found, 5)] == [3, 5, 2]
