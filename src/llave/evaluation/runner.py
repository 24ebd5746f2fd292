"""Evaluate a model on a benchmark: every unique item is encoded once, every row is scored by cosine."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llave.errors import DataError
from llave.evaluation.benchmarks.task import Benchmark, Task
from llave.evaluation.cache import EmbeddingCache, model_fingerprint
from llave.evaluation.encoding import encode_items
from llave.evaluation.items import ItemError, ItemTable
from llave.evaluation.metrics import Ties, precision_at_1
from llave.evaluation.result import EvalResult, ScoredRow, TaskResult

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["evaluate", "write_results"]

NumberedRow = tuple[int, NDArray[np.int32]]
"""A query's number and its candidates' numbers, each candidate once, the positive first."""


def evaluate(
    model: "SentenceTransformer",
    benchmark: Benchmark,
    *,
    ties: Ties = "strict",
    batch_size: int = 64,
    limit: int | None = None,
    cache_dir: Path | None = None,
    progress: bool = True,
) -> EvalResult:
    """P@1 of a model on every data set of a benchmark.

    An item that cannot be embedded is listed in ``errors``. A row whose query or positive it is, is skipped; where it
    is a negative, the row is scored without it. Both are counted.

    Args:
        ties: what a negative that scores as high as the positive does.
        batch_size: items per forward pass.
        limit: only this many first rows of each data set.
        cache_dir: keep embeddings here, for the next evaluation of the same weights.
        progress: show a bar on stderr, if that is a terminal.

    Raises:
        DataError: a malformed data set, or one of which no row can be scored.
    """
    started = time.perf_counter()
    table = ItemTable()
    rows = {task.name: _number(task, table, limit) for task in benchmark.tasks}
    cache = EmbeddingCache(cache_dir, model_fingerprint(model)) if cache_dir is not None else None
    known = len(cache) if cache is not None else 0
    embedding_UD, errors = encode_items(model, table, batch_size=batch_size, cache=cache, progress=progress)
    encoded = len(table) - len(errors) if cache is None else len(cache) - known
    tasks = {task.name: _score(task, rows[task.name], embedding_UD, errors, ties) for task in benchmark.tasks}
    listed = [errors[number] for number in sorted(errors)]
    return EvalResult(benchmark.name, ties, tasks, table, listed, time.perf_counter() - started, encoded)


def write_results(result: EvalResult, out_dir: Path) -> None:
    """Write ``results.json``, ``results.md`` and, per data set, ``predictions/NAME.json``."""
    predictions = out_dir / "predictions"
    predictions.mkdir(parents=True, exist_ok=True)
    (out_dir / "results.json").write_text(_dump(result.to_json()), "utf-8")
    (out_dir / "results.md").write_text(result.to_markdown(), "utf-8")
    for task in result.tasks.values():
        rows = [_prediction(result, row) for row in task.rows]
        (predictions / f"{task.name}.json").write_text(_dump(rows), "utf-8")


def _number(task: Task, table: ItemTable, limit: int | None) -> list[NumberedRow]:
    numbered: list[NumberedRow] = []
    for row in task.rows()[:limit]:
        candidates = dict.fromkeys(table.add(task.folder, candidate) for candidate in row.candidates)
        numbered.append((table.add(task.folder, row.query), np.array(list(candidates), dtype=np.int32)))
    return numbered


def _score(
    task: Task,
    rows: list[NumberedRow],
    embedding_UD: NDArray[np.float32],
    errors: dict[int, ItemError],
    ties: Ties,
) -> TaskResult:
    scored: list[ScoredRow] = []
    broken = np.array(sorted(errors), dtype=np.int32)
    reduced = 0
    for index, (query, given) in enumerate(rows):
        candidates = given[~np.isin(given, broken)] if len(broken) else given
        lost = len(given) - len(candidates)
        if query in errors or given[0] in errors or (lost and len(candidates) == 1):
            continue
        reduced += lost > 0
        scores = embedding_UD[candidates] @ embedding_UD[query]
        correct = bool(precision_at_1(scores, ties=ties))
        scored.append(ScoredRow(index, query, candidates, scores, correct))
    if not scored:
        reason = f"; first error: {next(iter(errors.values())).message}" if rows and errors else ""
        raise DataError(f"{task.where}: none of {len(rows)} rows can be scored{reason}")
    return TaskResult(task.name, task.meta_task, task.split, scored, len(rows) - len(scored), reduced)


def _prediction(result: EvalResult, row: ScoredRow) -> dict[str, Any]:
    def shown(number: int) -> dict[str, str]:
        item = result.items.item(number)
        return {"text": item.text, "image": item.image}

    return {
        "row": row.row,
        "correct": row.correct,
        "query": shown(row.query),
        "positive": shown(int(row.candidates[0])),
        "predicted": shown(int(row.candidates[row.predicted])),
        "positive_score": float(row.scores[0]),
        "predicted_score": float(row.scores[row.predicted]),
    }


def _dump(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
