"""Memory-mapped rows: the same as the file's, converted once, selected by cap and seed, bad ones left out."""

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llave.data.cache import cache_directory
from llave.data.mmeb import MMEBFolder, RowItem
from llave.data.row_store import BATCH_ROWS
from llave.data.sources import find_source
from llave.data.train_table import open_table, pictures_of
from llave.errors import DataError
from tests.shapes import make_folder


def test_rows_are_those_of_the_file(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    table = open_table(find_source(root, "t2i"))
    assert list(table) == MMEBFolder(root).train("t2i")
    assert table.ids().tolist() == [list(table.row_ids(index)[:2]) for index in range(len(table))]
    assert list(pickle.loads(pickle.dumps(table))) == list(table)
    with pytest.raises(IndexError):
        table[16]


def test_more_rows_than_one_record_batch(tmp_path: Path) -> None:
    number = 2 * BATCH_ROWS + 5
    columns = {name: [""] * number for name in ("qry_image_path", "pos_image_path")}
    texts = {"qry": [f"q{row}" for row in range(number)], "pos_text": [f"t{row % 100}" for row in range(number)]}
    (tmp_path / "train").mkdir()
    pq.write_table(pa.table({**columns, **texts}), tmp_path / "train" / "large.parquet")
    table = open_table(find_source(tmp_path, "large"))
    assert len(table) == number
    for row in (0, BATCH_ROWS - 1, BATCH_ROWS, number - 1):
        assert table[row].query.text == f"q{row}"
    some, skipped = table.usable(cap=100, seed=1)
    assert not skipped
    assert [row.query.text for row in some] == [f"q{some.number(index)}" for index in range(100)]
    assert some.ids().tolist() == [table.ids()[some.number(index)].tolist() for index in range(100)]
    assert len(np.unique(table.ids()[:, 1])) == 100


def test_a_file_is_converted_once_and_again_when_it_changes(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    first = open_table(find_source(root, "naming"))
    made = (first.folder / "rows.arrow").stat().st_mtime_ns
    assert open_table(find_source(root, "naming")).folder == first.folder
    assert (first.folder / "rows.arrow").stat().st_mtime_ns == made
    rows = json.loads((root / "train" / "naming.json").read_text())
    (root / "train" / "naming.json").write_text(json.dumps(rows[:7]))
    assert len(open_table(find_source(root, "naming"))) == 7
    assert len(first) == 16


def test_nothing_is_kept_of_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "train" / "bad.parquet").write_bytes(b"PAR1 and nothing else")
    before = set((cache_directory() / "rows").glob("*.*"))
    with pytest.raises(DataError, match=r"bad\.parquet: cannot read"):
        open_table(find_source(root, "bad"))
    assert {path.suffix for path in set((cache_directory() / "rows").glob("*.*")) - before} <= {".lock"}


def test_a_line_that_is_cut_off_costs_itself(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    good = '{"qry": "a", "qry_image_path": "", "pos_text": 3, "pos_image_path": ""}\n'
    (root / "train" / "cut.jsonl").write_text(good + '{"qry": 1\n' + good + "{")
    usable, skipped = open_table(find_source(root, "cut")).usable()
    assert [row.positive.text for row in usable] == ["3", "3"]
    assert [entry.row for entry in skipped] == [1, 3]
    assert "line 4" in skipped[1].reason
    assert "rows after it are missing" in skipped[1].reason


def write_rows(path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    names = ("qry", "qry_image_path", "pos_text", "pos_image_path")
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))


def test_ids_are_of_content_and_not_of_paths(tmp_path: Path) -> None:
    """Another spelling of a path, a copy of a file, another form of a letter: the same item, on either side."""
    root = make_folder(tmp_path)
    images = root / "images"
    content = (images / "red_circle.png").read_bytes()
    (images / "deep").mkdir()
    for copy in ("deep/copy.png", "cafe\u0301.png"):
        (images / copy).write_bytes(content)
    same = ["red_circle.png", "./red_circle.png", "deep/../deep/copy.png", "cafe\u0301.png"]
    rows = [("", path, "caf\u00e9", "") for path in same]
    rows += [("cafe\u0301 ", "", "", "red_circle.png"), ("", "blue_bar.png", "", "gone.png"), ("x", "", "", "gone.png")]
    write_rows(root / "train" / "same.jsonl", rows)
    ids = open_table(find_source(root, "same")).ids()
    assert len(set(ids[:4, 0].tolist())) == len(set(ids[:4, 1].tolist())) == 1
    assert ids[4].tolist() == [ids[0, 1], ids[0, 0]]  # queries and targets have one space
    assert ids[5, 0] not in ids[:5]
    assert ids[5, 1] == ids[6, 1]  # a file that is not there is known by its path
    other = root / "other"
    other.mkdir()
    (other / "moved.png").write_bytes(content)
    write_rows(root / "train" / "moved.jsonl", [("", "moved.png", "x", "")])
    elsewhere = open_table(find_source(root, "m", file="train/moved.jsonl", images="other"))
    assert elsewhere.ids()[0, 0] == ids[0, 0]


def test_ids_follow_a_picture_that_is_replaced(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    write_rows(root / "train" / "two.jsonl", [("", "red_circle.png", "a", ""), ("", "blue_bar.png", "b", "")])
    before = open_table(find_source(root, "two")).ids().copy()
    (root / "images" / "red_circle.png").write_bytes((root / "images" / "blue_bar.png").read_bytes())
    after = open_table(find_source(root, "two"))
    assert after.ids()[0, 0] == after.ids()[1, 0] == before[1, 0] != before[0, 0]


def test_rows_without_use_are_left_out_and_listed(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "images" / "red_circle.png").unlink()
    rows = json.loads((root / "train" / "t2i.json").read_text())
    rows[3]["qry"] = ["a list"]
    rows[4]["qry"] = "\ud800"
    rows[5] |= {"pos_text": " ", "pos_image_path": ""}
    (root / "train" / "t2i.json").write_text(json.dumps(rows))
    table = open_table(find_source(root, "t2i"))
    usable, skipped = table.usable(verify_pictures=True)
    assert {
        entry.row: entry.reason.removesuffix(": it has half a character)").split(": ")[-1] for entry in skipped
    } == {
        0: "no such picture",
        3: "['a list'] is no text",
        4: "a text is not valid Unicode",
        5: "neither a text nor a picture",
        15: "no such picture",  # as the hard negative
    }
    assert len(usable) == 11
    assert len(table.usable()[0]) == 13
    assert RowItem("Find: red square") in [row.query for row in usable]
    for path in (root / "images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"no usable row; the first problem: .*no such picture"):
        table.usable(verify_pictures=True)


def test_pictures_of_several_tables_are_sorted_as_paths(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    names = ["b/x.png", "b-2/x.png", "a.png", "b/x.png", ""]
    rows = [{"qry": "q", "qry_image_path": name, "pos_text": "t", "pos_image_path": ""} for name in names]
    for name in ("one", "two"):
        (tmp_path / "train" / f"{name}.json").write_text(json.dumps(rows))
    found = pictures_of([open_table(find_source(tmp_path, name)) for name in ("one", "two")])
    assert list(found) == sorted({tmp_path / "images" / name for name in names if name})
