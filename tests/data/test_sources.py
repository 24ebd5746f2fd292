"""Where training rows come from: our folder, a copy of MMEB-train, and any table through a column mapping."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llave.data.check import check_folder, summarise
from llave.data.images import load_image
from llave.data.mmeb import RowItem
from llave.data.sources import find_source, source_names
from llave.data.train_table import open_table
from llave.errors import DataError
from tests.data.test_download import make_snapshot
from tests.shapes import make_folder

ROWS = [
    {"id": "1", "question": 'What is "this",\nplease?', "photo": "red_circle.png", "answer": "a red circle"},
    {"id": "2", "question": "And this – é?", "photo": "blue_bar.png", "answer": "a blue bar"},
]
COLUMNS = {"qry": "question", "qry_image_path": "photo", "pos_text": "answer"}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        case ".json":
            path.write_text(json.dumps(rows))
        case ".jsonl":
            path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
        case _:
            with path.open("w", newline="", encoding="utf-8-sig") as file:
                writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
                writer.writeheader()
                writer.writerows(rows)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_any_table_through_a_mapping(tmp_path: Path, suffix: str) -> None:
    root = make_folder(tmp_path)
    write(root / f"my{suffix}", ROWS)
    table = open_table(find_source(root, "my", file=f"my{suffix}", columns=COLUMNS))
    assert len(table) == 2
    assert table[0].query == RowItem('What is "this",\nplease?', "red_circle.png")
    assert table[1].query.text == "And this – é?"
    assert table[1].positive == RowItem("a blue bar")
    assert table[1].negative is None
    assert table.image(table[0].query) == root / "images" / "red_circle.png"
    assert table.where(1) == (str(root / f"my{suffix}"), 1)
    message = rf"my{suffix} row 0: missing column caption \(asked for as qry\); it has id, question, photo, answer"
    with pytest.raises(DataError, match=message):
        open_table(find_source(root, "my", file=f"my{suffix}", columns={**COLUMNS, "qry": "caption"}))


def test_shards_are_one_data_set(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "shards").mkdir()
    for number in range(3):
        rows = [{"question": f"{number}.{row}", "photo": "", "answer": "x"} for row in range(number + 1)]
        write(root / "shards" / f"{number}.parquet", rows)
    for file in ("shards", "shards/*.parquet"):
        table = open_table(find_source(root, "s", file=file, columns=COLUMNS))
        assert [row.query.text for row in table] == ["0.0", "1.0", "1.1", "2.0", "2.1", "2.2"]
        assert table.where(4) == (str(root / "shards" / "2.parquet"), 1)
    with pytest.raises(DataError, match=r"s: no table at .*nothing\.csv"):
        find_source(root, "s", file="nothing.csv")


def test_a_copy_of_mmeb_train(tmp_path: Path) -> None:
    root = make_snapshot(tmp_path)
    assert source_names(root) == ["MSCOCO", "MSCOCO_t2i"]
    for split in ("original", "diverse_instruction"):
        source = find_source(root, "MSCOCO_t2i", split=split)
        assert source.files == (root / "MSCOCO_t2i" / f"{split}-00000-of-00001.parquet",)
    table = open_table(find_source(root, "MSCOCO_t2i"))
    assert table.image(table[0].positive) == root / "images" / "MSCOCO" / "Train" / "circle.png"
    with pytest.raises(DataError, match=r"no data set MSCOCO_t2l in .*, did you mean 'MSCOCO_t2i'\?"):
        find_source(root, "MSCOCO_t2l")
    (tmp_path / "own" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match=r"s: split diverse_instruction is of a copy of MMEB-train, and .* train/"):
        find_source(tmp_path / "own", "s", split="diverse_instruction")
    summary = {(row["split"], row["data set"]): row["rows"] for row in summarise(root)}
    assert summary["diverse_instruction", "MSCOCO"] == summary["original", "MSCOCO_t2i"] == 4
    assert {problem.kind for problem in check_folder(root, progress=False)} == {"missing-image"}  # not unpacked


def test_pictures_in_the_table_itself(tmp_path: Path) -> None:
    """Bytes, or the hub's picture struct; a struct with a path alone names a file."""
    root = make_folder(tmp_path)
    content = (root / "images" / "red_circle.png").read_bytes()
    rows = [
        {"text": "a", "picture": {"bytes": content, "path": "x.png"}},
        {"text": "b", "picture": {"bytes": content, "path": None}},
        {"text": "c", "picture": {"bytes": None, "path": "blue_bar.png"}},
    ]
    write(root / "own.parquet", rows)
    table = open_table(
        find_source(root, "own", file="own.parquet", columns={"qry": "text", "pos_image_path": "picture"})
    )
    paths = [table.image(row.positive) for row in table]
    assert paths[0] == paths[1]
    assert paths[2] == root / "images" / "blue_bar.png"
    for path in paths:
        assert path is not None
        load_image(path)
    assert table.ids()[0, 1] == table.ids()[1, 1] != table.ids()[2, 1]
    assert table.usable(verify_pictures=True)[1] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "question,photo,answer\na,b\n",
            r"no usable row.*bad\.csv: cannot read \(line 2: not as many fields as the 3 na",
        ),
        ('question,photo,answer\na,b,"c\n', r"bad\.csv: cannot read \(line 2: unexpected end of data\)"),
        ("question,photo\na,b\n", r"row 0: missing column answer"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        open_table(find_source(tmp_path, "bad", file="bad.csv", columns=COLUMNS)).usable()
