"""What is in a source and not used is counted and named; what a file's fields are is found in spite of its spelling."""

import io
import os
import tarfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from llave.collection.entry import BadEntry, Entry
from llave.collection.long_texts import in_parts
from llave.collection.open import open_collection
from llave.encode.item import Item
from llave.encode.tokens import Tokens
from llave.errors import UserError

Draw = Callable[[int], Image.Image]


def entries(path: Path) -> dict[str, Entry]:
    return {entry.key: entry for entry in open_collection(path) if isinstance(entry, Entry)}


def test_files_that_nothing_reads_are_counted(tmp_path: Path, picture: Draw) -> None:
    for name in ("a.jpg", "b.JFIF", "c.jpe"):
        picture(1).save(tmp_path / name, "JPEG")
    picture(2).save(tmp_path / "d.ico")
    picture(3).save(tmp_path / "scan.tif", save_all=True, append_images=[picture(4), picture(5)])
    picture(3).save(tmp_path / "one.tif")
    for name in ("x.dng", "y.DNG", "z.docx", "README", ".hidden"):
        (tmp_path / name).write_bytes(b"?")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    collection = open_collection(tmp_path)
    found = [entry.key for entry in collection if isinstance(entry, Entry)]
    assert found == [
        *("a.jpg", "b.JFIF", "c.jpe", "d.ico", "one.tif"),
        *(f"scan.tif#page={page}" for page in (1, 2, 3)),
    ]
    wanted = {".dng": 2, ".docx": 1, "without a suffix": 1, "links (not followed)": 1}
    assert collection.left_out == wanted
    assert collection.size() == 6
    assert collection.left_out == wanted  # and not twice as many


def test_fields_are_found_however_the_name_is_spelt(tmp_path: Path, picture: Draw) -> None:
    (tmp_path / "sub").mkdir()
    decomposed = unicodedata.normalize("NFD", "café.png")
    for name in ("a.png", "B.png", decomposed, "sub/c.png", "sub/d.png"):
        picture(1).save(tmp_path / name)
    (tmp_path / "metadata.csv").write_text(
        "file_name,text,year\n./a.png,one,1\nb.PNG,two,2\ncafé.png,three,3\nsub\\c.png,four,4\nnone.png,five,5\n"
    )
    (tmp_path / "sub" / "metadata.jsonl").write_text('{"file_name": "d.png", "text": "six"}\n{"file_name": "e.png"}\n')
    collection = open_collection(tmp_path)
    found = {entry.key: entry.item.text for entry in collection if isinstance(entry, Entry)}
    assert found == {
        "a.png": "one", "B.png": "two", decomposed: "three", "sub/c.png": "four", "sub/d.png": "six",
    }  # fmt: skip
    assert collection.left_out == {
        "rows of metadata.csv that match no file (first: none.png)": 1,
        "rows of sub/metadata.jsonl that match no file (first: e.png)": 1,
    }


def test_names_that_differ_in_capitals_alone_are_told_apart(tmp_path: Path, picture: Draw) -> None:
    picture(1).save(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("file_name,text\nA.png,upper\n")
    assert entries(tmp_path)["a.png"].item.text == "upper"
    (tmp_path / "metadata.csv").write_text("file_name,text\nA.png,upper\na.PNG,other\n")
    assert entries(tmp_path)["a.png"].item.text == ""  # nobody can say which


def test_texts_in_any_encoding(tmp_path: Path) -> None:
    words = "crème brûlée, a red umbrella"
    for name, encoding in (("a", "utf-8"), ("b", "utf-8-sig"), ("c", "utf-16"), ("d", "cp1252")):
        (tmp_path / f"{name}.txt").write_bytes(words.encode(encoding))
    (tmp_path / "e.txt").write_bytes(b"\xff\xfe\x00\xd8")  # half a pair in UTF-16
    found = list(open_collection(tmp_path))
    assert [entry.item.text for entry in found if isinstance(entry, Entry)] == [words] * 4
    (bad,) = [entry for entry in found if isinstance(entry, BadEntry)]
    assert bad.key == "e.txt"


def test_an_archive_is_read_as_a_folder(tmp_path: Path, picture: Draw) -> None:
    moving, still = io.BytesIO(), io.BytesIO()
    picture(1).save(moving, "GIF", save_all=True, append_images=[picture(2)])
    picture(1).save(still, "GIF")
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for name, content in (
            ("1.gif", moving.getvalue()), ("2.gif", still.getvalue()), ("3.jfif", b"x"), ("3.cls", b"7"),
            ("3.txt", "crème".encode("utf-16")), ("4.other.jpg", b"y"),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    collection = open_collection(tmp_path / "t.tar")
    found = {entry.key: entry.item for entry in collection if isinstance(entry, Entry)}
    assert {key: item.kind for key, item in found.items()} == {
        "t/1": "video", "t/2": "image", "t/3": "image", "t/4": "image",
    }  # fmt: skip
    assert found["t/3"].text == "crème"
    assert collection.left_out == {".cls": 1}


def test_a_changed_file_changes_the_state(tmp_path: Path, picture: Draw) -> None:
    picture(1).save(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,one\n")
    states = [open_collection(tmp_path).state()]
    assert open_collection(tmp_path).state() == states[0]
    os.utime(tmp_path / "a.png", ns=(0, 0))
    states.append(open_collection(tmp_path).state())
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,two and more\n")
    states.append(open_collection(tmp_path).state())
    picture(2).save(tmp_path / "b.png")
    states.append(open_collection(tmp_path).state())
    assert len(set(states)) == 4


def test_long_texts_become_parts(nano_untouched: object) -> None:
    tokens = Tokens(nano_untouched, 8)  # type: ignore[arg-type]
    text = " ".join(f"word{number}" for number in range(300))
    entry = Entry(key="n.txt", item=Item(text), name="n.txt", fields={"folder": "."})
    short, both = Entry(key="s", item=Item("short")), Entry(key="b", item=Item(text, b"a picture"))
    parts = list(in_parts([entry, short, both, BadEntry("x", "y")], tokens, 50))
    pieces = [part for part in parts if isinstance(part, Entry) and part.key.startswith("n.txt")]
    assert [part.key for part in pieces] == [f"n.txt#part={number}" for number in range(1, len(pieces) + 1)]
    assert " ".join(part.item.text for part in pieces) == text  # cut between words, nothing lost
    assert max(tokens.texts([part.item.text for part in pieces])) <= 50
    assert all(part.fields == {"folder": "."} for part in pieces)
    assert parts[-3:] == [short, both, BadEntry("x", "y")]
    assert list(in_parts([entry], tokens, None)) == [entry]


def test_metadata_without_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(UserError, match="row 1: no file_name"):
        open_collection(tmp_path)
