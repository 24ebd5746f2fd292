"""Broken tables and archives at every door that takes them: what can be read is used, what cannot is one error."""

import datetime
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sentence_transformers import SentenceTransformer

from llave import build_index, evaluate
from llave.bulk.manifest import Settings, open_manifest
from llave.bulk.run import embed_collection
from llave.cli.main import main
from llave.collection.collection import Columns
from llave.data.check import check_folder
from llave.data.sources import find_source
from llave.data.tables import count_rows
from llave.data.train_table import open_table
from llave.errors import UserError
from llave.search.options import BuildOptions

HONEST = 6
Row = dict[str, Any]
Verdict = tuple[int, list[str]]
"""Rows that are used, and what is said of others."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with one thing wrong.

    Args:
        suffix: of its name.
        write: honest rows to a file that has something else beside them, after the third.
        used: rows; 0 of a file that is refused whole.
        errors: rows with an error.
    """

    suffix: str
    write: Callable[[Sequence[Row]], bytes]
    used: int
    errors: int


def _with_line(line: str) -> Callable[[Sequence[Row]], bytes]:
    def write(rows: Sequence[Row]) -> bytes:
        lines = [json.dumps(row) for row in rows]
        return "\n".join([*lines[:3], line, *lines[3:], ""]).encode()

    return write


def _with_half(rows: Sequence[Row]) -> bytes:
    first = next(name for name, value in rows[0].items() if value and isinstance(value, str))
    return _with_line(json.dumps({**rows[0], first: "half \ud83d"}))(rows)


