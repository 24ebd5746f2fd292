"""Tables of an index: which column is what, pictures within a text, rows that are the same, and what is wrong."""

import base64
import json
from pathlib import Path

import pytest
from PIL import Image

from llave.collection.check import check_table
from llave.collection.collection import Columns
from llave.collection.entry import BadEntry, Entry
from llave.collection.open import open_collection
from llave.collection.table import TableCollection
from tests.shapes import make_folder


def table(path: Path, text: str) -> TableCollection:
    path.write_text(text)
    return TableCollection(path, Columns())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (20, 20), colour).save(tmp_path / f"{number}.png")
    return tmp_path


def test_a_column_of_files_is_the_pictures(folder: Path) -> None:
    found = table(folder / "t.csv", "caption,photo,cat\nA frog,0.png,x\nA frog,1.png,x\n,2.png,x\n")
    assert str(found.chosen) == "columns: text from 'caption', image from 'photo'; kept as fields: cat"
    entries = list(found)
    assert all(isinstance(entry, Entry) for entry in entries)
    assert [entry.item.image for entry in entries] == [folder / f"{number}.png" for number in range(3)]
    assert "image" not in table(folder / "u.csv", "caption,photo\na,0.png\nb,gone.png\n").chosen.columns


def test_rows_that_differ_in_a_field_are_two(folder: Path) -> None:
    found = table(folder / "t.csv", "caption,cat\nA frog,x\nA frog,y\nA frog,x\n")
    first, second, third = (entry.key for entry in found)
    assert first == third != second


def test_base64_is_a_picture_and_an_error_is_short(folder: Path) -> None:
    content = (folder / "0.png").read_bytes()
    plain = base64.b64encode(content).decode()
    lines = base64.encodebytes(content).decode()
    odd = base64.urlsafe_b64encode(content).decode().rstrip("=")
    forms = [
        f"data:image/png;base64,{plain}",
        f"data:image/png;name=a.png;base64,{lines}",
        f"DATA:image/png;base64,{odd}",
    ]
    noise = base64.b64encode(content + bytes(9000)).decode()
    rows = [{"image": form} for form in [*forms, noise]]
    rows += [{"image": "x.y" * 60_000}, {"image": "data:image/svg+xml,<svg/>"}, {"image": ["a" * 9000]}]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = list(open_collection(folder / "t.jsonl"))
    pictures = [entry.item.image for entry in found if isinstance(entry, Entry)]
    assert pictures == [content] * 3 + [content + bytes(9000), b"<svg/>"]  # the last is refused when it is decoded
    bad = [entry.message for entry in found if isinstance(entry, BadEntry)]
    assert len(bad) == 2
    assert max(map(len, bad)) < 250


def test_metadata_of_a_folder_is_any_table(folder: Path) -> None:
    (folder / "metadata.csv").write_bytes("\ufefffile_name,text\n0.png,crème\u2028brûlée\n".encode("utf-16-le"))
    first = next(iter(open_collection(folder)))
    assert isinstance(first, Entry)
    assert first.item.text == "crème\u2028brûlée"


def test_check_tells_what_a_table_is_for(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:50])
    rows = [{"image": "0.png"}, {"image": "broken.png"}, {"image": "gone.png"}, {"text": ["x"]}]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n{")
    assert [problem.row for problem in check_table(folder / "t.jsonl")] == [1, 2, 3, 4]
    root = make_folder(tmp_path_factory.mktemp("mmeb"))
    assert check_table(root / "train" / "t2i.json") == check_table(root / "eval" / "t2i.json") == []
    training = json.loads((root / "train" / "t2i.json").read_text())
    training[2]["pos_image_path"] = "gone.png"
    (root / "train" / "t2i.json").write_text(json.dumps(training))
    (problem,) = check_table(root / "train" / "t2i.json")
    assert (problem.row, problem.kind) == (2, "missing-image")
