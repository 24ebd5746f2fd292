"""A data set of a benchmark as a retrieval task of mteb, read from local files.

Each query has its own candidates (mteb's ``top_ranked``); a candidate that several queries share is one document, and
encoded once. The numbers are those of ``llave eval`` but for ties: mteb gives a tie to the document whose id sorts
last, whichever that is; ``llave eval`` counts it as a miss.
"""

import hashlib
import re
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from mteb.abstasks.retrieval import AbsTaskRetrieval
from numpy.typing import NDArray

from llave.data.mmeb import RowItem, strip_placeholder
from llave.encode.table import ItemTable
from llave.errors import DataError, UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.benchmarks.task import Task
from llave.evaluation.mteb.instructions import MetadataOfInstructed

__all__ = ["MMEBTask", "mmeb_task", "mmeb_tasks"]

METRICS = {"hit": "hit_rate", "ndcg": "ndcg", "ndcg_linear": "ndcg"}
"""mteb's names. Its NDCG takes gains as they are, not as powers of two."""


def mmeb_task(benchmark: str | Path, name: str) -> "MMEBTask":
    """One data set of a folder in MMEB's format, or of a benchmark by name, as a task of mteb.

    Raises:
        UserError: no such data set, or one with videos.
        DataError: malformed data, or a picture that is not there.
    """
    found = get_benchmark(benchmark)
    for task in found.tasks:
        if task.name == name:
            return MMEBTask(found.name, task)
    raise UserError(f"{benchmark}: no data set {name!r}; there are: {', '.join(task.name for task in found.tasks)}")


def mmeb_tasks(benchmark: str | Path) -> "list[MMEBTask]":
    """All data sets, as :func:`mmeb_task` makes them."""
    found = get_benchmark(benchmark)
    return [MMEBTask(found.name, task) for task in found.tasks]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Queries, unique documents, and per query the numbers of its own documents and the gains of the first of them."""

    queries: list[RowItem]
    documents: ItemTable
    own: list[NDArray[np.int32]]
    gains: list[dict[int, float]]
    corpus: NDArray[np.int32]
    excluded: list[list[int]]

    @property
    def everywhere(self) -> bool:
        """Every query faces all documents."""
        if any(self.excluded):
            return False
        return len(self.corpus) == len(self.documents) or all(len(own) == len(self.documents) for own in self.own)


class MMEBTask(AbsTaskRetrieval):
    """Built by :func:`mmeb_task`."""

    ignore_identical_ids = False

    def __init__(self, benchmark: str, task: Task) -> None:
        self.task = task
        self._rows = _number(task)
        revision = self._digest()
        metric, _, cutoff = task.metric.partition("@")
        if metric not in METRICS or not cutoff.isdigit():
            raise UserError(f"{task.where}: mteb has no metric {task.metric!r}")
        self.k_values = tuple(sorted({*AbsTaskRetrieval.k_values, int(cutoff)}))
        query, document = _kinds(self._rows.queries), _kinds([item for _, item in self._documents()])
        has_picture = "i" in query + document
        self._metadata = MetadataOfInstructed(
            name=re.sub(r"[^\w.()+-]+", "_", f"{benchmark}-{task.name}"),
            description=f"{task.where}: {task.meta_task}",
            dataset={"path": task.where, "revision": revision},
            type="Any2AnyRetrieval" if has_picture else "Retrieval",
            category=f"{query}2{document}",  # type: ignore[arg-type]
            modalities=["text", "image"] if has_picture else ["text"],
            # mteb's cache answers by split and not by the data's revision; so a changed data set is another split.
            eval_splits=[f"test-{revision[:8]}"],
            eval_langs=["eng-Latn"],
            main_score=f"{METRICS[metric]}_at_{cutoff}",
        )
        super().__init__()

    @property
    def metadata(self) -> MetadataOfInstructed:  # type: ignore[override]  # mteb drops an attribute when it unloads
        """What the data set is, as mteb files it."""
        return self._metadata

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Make mteb's tables of the rows; pictures are decoded when they are encoded."""
        if self.data_loaded:
            return
        rows = self._rows
        ids = [f"d{number}" for number in range(len(rows.documents))]
        relevant = {
            f"q{index}": dict(zip((ids[number] for number in gains), _whole(list(gains.values())), strict=True))
            for index, gains in enumerate(rows.gains)
        }
        top_ranked = None
        if not rows.everywhere:
            faced = (
                (index, np.setdiff1d(np.union1d(own, rows.corpus), excluded))
                for index, (own, excluded) in enumerate(zip(rows.own, rows.excluded, strict=True))
            )
            top_ranked = {f"q{index}": [ids[number] for number in numbers] for index, numbers in faced}
        query, document = self.metadata.category.split("2")  # type: ignore[union-attr]
        split = {
            "queries": self._table([(f"q{i}", item) for i, item in enumerate(rows.queries)], query),
            "corpus": self._table([(ids[number], item) for number, item in self._documents()], document),
            "relevant_docs": relevant,
            "top_ranked": top_ranked,
        }
        self.dataset = {"default": {self.metadata.eval_splits[0]: split}}  # type: ignore[dict-item]
        self.data_loaded = True

    def _documents(self) -> list[tuple[int, RowItem]]:
        return [(number, self._rows.documents.row_item(number)) for number in range(len(self._rows.documents))]

    def _table(self, items: list[tuple[str, RowItem]], kinds: str) -> datasets.Dataset:
        columns: dict[str, list[str | None]] = {"id": [key for key, _ in items]}
        features: dict[str, Any] = {"id": datasets.Value("string")}
        if "t" in kinds:
            columns["text"] = [strip_placeholder(item.text) for _, item in items]
            features["text"] = datasets.Value("string")
        if "i" in kinds:
            paths = [self.task.folder.image(item) for _, item in items]
            columns["image"] = [None if path is None else str(path) for path in paths]
            features["image"] = datasets.Image()
        return datasets.Dataset.from_dict(columns, features=datasets.Features(features))

    def _digest(self) -> str:
        """SHA-256 of texts, paths, sizes of pictures, candidates and gains, in hexadecimal."""
        rows = self._rows
        digest = hashlib.sha256()
        for item in (*rows.queries, *(item for _, item in self._documents())):
            path = self.task.folder.image(item)
            try:
                size = 0 if path is None else path.stat().st_size
            except OSError:
                raise DataError(f"{self.task.where}: no picture {path}; `llave data check` lists all") from None
            digest.update(repr((item.text, item.image, size)).encode("utf-8", "surrogatepass"))
        for own, gains in zip(rows.own, rows.gains, strict=True):
            digest.update(own.tobytes() + repr(gains).encode())
        digest.update(rows.corpus.tobytes())
        return digest.hexdigest()


