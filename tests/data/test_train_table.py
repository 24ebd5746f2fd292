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
from llave.data.row_store import BATCH_ROWS, item_id
from llave.data.sources import find_source
from llave.data.train_table import open_table, pictures_of
from llave.errors import DataError
from tests.shapes import make_folder


def test_rows_are_those_of_the_file(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    table = open_table(find_source(root, "t2i"))
    assert list(table) == MMEBFolder(root).train("t2i")
    ids = [[item_id(row.query), item_id(row.positive)] for row in table]
    assert table.ids().tolist() == ids
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
    (root / "train" / "bad.jsonl").write_text(
        '{"qry": "a", "qry_image_path": "", "pos_text": "b", "pos_image_path": ""}\n{'
    )
    before = set((cache_directory() / "rows").glob("*.*"))
    with pytest.raises(DataError, match=r"bad\.jsonl: cannot read \(line 2"):
        open_table(find_source(root, "bad"))
    assert {path.suffix for path in set((cache_directory() / "rows").glob("*.*")) - before} <= {".lock"}


def test_rows_without_use_are_left_out_and_listed(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "images" / "red_circle.png").unlink()
    rows = json.loads((root / "train" / "t2i.json").read_text())
    rows[3]["qry"] = 7
    rows[4]["qry"] = "\ud800"
    rows[5] |= {"pos_text": " ", "pos_image_path": ""}
    (root / "train" / "t2i.json").write_text(json.dumps(rows))
    table = open_table(find_source(root, "t2i"))
    usable, skipped = table.usable(verify_pictures=True)
    assert {entry.row: entry.reason.split(": ")[-1] for entry in skipped} == {
        0: "no such picture",
        3: "text and paths must be strings",
        4: "a text is not valid Unicode (surrogates not allowed)",
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
