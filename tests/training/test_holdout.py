"""Held-out rows share nothing with what is trained on, are drawn by seed, and are evaluated and named."""

import json
from pathlib import Path

import numpy as np
import pytest

from llave.data.mmeb import RowItem
from llave.data.sources import find_source
from llave.data.train_table import TrainTable, open_table
from llave.errors import UserError
from llave.training.config import EvaluateConfig, TrainConfig
from llave.training.holdout import held_out_benchmark, hold_out
from llave.training.rows import Use
from llave.training.run import train

NAMES = ("qry", "qry_image_path", "pos_text", "pos_image_path")


def table(root: Path, name: str, rows: list[tuple[str, str]]) -> TrainTable:
    (root / "train").mkdir(exist_ok=True)
    lines = [json.dumps(dict(zip(NAMES, (query, "", target, ""), strict=True))) for query, target in rows]
    (root / "train" / f"{name}.jsonl").write_text("\n".join(lines))
    return open_table(find_source(root, name))


def test_equal_content_stays_together(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    one = table(tmp_path, "one", [(f"q{i}", f"t{generator.integers(150)}") for i in range(200)])
    # The other data set asks for what the first has as targets: queries and targets are of one space.
    two = table(tmp_path, "two", [(f"t{generator.integers(150)}", f"u{i}") for i in range(100)])
    train, held = hold_out({"one": one, "two": two}, 0.2, seed=3)
    kept = {int(number) for part in train.values() for number in part.ids().ravel()}
    out = {int(number) for part in held.values() for number in part.ids().ravel()}
    assert not kept & out
    for name, whole in (("one", one), ("two", two)):
        assert len(train[name]) + len(held[name]) == len(whole)
        assert 0.15 * len(whole) <= len(held[name]) <= 0.2 * len(whole)
    again = hold_out({"one": one, "two": two}, 0.2, seed=3)[1]
    assert [list(part) for part in again.values()] == [list(part) for part in held.values()]
    assert list(hold_out({"one": one, "two": two}, 0.2, seed=4)[1]["one"]) != list(held["one"])


def test_a_set_that_hangs_together_gives_nothing(tmp_path: Path) -> None:
    labels = table(tmp_path, "labels", [(f"q{i}", f"label {i % 2}") for i in range(20)])
    pairs = table(tmp_path, "pairs", [(f"p{i}", f"t{i}") for i in range(20)])
    train, held = hold_out({"labels": labels, "pairs": pairs}, 0.1, seed=0)
    assert (len(train["labels"]), len(train["pairs"]), list(held)) == (20, 18, ["pairs"])
    with pytest.raises(UserError, match="no row can be held out"):
        hold_out({"labels": labels}, 0.1, seed=0)


def test_queries_face_all_held_out_targets(tmp_path: Path) -> None:
    rows = table(tmp_path, "t", [("a", "x"), ("a", "y"), ("b", "y"), ("x", "z")])
    task = held_out_benchmark({"t": rows}, {"t": Use(query_prompt="Q: ")}).tasks[0]
    data = task.read()
    assert (task.name, task.query_prompt, task.target_prompt) == ("t_val", "Q: ", None)
    assert [(row.query.text, [item.text for item in row.candidates]) for row in data.rows] == [
        ("a", ["x", "y"]),
        ("b", ["y"]),
        ("x", ["z"]),
    ]
    assert data.corpus == (RowItem("x"), RowItem("y"), RowItem("z"))
    assert data.rows[2].exclude == (RowItem("x"),)  # itself


def test_a_run_evaluates_and_names_them(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    rows = [dict(zip(NAMES, (f"question {i}", "", f"answer {i}", ""), strict=True)) for i in range(40)]
    (tmp_path / "train" / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = TrainConfig(
        data=tmp_path, output=tmp_path / "run", val_fraction=0.25, batch_size=10, epochs=2, log_steps=1, workers=0
    )
    output = train(config)
    record = json.loads((output / "run.json").read_text())
    assert (record["rows"], record["held_out"], record["steps"]) == ({"t": 30}, {"t": 10}, 6)
    assert record["best"]["metric"] == "overall"
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "eval_t_val" in line] == [3, 6]
    card = (output / "README.md").read_text()
    assert "10 rows were held out of training" in card
    assert "| t_val |" in card


def test_evaluation_needs_something_to_evaluate(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="evaluate needs a benchmark"):
        TrainConfig(data=tmp_path, output=tmp_path, evaluate=EvaluateConfig())
    with pytest.raises(UserError, match="val_fraction must be at least 0 and below 1"):
        TrainConfig(data=tmp_path, output=tmp_path, val_fraction=1.0)
