"""Evaluate a model on a benchmark: every unique item is encoded once, every row is scored by cosine."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llave.data.door import reason_of
from llave.data.mmeb import RowItem
from llave.data.video import has_rate
from llave.encode.cache import KEY_BYTES, EmbeddingCache, model_fingerprint
from llave.encode.encoder import Encoder
from llave.encode.table import Encoding, ItemTable, encode_table
from llave.errors import DataError, UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.benchmarks.task import Absent, Benchmark, Task, TaskData, Unsupported
from llave.evaluation.compat import STRICT, Compat
from llave.evaluation.late import LateEncoding, encode_late
from llave.evaluation.metrics import Ties, relevant_ranks
from llave.evaluation.protocol import Protocol
from llave.evaluation.result import EvalResult, Failure, ItemError, ScoredRow, TaskResult
from llave.evaluation.scoring import row_scores
from llave.models.late import LateModel
from llave.models.open import is_late, load_late, load_model
from llave.models.prompts import require_video

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
    model: "SentenceTransformer | LateModel | str | Path",
    benchmark: Benchmark | str | Path,
    *,
    compat: Compat = STRICT,
    ties: Ties | None = None,
    batch_size: int = 64,
    tokens_per_batch: int | None = None,
    processes: int = 1,
    protocol: Protocol = Protocol(),  # noqa: B008 — frozen
    limit: int | None = None,
    cache_dir: Path | None = None,
    token_pooling: float = 1,
    progress: bool = True,
) -> EvalResult:
    """Scores of a model on every data set of a benchmark.

    An item that cannot be embedded is listed in ``errors``. A row whose query it is, or all whose relevant candidates
    are such, is skipped; otherwise the row is scored without it. Both are counted. A data set that cannot be read, of
    which no row can be scored, or that the model does not take, is in ``failed``; the others are scored.

    Args:
        model: an open model, or what :func:`llave.load_model` or :func:`llave.models.open.load_late` opens. A model of
            late interaction scores by MaxSim.
        benchmark: one that is open, or what :func:`~llave.evaluation.benchmarks.get_benchmark` opens: a name such as
            ``"mmeb"``, or a folder.
        compat: quirks of a released scorer, to compare with its numbers.
        ties: who wins a tie, where it is not as ``compat`` says.
        batch_size: items per forward pass at most.
        tokens_per_batch: tokens per forward pass at most, estimated; None fits the device.
        processes: that share the encoding; the scores are those of one.
        protocol: how items reach the model, where that is not its own way.
        limit: only this many first rows of each data set. A corpus stays whole.
        cache_dir: keep embeddings here; a killed evaluation goes on from them. Not of late interaction.
        token_pooling: of late interaction: candidates keep one in so many tokens.
        progress: show a bar on stderr, if that is a terminal.

    Raises:
        UserError: no such model or benchmark; or no data set could be scored: the first one's reason.
        UserError: the model refuses everything, or a process died.
    """
    if isinstance(model, str | Path):
        model = load_late(model) if is_late(str(model)) else load_model(model)
    if isinstance(benchmark, str | Path):
        benchmark = get_benchmark(benchmark)
    _check_kind(model, processes, cache_dir, token_pooling, protocol)
    started = time.perf_counter()
    compat = compat if ties is None else replace(compat, ties=ties)
    table = ItemTable(verbatim=compat.verbatim, blank=compat.blank, form=protocol.form)
    bad: dict[str, Sequence[DataError]] = {}
    rows: dict[str, list[_NumberedRow]] = {}
    failed: dict[str, Exception] = {}
    for task in benchmark.tasks:
        try:
            rows[task.name] = _number(task, model, table, compat, protocol, limit, bad)
        except Exception as error:  # of one data set, whatever is in it
            failed[task.name] = error
    _raise_if_all(failed, benchmark)
    read = time.perf_counter()
    limits: dict[str, Any] = {
        "reading": protocol.reading,
        "batch_size": batch_size,
        "tokens_per_batch": tokens_per_batch,
    }
    encoding: Encoding | LateEncoding
    with protocol.applied(model):
        if isinstance(model, LateModel):
            queries, candidates = _sides(rows)
            encoding = encode_late(model, table, queries, candidates, factor=token_pooling, progress=progress, **limits)
        else:
            cache = None
            if cache_dir is not None:
                cache = EmbeddingCache(cache_dir, protocol.cache_name(model_fingerprint(model)))
            encoder = Encoder(model, raw=protocol.form == "raw", **limits)
            encoding = encode_table(encoder, table, cache=cache, processes=processes, progress=progress)
    encoded = time.perf_counter()
    device = "cuda" if model.device.type == "cuda" else "cpu"
    tasks = {}
    for task in benchmark.tasks:
        if task.name not in failed:
            try:
                tasks[task.name] = _score(task, rows[task.name], encoding, compat, device, len(bad[task.name]))
            except DataError as error:
                failed[task.name] = error
    _raise_if_all(failed, benchmark)
    done = time.perf_counter()
    return EvalResult(
        benchmark=benchmark.name,
        compat=compat.name,
        ties=compat.ties,
        tasks=tasks,
        failed={name: _failure(error) for name, error in failed.items()},
        revisions=benchmark.revisions,
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
        cached=encoding.cached,
        cut=encoding.cut,
        cut_sounds=encoding.cut_sounds,
        vectors=encoding.digest,
        notes=[*_notes(table, protocol), *([encoding.note()] if isinstance(encoding, LateEncoding) else [])],
        late=encoding.about() if isinstance(encoding, LateEncoding) else None,
        phases={"reading": read - started, "encoding": encoded - read, "scoring": done - encoded},
    )


def _check_kind(
    model: "SentenceTransformer | LateModel",
    processes: int,
    cache_dir: Path | None,
    token_pooling: float,
    protocol: Protocol,
) -> None:
    """Refuse what is for the other kind of model."""
    if not isinstance(model, LateModel):
        if token_pooling != 1:
            raise UserError("token pooling is for models of late interaction, and this one has one vector for an item")
    elif processes > 1 or cache_dir is not None or protocol.form == "raw":
        raise UserError("a model of late interaction: no --processes, --cache or --template none")


def _sides(rows: Mapping[str, Sequence[_NumberedRow]]) -> tuple[list[int], list[int]]:
    """Numbers of all queries and of all candidates."""
    every = [row for of_task in rows.values() for row in of_task]
    candidates = np.unique(np.concatenate([row.candidates for row in every])) if every else np.zeros(0, np.int32)
    return sorted({row.query for row in every}), candidates.tolist()


def _raise_if_all(failed: dict[str, Exception], benchmark: Benchmark) -> None:
    """Without a single data set there is no result."""
    if failed and len(failed) == len(benchmark.tasks):
        raise next(iter(failed.values()))


def _failure(error: Exception) -> Failure:
    if isinstance(error, Unsupported):
        return Failure("unsupported", str(error))
    said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {reason_of(error)}"
    return Failure("absent" if isinstance(error, Absent) else "failed", said)


def _require(model: "SentenceTransformer | LateModel", data: TaskData) -> None:
    """Refuse what the model does not take before it is decoded: nothing stands in for what it cannot see or hear.

    Raises:
        Unsupported: the data set has videos or sounds, and the model takes none.
    """
    of_rows = (item for row in data.rows for item in (row.query, *row.candidates[:1]))
    items = {item for item in (*of_rows, *data.corpus[:1]) if item.video or item.audio}
    if any(item.audio for item in items):
        if any("#t=" in item.audio for item in items):
            raise Unsupported("parts of longer sounds, which llave does not cut out")
        if not model.supports("audio"):
            raise Unsupported("sounds, and this model takes none")
    if any(item.video for item in items):
        try:
            require_video(model)
        except UserError as error:
            raise Unsupported(str(error)) from None


def _notes(table: ItemTable, protocol: Protocol) -> list[str]:
    """What was not done as the protocol says."""
    if protocol.fps is None:
        return []
    videos = [path for number in range(len(table)) if table.row_item(number).video and (path := table.path(number))]
    without = sum(not (has_rate(path) or (path.is_dir() and protocol.folder_rate)) for path in videos)
    if not without:
        return []
    return [
        f"{without:,} of {len(videos):,} videos are folders of frames or animations, which tell no frames a second: "
        f"{protocol.num_frames} of each were taken evenly, not {protocol.fps:g} a second"
    ]


def _number(
    task: Task,
    model: "SentenceTransformer | LateModel",
    table: ItemTable,
    compat: Compat,
    protocol: Protocol,
    limit: int | None,
    bad: dict[str, Sequence[DataError]],
) -> list[_NumberedRow]:
    data = task.read()
    _require(model, data)
    bad[task.name] = data.bad
    named: dict[str, RowItem] = {}
    query_prompt = protocol.query_prompt if task.query_prompt is None else task.query_prompt
    target_prompt = protocol.target_prompt if task.target_prompt is None else task.target_prompt

    def number(items: Sequence[RowItem]) -> list[int]:
        if compat.picture_names and task.picture_names:
            items = [named.setdefault(item.image, item) for item in items]
        return [table.add(task.folder, item, target_prompt) for item in items]

    corpus = np.array(list(dict.fromkeys(number(data.corpus))), dtype=np.int32)
    rows: list[_NumberedRow] = []
    for index, row in enumerate(data.rows[:limit]):
        candidates, gains = _each_once(number(row.candidates), row.gains)
        if len(corpus):
            known = np.concatenate([candidates, np.array(number(row.exclude), dtype=np.int32)])
            candidates = np.concatenate([candidates, corpus[~np.isin(corpus, known)]])
        rows.append(_NumberedRow(index, table.add(task.folder, row.query, query_prompt), candidates, gains))
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
    task: Task,
    rows: Sequence[_NumberedRow],
    encoding: Encoding | LateEncoding,
    compat: Compat,
    device: str,
    unreadable: int,
) -> TaskResult:
    content = _content(rows, encoding.keys)
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
    asked = [row.query for row in usable], [row.candidates for row in usable], [len(row.gains) for row in usable]
    if isinstance(encoding, LateEncoding):
        scores = encoding.row_scores(*asked)
    else:
        scores = row_scores(encoding.embedding_UD, *asked, device=device)
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
        content=content,
    )


def _content(rows: Sequence[_NumberedRow], keys: Sequence[bytes]) -> str:
    """SHA-256, in hexadecimal, of what a data set asks: content of queries and candidates, and gains."""
    key_U32 = np.frombuffer(b"".join(key.ljust(KEY_BYTES, b"\0") for key in keys), np.uint8).reshape(-1, KEY_BYTES)
    digest = hashlib.sha256()
    for row in rows:
        digest.update(key_U32[row.query].tobytes() + key_U32[row.candidates].tobytes() + row.gains.tobytes())
    return digest.hexdigest()
