"""Evaluate a model on a benchmark: every unique item is encoded once, every row is scored by cosine."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llave.data.mmeb import RowItem
from llave.data.video import NUM_FRAMES
from llave.errors import DataError
from llave.evaluation.benchmarks.task import Benchmark, Task
from llave.evaluation.cache import EmbeddingCache, model_fingerprint
from llave.evaluation.compat import STRICT, Compat
from llave.evaluation.encoding import Encoding, encode_items
from llave.evaluation.items import ItemError, ItemTable
from llave.evaluation.metrics import Ties, relevant_ranks
from llave.evaluation.result import EvalResult, ScoredRow, TaskResult
from llave.evaluation.scoring import row_scores

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["evaluate"]


@dataclass(frozen=True, slots=True)
class _NumberedRow:
    """A query's number, its candidates' (each once, the relevant ones first), and the gains of the relevant ones."""

    index: int
    query: int
    candidates: NDArray[np.int32]
    gains: NDArray[np.float64]


def evaluate(
    model: "SentenceTransformer",
    benchmark: Benchmark,
    *,
    compat: Compat = STRICT,
    ties: Ties | None = None,
    batch_size: int = 64,
    tokens_per_batch: int | None = None,
    processes: int = 1,
    num_frames: int = NUM_FRAMES,
    limit: int | None = None,
    cache_dir: Path | None = None,
    progress: bool = True,
) -> EvalResult:
    """Scores of a model on every data set of a benchmark.

    An item that cannot be embedded is listed in ``errors``. A row whose query it is, or all whose relevant candidates
    are such, is skipped; otherwise the row is scored without it. Both are counted.

    Args:
        compat: quirks of a released scorer, to compare with its numbers.
        ties: who wins a tie, where it is not as ``compat`` says.
        batch_size: items per forward pass at most.
        tokens_per_batch: tokens per forward pass at most, estimated; None fits the device.
        processes: that share the encoding; the scores are those of one.
        num_frames: frames of a video.
        limit: only this many first rows of each data set. A corpus stays whole.
        cache_dir: keep embeddings here; a killed evaluation goes on from them.
        progress: show a bar on stderr, if that is a terminal.

    Raises:
        DataError: a malformed data set, or one of which no row can be scored.
        UserError: the model refuses everything, or a process died.
    """
    started = time.perf_counter()
    compat = compat if ties is None else replace(compat, ties=ties)
    table = ItemTable(compat)
    bad: dict[str, Sequence[DataError]] = {}
    rows = {task.name: _number(task, table, compat, limit, bad) for task in benchmark.tasks}
    read = time.perf_counter()
    cache = EmbeddingCache(cache_dir, model_fingerprint(model)) if cache_dir is not None else None
    encoding = encode_items(
        model,
        table,
        batch_size=batch_size,
        tokens_per_batch=tokens_per_batch,
        cache=cache,
        processes=processes,
        num_frames=num_frames,
        progress=progress,
    )
    encoded = time.perf_counter()
    device = "cuda" if model.device.type == "cuda" else "cpu"
    tasks = {
        task.name: _score(task, rows[task.name], encoding, compat, device, len(bad[task.name]))
        for task in benchmark.tasks
    }
    done = time.perf_counter()
    return EvalResult(
        benchmark=benchmark.name,
        compat=compat.name,
        ties=compat.ties,
        tasks=tasks,
        items=table,
        errors=[
            *(ItemError("", str(error)) for errors in bad.values() for error in errors),
            *(encoding.errors[number] for number in sorted(encoding.errors)),
        ],
        seconds=done - started,
        encoded=encoding.encoded,
        phases={"reading": read - started, "encoding": encoded - read, "scoring": done - encoded},
    )


def _number(
    task: Task, table: ItemTable, compat: Compat, limit: int | None, bad: dict[str, Sequence[DataError]]
) -> list[_NumberedRow]:
    data = task.read()
    bad[task.name] = data.bad
    named: dict[str, RowItem] = {}

    def number(items: Sequence[RowItem]) -> list[int]:
        if compat.picture_names and task.picture_names:
            items = [named.setdefault(item.image, item) for item in items]
        return [table.add(task.folder, item) for item in items]

    corpus = np.array(list(dict.fromkeys(number(data.corpus))), dtype=np.int32)
    rows: list[_NumberedRow] = []
    for index, row in enumerate(data.rows[:limit]):
        own = number(row.candidates)
        gains: dict[int, float] = {}
        for candidate, gain in zip(own, row.gains, strict=False):
            gains[candidate] = max(gain, gains.get(candidate, 0.0))  # of one that is listed twice the higher counts
        candidates = np.array(list(dict.fromkeys([*gains, *own])), dtype=np.int32)
        if len(corpus):
            known = np.concatenate([candidates, np.array(number(row.exclude), dtype=np.int32)])
            candidates = np.concatenate([candidates, corpus[~np.isin(corpus, known)]])
        query = table.add(task.folder, row.query)
        rows.append(_NumberedRow(index, query, candidates, np.array(list(gains.values()))))
    return rows


def _score(
    task: Task, rows: Sequence[_NumberedRow], encoding: Encoding, compat: Compat, device: str, unreadable: int
) -> TaskResult:
    broken = np.array(sorted(encoding.errors), dtype=np.int32)
    usable: list[_NumberedRow] = []
    reduced = 0
    for row in rows:
        if not len(broken):
            usable.append(row)
            continue
        good = ~np.isin(row.candidates, broken)
        gains = row.gains[good[: len(row.gains)]]
        left = row.candidates[good]
        lost = len(row.candidates) - len(left)
        if row.query in encoding.errors or not len(gains) or (lost and len(left) == len(gains)):
            continue
        reduced += lost > 0
        usable.append(_NumberedRow(row.index, row.query, left, gains))
    if not usable:
        reason = f"; first error: {next(iter(encoding.errors.values())).message}" if rows and encoding.errors else ""
        raise DataError(f"{task.where}: none of {len(rows)} rows can be scored{reason}")
    scored: list[ScoredRow] = []
    scores = row_scores(
        encoding.embedding_UD,
        [row.query for row in usable],
        [row.candidates for row in usable],
        [len(row.gains) for row in usable],
        device=device,
    )
    for row, scores_C in zip(usable, scores, strict=True):
        ranks = relevant_ranks(scores_C, row.gains, compat.ties)
        scored.append(ScoredRow(row.index, row.query, row.candidates, scores_C.astype(np.float32), ranks, row.gains))
    return TaskResult(
        name=task.name,
        meta_task=task.meta_task,
        split=task.split,
        rows=scored,
        skipped=len(rows) - len(scored) + unreadable,
        reduced=reduced,
        modality=task.modality,
        metric=task.metric,
        expected=task.expected,
        published_name=task.published_name,
    )
