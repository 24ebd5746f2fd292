"""MMEB's format: three kinds of file read alike, and errors that name file and row."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llave.data.mmeb import MMEBFolder, RowItem
from llave.errors import DataError
from tests.shapes import make_folder

ROWS = [
    {"qry": "a", "qry_image_path": "", "pos_text": "b", "pos_image_path": "x.png", "neg_text": None},
    {"qry": "<|image_1|>\nc", "qry_image_path": "y.png", "pos_text": "d", "pos_image_path": "", "neg_text": "e"},
]


def test_parquet_json_and_jsonl_agree(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "train" / "one.parquet")
    (tmp_path / "train" / "two.json").write_text(json.dumps(ROWS))
    (tmp_path / "train" / "three.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    folder = MMEBFolder(tmp_path)
    assert folder.names("train") == ["one", "three", "two"]
    one = folder.train("one")
    assert one == folder.train("two") == folder.train("three")
    assert one[0].query == RowItem("a")
    assert one[0].negative is None
    assert one[1].negative == RowItem("e")


def test_errors_name_file_and_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no train/ or eval/ folder"):
        MMEBFolder(tmp_path / "nowhere")
    root = make_folder(tmp_path)
    with pytest.raises(DataError, match="no data set 'dogs'; there are: naming, t2i"):
        MMEBFolder(root).train("dogs")
    for broken, message in (
        ([{"qry": "a", "pos_text": "b"}], r"bad\.json row 0: missing column qry_image_path, pos_image_path"),
        (
            [ROWS[0], {**ROWS[1], "qry": "", "qry_image_path": ""}],
            r"bad\.json row 1: qry: neither a text nor a picture",
        ),
        ([{**ROWS[0], "qry": [3]}], r"row 0: qry: \[3\] is no text"),
        ({"rows": ROWS}, "expected a list of rows"),
        (["row"], "row 0: expected an object"),
    ):
        (root / "train" / "bad.json").write_text(json.dumps(broken))
        with pytest.raises(DataError, match=message):
            MMEBFolder(root).train("bad")
    (root / "train" / "bad.json").write_text("{")
    with pytest.raises(DataError, match=r"bad\.json: cannot read"):
        MMEBFolder(root).train("bad")
    for targets, pictures, message in (
        (["b"], [], "must be lists of the same length"),
        (["b", ["c"]], ["", ""], r"row 0: target 1: \['c'\] is no text"),
        (["b", ""], ["", ""], "row 0: target 1: neither a text nor a picture"),
    ):
        row = {"qry_text": "a", "qry_img_path": "", "tgt_text": targets, "tgt_img_path": pictures}
        (root / "eval" / "bad.json").write_text(json.dumps([row]))
        with pytest.raises(DataError, match=message):
            MMEBFolder(root).eval("bad")


def test_rows_share_the_candidates_that_they_have_in_common(tmp_path: Path) -> None:
    (tmp_path / "eval").mkdir()
    made = {"qry_text": "a", "qry_img_path": ""}
    rows = [
        {**made, "tgt_text": ["b", "c"], "tgt_img_path": ["", None]},
        {**made, "tgt_text": ["c", "b"], "tgt_img_path": [None, "b.png"]},
    ]
    (tmp_path / "eval" / "one.json").write_text(json.dumps(rows))
    first, second = MMEBFolder(tmp_path).eval("one")
    assert first.candidates == (RowItem("b"), RowItem("c"))
    assert second.candidates == (RowItem("c"), RowItem("b", "b.png"))
    assert first.candidates[1] is second.candidates[0]  # MMEB lists 36 million, of which few are different
