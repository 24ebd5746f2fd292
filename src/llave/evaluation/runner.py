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
from llave.encode.cache import EmbeddingCache, model_fingerprint
from llave.encode.encoder import Encoder
from llave.encode.item import Reading
from llave.encode.table import Encoding, ItemTable, encode_table
from llave.errors import DataError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.benchmarks.task import Benchmark, Task
from llave.evaluation.compat import STRICT, Compat
from llave.evaluation.metrics import Ties, relevant_ranks
from llave.evaluation.result import EvalResult, ItemError, ScoredRow, TaskResult
from llave.evaluation.scoring import row_scores
from llave.models.open import load_model
from llave.models.prompts import require_audio, require_video

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
    model: "SentenceTransformer | str | Path",
    benchmark: Benchmark | str | Path,
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
        model: an open model, or what :func:`llave.load_model` opens.
        benchmark: one that is open, or what :func:`~llave.evaluation.benchmarks.get_benchmark` opens: a name such as
            ``"mmeb"``, or a folder.
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
        UserError: no such model or benchmark.
        DataError: a malformed data set, or one of which no row can be scored.
        UserError: the model refuses everything, or a process died.
    """
    if isinstance(model, str | Path):
        model = load_model(model)
    if isinstance(benchmark, str | Path):
        benchmark = get_benchmark(benchmark)
    started = time.perf_counter()
    compat = compat if ties is None else replace(compat, ties=ties)
    table = ItemTable(verbatim=compat.verbatim, blank=compat.blank)
    bad: dict[str, Sequence[DataError]] = {}
    rows = {task.name: _number(task, table, compat, limit, bad) for task in benchmark.tasks}
    read = time.perf_counter()
    if any(table.row_item(number).video for number in range(len(table))):
        require_video(model)
    if any(table.row_item(number).audio for number in range(len(table))):
        require_audio(model)
    cache = EmbeddingCache(cache_dir, model_fingerprint(model)) if cache_dir is not None else None
    reading = Reading(num_frames=num_frames)
    encoder = Encoder(model, reading=reading, batch_size=batch_size, tokens_per_batch=tokens_per_batch)
    encoding = encode_table(encoder, table, cache=cache, processes=processes, progress=progress)
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
            *(
                ItemError(str(table.path(number) or ""), encoding.errors[number].reason)
                for number in sorted(encoding.errors)
            ),
        ],
        seconds=done - started,
        encoded=encoding.encoded,
        cut=encoding.cut,
        cut_sounds=encoding.cut_sounds,
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
        return [table.add(task.folder, item, task.target_prompt) for item in items]

    corpus = np.array(list(dict.fromkeys(number(data.corpus))), dtype=np.int32)
    rows: list[_NumberedRow] = []
    for index, row in enumerate(data.rows[:limit]):
        candidates, gains = _each_once(number(row.candidates), row.gains)
        if len(corpus):
            known = np.concatenate([candidates, np.array(number(row.exclude), dtype=np.int32)])
            candidates = np.concatenate([candidates, corpus[~np.isin(corpus, known)]])
        rows.append(_NumberedRow(index, table.add(task.folder, row.query, task.query_prompt), candidates, gains))
    return rows


def _each_once(candidates: Sequence[int], gains: Sequence[float]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Every candidate once, the relevant ones first; of one that is listed twice the higher gain counts."""
    best: dict[int, float] = {}
    for candidate, gain in zip(candidates, gains, strict=False):
        best[candidate] = max(gain, best.get(candidate, 0.0))
    return np.array(list(dict.fromkeys([*best, *candidates])), dtype=np.int32), np.array(list(best.values()))


def _alike(row: _NumberedRow, same_U: NDArray[np.int32]) -> _NumberedRow:
    """The row with candidates of equal content as one: a copied file is no distractor."""
    numbers = same_U[row.candidates]
    if len(np.unique(numbers)) == len(numbers):
        return row
    candidates, gains = _each_once(numbers.tolist(), row.gains.tolist())
    return _NumberedRow(row.index, row.query, candidates, gains)


def _score(
    task: Task, rows: Sequence[_NumberedRow], encoding: Encoding, compat: Compat, device: str, unreadable: int
) -> TaskResult:
    broken = np.array(sorted(encoding.errors), dtype=np.int32)
    usable: list[_NumberedRow] = []
    reduced = 0
    if (encoding.same_U != np.arange(len(encoding.same_U))).any():
        rows = [_alike(row, encoding.same_U) for row in rows]
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
        reason = f"; first error: {next(iter(encoding.errors.values()))}" if rows and encoding.errors else ""
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
