"""BEIR's own rules, and rows of a benchmark that cannot be read."""

import json
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from llave.data.mmeb import RowItem
from llave.errors import DataError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.runner import evaluate
from tests.shapes import make_folder


def write(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def arguments(root: Path, key: str = "_id") -> Path:
    """Arguments and counter-arguments: the queries are documents of the corpus."""
    names = {"_id": ("_id", "_id"), "hub": ("query-id", "corpus-id")}[key]
    documents = [(str(number), f"argument {number}") for number in range(4)]
    write(root / "corpus.jsonl", [{names[1]: name, "text": text} for name, text in documents])
    write(root / "queries.jsonl", [{names[0]: name, "text": text} for name, text in documents[:3]])
    lines = ["query-id\tcorpus-id\tscore", "0\t1\t1", "1\t0\t1", "2\t2\t1", "2\t3\t1"]
    (root / "qrels").mkdir()
    (root / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    return root


def test_its_own_document_is_left_out(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    benchmark = get_benchmark(arguments(tmp_path))
    rows = benchmark.tasks[0].read().rows
    own = [RowItem(f"argument {number}") for number in range(3)]
    assert [row.exclude for row in rows] == [(own[0],), (own[1],), ()]  # the third is judged relevant to itself
    (task,) = evaluate(nano_untouched, benchmark, progress=False).tasks.values()
    assert [len(row.candidates) for row in task.rows] == [3, 3, 4]
    assert all(row.query not in row.candidates for row in task.rows[:2])


def test_ids_of_hub_tables_are_unrelated_numbers(tmp_path: Path) -> None:
    rows = get_benchmark(arguments(tmp_path, "hub")).tasks[0].read().rows
    assert [row.exclude for row in rows] == [(), (), ()]


def test_bad_rows_of_each_table_cost_themselves(tmp_path: Path) -> None:
    root = arguments(tmp_path)
    with (root / "corpus.jsonl").open("a") as file:
        file.write('{"_id": \n{"text": "no id"}\n')
    with (root / "qrels" / "test.tsv").open("a") as file:
        file.write("2\tnowhere\t1\n2\t0\tmuch\n")
    data = get_benchmark(root).tasks[0].read()
    assert (len(data.rows), len(data.corpus), len(data.bad)) == (3, 4, 4)
    assert "corpus.jsonl: cannot read (line 5" in str(data.bad[0])


def test_a_bad_row_is_counted_and_a_number_is_a_text(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    root = make_folder(tmp_path)
    row = {"qry_text": 2024, "qry_img_path": "", "tgt_text": [1, True, "1.0", "b"], "tgt_img_path": [""] * 4}
    write(root / "eval" / "numbers.jsonl", [row, "{", {**row, "tgt_text": 3}, {**row, "tgt_text": ["\ud83d"] * 4}])
    result = evaluate(nano_untouched, get_benchmark(root, tasks="numbers"), progress=False)
    task = result.tasks["numbers"]
    assert (task.queries, task.skipped, len(result.errors)) == (1, 3, 3)
    texts = [result.items.row_item(int(number)).text for number in task.rows[0].candidates]
    assert texts == ["1", "True", "1.0", "b"]
    write(root / "eval" / "none.jsonl", ["{", "{"])
    with pytest.raises(DataError, match=r"none\.jsonl: cannot read \(line 1"):
        get_benchmark(root, tasks="none").tasks[0].read()