def _cut_line(rows: Sequence[Row]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()[:-9]


def _few_fields(rows: Sequence[Row]) -> bytes:
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    return "\n".join([*lines[:4], "alone", *lines[4:], ""]).encode()


def _parquet(rows: Sequence[Row]) -> bytes:
    """Beside them a time that Python does not have."""
    table = pa.Table.from_pylist(list(rows))
    far = pa.array([datetime.datetime(2000, 1, 1)] * len(rows), pa.timestamp("us")).cast(pa.int64())
    far = pa.compute.add(far, 300_000_000_000_000_000).cast(pa.timestamp("us"))
    file = io.BytesIO()
    pq.write_table(table.append_column("when", far), file)
    return file.getvalue()


TABLES = {
    "a deep line": Table(".jsonl", _with_line("[" * 100_000 + "]" * 100_000), HONEST, 1),
    "a line cut short": Table(".jsonl", _with_line('{"text": "a'), HONEST, 1),
    "half a surrogate": Table(".jsonl", _with_half, HONEST, 1),
    "the end cut off": Table(".jsonl", _cut_line, HONEST - 1, 1),
    "too few fields": Table(".csv", _few_fields, HONEST, 1),
    "a time after 9999": Table(".parquet", _parquet, HONEST, 0),
    "parquet cut short": Table(".parquet", lambda rows: _parquet(rows)[:-100], 0, 1),
    "no rows": Table(".jsonl", lambda rows: b"", 0, 1),
}


def by_index(path: Path, model: SentenceTransformer) -> Verdict:
    options = BuildOptions(make_map=False, progress=False)
    index, _ = build_index(path.parent / "the.index", model, path, options=options)
    return index.store.stats().rows, _lines(index.path / "errors.jsonl")


def by_embed(path: Path, model: SentenceTransformer) -> Verdict:
    settings = Settings(
        input=str(path), columns=Columns(), model="nano", fingerprint="x", prompt="", num_frames=8, shard_size=4,
        dimensions=384, precision="float32", format="parquet", keep=False,
    )  # fmt: skip
    out = path.parent / "vectors"
    report = embed_collection(open_manifest(out, settings), model, progress=False)
    return report.vectors, _lines(out / "errors.jsonl")


def by_training(path: Path, model: SentenceTransformer) -> Verdict:
    table, skipped = open_table(find_source(path.parent.parent, "t"), progress=False).usable()
    return len(table), [each.reason for each in skipped]


def by_evaluation(path: Path, model: SentenceTransformer) -> Verdict:
    result = evaluate(model, path.parent.parent, progress=False)
    return result.tasks["t"].queries, [error.message for error in result.errors]


def by_check(path: Path, model: SentenceTransformer) -> Verdict:
    problems = check_folder(path.parent.parent, progress=False)
    refused = {problem.row for problem in problems}
    return 0 if None in refused else count_rows(path) - len(refused), [
        f"{each.file}: {each.message}" for each in problems
    ]


def by_mining(path: Path, model: SentenceTransformer) -> Verdict:
    root = path.parent.parent
    if main(["data", "mine", "nano", str(root), "--out", str(root / "out"), "--device", "cpu"]):
        raise UserError(f"{path}")
    report = json.loads((root / "out" / "mine.json").read_text())["datasets"][0]
    return report["rows"], _lines(root / "out" / "errors.jsonl")


def _lines(path: Path) -> list[str]:
    lines = path.read_text("utf-8").split("\n") if path.is_file() else []
    return [record.get("error") or record["reason"] for line in lines if line and (record := json.loads(line))]


def item_row(number: int) -> Row:
    return {"id": f"n{number}", "text": f"text {number}"}


def train_row(number: int) -> Row:
    return {"qry": f"question {number}", "qry_image_path": "", "pos_text": f"answer {number}", "pos_image_path": ""}


def eval_row(number: int) -> Row:
    return {"qry_text": f"question {number}", "qry_img_path": "", "tgt_text": ["a", "b"], "tgt_img_path": ["", ""]}


DOORS: dict[str, tuple[Callable[[Path, SentenceTransformer], Verdict], Callable[[int], Row], str]] = {
    "index": (by_index, item_row, "data"),
    "embed": (by_embed, item_row, "data"),
    "train": (by_training, train_row, "train"),
    "evaluate": (by_evaluation, eval_row, "eval"),
    "data check": (by_check, train_row, "train"),
    "data mine": (by_mining, train_row, "train"),
}
"""Each with the rows that it takes, and the folder of their table."""


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_tables(door: str, tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    opens, row, folder = DOORS[door]
    for name, table in TABLES.items():
        if door == "evaluate" and table.suffix == ".csv":  # which has no lists of candidates
            continue
        path = tmp_path / name / folder / f"t{table.suffix}"
        path.parent.mkdir(parents=True)
        (tmp_path / name / "images").mkdir()
        path.write_bytes(table.write([row(number) for number in range(HONEST)]))
        try:
            used, said = opens(path, nano_untouched)
        except UserError as error:
            used, said = 0, [str(error)]
        assert (used, len(said)) == (table.used, table.errors), f"{name}: {said}"
        assert all(path.name in line and "\n" not in line and len(line) < 1000 for line in said), said


def archive(members: Sequence[tuple[str, bytes, dict[str, str]]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, content, headers in members:
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(content), headers
            made.addfile(info, io.BytesIO(content))
    return file.getvalue()


HOLES = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "h.txt", "GNU.sparse.size": "200000000"}
HOLES |= {"GNU.sparse.realsize": "200000000", "GNU.sparse.map": "0,4"}
FIRST, LAST = ("a.txt", b"first", {}), ("z.txt", b"last", {})
ARCHIVES = {
    "with holes": (archive([FIRST, ("h.txt", b"1234", HOLES), LAST]), 2),
    "NUL in a name": (archive([FIRST, ("odd.txt", b"words", {"path": "x\0y.txt"}), LAST]), 2),
    "leads out": (archive([FIRST, ("odd.txt", b"words", {"path": "../y.txt"}), LAST]), 2),
    "a name that is no text": (archive([FIRST, ("odd\udce9.txt", b"words", {}), LAST]), 2),
    "a broken picture": (archive([FIRST, ("p.png", b"no picture", {}), LAST]), 2),
    "cut short": (archive([FIRST, ("b.txt", b"b", {}), LAST])[: 4 * 512 + 100], 1),  # of b the rest may be missing
    "larger than it is": (archive([FIRST, ("odd.txt", b"words", {"size": str(1 << 70)}), LAST]), 1),
}
"""And how many of their items are used; each has one error."""


@pytest.mark.slow
@pytest.mark.parametrize("door", ["index", "embed"])
def test_archives(door: str, tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    for name, (content, used) in ARCHIVES.items():
        path = tmp_path / name / "t.tar"
        path.parent.mkdir()
        path.write_bytes(content)
        found, said = DOORS[door][0](path, nano_untouched)
        assert (found, len(said)) == (used, 1), f"{name}: {said}"
        assert "\n" not in said[0]
