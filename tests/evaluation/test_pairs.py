"""A table of texts and pictures as a benchmark: text to picture and back, what is equal counted as equal."""

import base64
import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from llave.collection.collection import Columns
from llave.data.mmeb import RowItem
from llave.errors import UserError
from llave.evaluation.benchmarks import get_benchmark

COLOURS = ["red", "green", "blue", "yellow", "white", "black"]


def pictures(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for colour in COLOURS:
        Image.new("RGB", (16, 16), colour).save(folder / f"{colour}.png")


def write(path: Path, rows: list[tuple[str, str]], names: tuple[str, str] = ("caption", "file")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    return path


def test_every_caption_of_a_picture_is_relevant(tmp_path: Path) -> None:
    pictures(tmp_path / "p")
    (tmp_path / "p" / "copy.png").write_bytes((tmp_path / "p" / "red.png").read_bytes())
    rows = [(f"a {colour} thing", f"p/{colour}.png") for colour in COLOURS]
    rows += [("rouge", "p/copy.png"), ("a red thing", "p/green.png")]
    benchmark = get_benchmark(write(tmp_path / "t.csv", rows))
    assert "text from 'caption', image from 'file'" in benchmark.note
    t2i, i2t = (task.read() for task in benchmark.tasks)
    assert [task.name for task in benchmark.tasks] == ["t2i", "i2t"]
    assert (len(t2i.rows), len(t2i.corpus)) == (7, 6)
    assert (len(i2t.rows), len(i2t.corpus)) == (6, 7)
    of_red = next(row for row in i2t.rows if row.query.image == "p/red.png")
    assert {item.text for item in of_red.candidates} == {"a red thing", "rouge"}
    of_text = next(row for row in t2i.rows if row.query.text == "a red thing")
    assert {item.image for item in of_text.candidates} == {"p/red.png", "p/green.png"}
    assert of_text.gains == (1.0, 1.0)


def test_candidates_are_drawn_by_seed_with_the_relevant_first(tmp_path: Path) -> None:
    pictures(tmp_path)
    path = write(tmp_path / "t.csv", [(colour, f"{colour}.png") for colour in COLOURS], ("text", "image"))
    drawn = [get_benchmark(path, candidates=3, seed=seed).tasks[0].read() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    for row in drawn[0].rows:
        assert len(set(row.candidates)) == 3
        assert row.candidates[0] == RowItem("", f"{row.query.text}.png")
    assert drawn[0].corpus == ()
    assert all(len(row.candidates) == 6 for row in get_benchmark(path, candidates=50).tasks[0].read().rows)


def test_bad_rows_are_counted_and_pictures_may_be_within(tmp_path: Path) -> None:
    pictures(tmp_path)
    content = (tmp_path / "red.png").read_bytes()
    path = tmp_path / "t.parquet"
    rows = [{"text": "red", "image": content}, {"text": "blue", "image": (tmp_path / "blue.png").read_bytes()}]
    pq.write_table(pa.Table.from_pylist([*rows, {"text": "none", "image": None}]), path)
    t2i = get_benchmark(path).tasks[0]
    data = t2i.read()
    shown = t2i.folder.image(data.rows[0].candidates[0])
    assert shown is not None
    assert shown.read_bytes() == content
    assert [str(error) for error in data.bad] == ["t.parquet row 3: no picture"]
    inline = "data:image/png;base64," + base64.b64encode(content).decode()
    again = get_benchmark(write(tmp_path / "t.csv", [("red", inline), ("b", "blue.png")], ("text", "image"))).tasks[0]
    assert again.folder.image(again.read().rows[0].candidates[0]) == shown


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [("a", "b")], ("text", "note"))
    with pytest.raises(UserError, match=r"no column with a image|no column with an image"):
        get_benchmark(path)
    with pytest.raises(UserError, match="no column 'photo'"):
        get_benchmark(path, columns=Columns(image="photo"))
    with pytest.raises(UserError, match="--candidates is for tables of pairs"):
        get_benchmark(tmp_path, candidates=5)