def _number(task: Task) -> _Rows:
    data = task.read()
    table = ItemTable()

    def add(item: RowItem) -> int:
        if item.video or item.audio:
            raise UserError(
                f"{task.where}: has videos or sounds, which mteb gets from its own data sets only; use `llave eval`"
            )
        return table.add(task.folder, item)

    rows = _Rows([], table, [], [], np.array(list(dict.fromkeys(map(add, data.corpus))), dtype=np.int32), [])
    for row in data.rows:
        own = [add(candidate) for candidate in row.candidates]
        gains: dict[int, float] = {}
        for number, gain in zip(own, row.gains, strict=False):
            gains[number] = max(gain, gains.get(number, 0.0))
        if row.query.video:
            add(row.query)
        rows.queries.append(row.query)
        rows.own.append(np.array(list(dict.fromkeys(own)), dtype=np.int32))
        rows.gains.append(gains)
        rows.excluded.append([number for number in map(add, row.exclude) if number not in own])
    if not rows.queries:
        raise DataError(f"{task.where}: no rows")
    return rows


def _kinds(items: list[RowItem]) -> str:
    """``"i"``, ``"t"`` or ``"it"``: what some of the items have."""
    image = any(item.image for item in items)
    text = any(strip_placeholder(item.text) for item in items)
    return ("i" if image else "") + ("t" if text or not image else "")


def _whole(gains: list[float]) -> list[int]:
    """Whole numbers in the same proportion, which is all that NDCG looks at; mteb takes no others."""
    fractions = [Fraction(gain).limit_denominator(1000) for gain in gains]
    scale = lcm(*(fraction.denominator for fraction in fractions))
    return [max(1, int(fraction * scale)) for fraction in fractions]
