"""``llave data mine``: a folder in MMEB's format with hard negatives that a model found.

Pictures are not copied: OUT/images links to the folder they are in. A data set is written when it is done, and
embeddings are kept in the cache, so the same command goes on where it was stopped.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from sentence_transformers import SentenceTransformer

from llave.data.cache import cache_directory
from llave.data.mmeb import ALL_COLUMNS, RowItem
from llave.data.row_store import EMBEDDED, SCHEMA
from llave.data.train_table import TrainTable
from llave.encode.cache import EmbeddingCache, model_fingerprint
from llave.encode.encoder import Encoder
from llave.encode.table import Encoding, ItemTable, encode_table
from llave.errors import UserError
from llave.files import holds_nothing, remove_leftovers, whole_file, write_json
from llave.mining.config import MineConfig
from llave.mining.hardest import Limits, Mined, Pairs, hardest
from llave.models.nano_features import use_feature_cache
from llave.models.open import load_model
from llave.training.config import DataSetConfig
from llave.training.row_errors import RowErrors
from llave.training.tables import open_tables

__all__ = ["ERRORS", "MinedSet", "mine"]

REPORT = "mine.json"
ERRORS = "errors.jsonl"
"""Of rows that were left out or cannot be embedded, and why: in OUT."""
JUDGED_ROWS = 128  # at a time: their candidates' vectors are gathered
# What may differ when a search goes on.
NOT_FOUND_BY = {"out", "batch_size", "device", "cache"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MinedSet:
    """What was found for a data set.

    Args:
        rows: pairs searched for.
        negatives: found.
        without: pairs that got none.
        dropped: candidates above the margin: probable false negatives.
        unreadable: pairs whose query or positive could not be embedded.
        left_out: rows that no training can use.
    """

    name: str
    rows: int
    negatives: int
    without: int
    dropped: int
    unreadable: int
    left_out: int


@dataclass(frozen=True, slots=True)
class _Searched:
    """A data set as unique queries and targets: the row that shows each first, and the pairs."""

    query_row: NDArray[np.int64]
    target_row: NDArray[np.int64]
    pairs: Pairs


def mine(config: MineConfig, *, console: Console | None = None, progress: bool = True) -> list[MinedSet]:
    """Find hard negatives for every data set and write ``OUT/train/NAME.parquet`` and ``OUT/mine.json``.

    Raises:
        UserError: an unknown data set, unusable data, or an OUT of another search.
    """
    console = console or Console(stderr=True)
    settings = {key: value for key, value in _as_json(config).items() if key not in NOT_FOUND_BY}
    done = _previous(config.out, settings)
    tables = open_tables(config.data, config.datasets)
    (config.out / "train").mkdir(parents=True, exist_ok=True)
    remove_leftovers(config.out / "train")
    _write_report(config.out, settings, done)  # first, as the sign that the folder is this search's
    prefixes = _link_pictures(config.out, [table for _, table in tables.values()])
    models, errors = _Models(config), RowErrors(config.out / ERRORS)
    for name, (setting, table) in tables.items():
        if name in done:
            console.print(f"{name}: done already")
            continue
        usable, skipped = table.usable(cap=setting.cap, seed=config.seed)
        for left_out in skipped:
            errors.report(left_out.file, left_out.row, left_out.reason)
        found = _search(config, usable, setting, models, errors, progress)
        target = config.out / "train" / f"{name}.parquet"
        counts = _write(usable, found, target, prefixes.get(name), config.negatives)
        done[name] = dataclasses.replace(counts, left_out=len(skipped))
        _write_report(config.out, settings, done)
    return [done[name] for name in tables]


class _Models:
    """The model and the judge, loaded when a data set needs them, each with its own cache of embeddings."""

    def __init__(self, config: MineConfig) -> None:
        self.config = config
        self._loaded: dict[str, tuple[SentenceTransformer, EmbeddingCache]] = {}

    def encode(self, name: str, items: ItemTable, progress: bool) -> Encoding:
        """Vectors by the model of this name."""
        if name not in self._loaded:
            model: SentenceTransformer = load_model(name, device=self.config.device)
            use_feature_cache(model)
            folder = self.config.cache or cache_directory() / "embeddings"
            self._loaded[name] = (model, EmbeddingCache(folder, model_fingerprint(model)))
        opened, cache = self._loaded[name]
        encoder = Encoder(opened, batch_size=self.config.batch_size)
        return encode_table(encoder, items, cache=cache, progress=progress)

    def device(self, name: str) -> Any:
        """Where the model is."""
        return self._loaded[name][0].device


def _search(
    config: MineConfig,
    table: TrainTable,
    setting: DataSetConfig,
    models: _Models,
    errors: RowErrors,
    progress: bool,
) -> Iterator[tuple[_Searched, Mined]]:
    """Blocks of rows with their negatives."""
    searched = _unique(table)
    items, query_U, target_U = _items(table, searched, setting)
    limits = Limits(
        negatives=config.negatives,
        relative_margin=config.relative_margin,
        margin=config.margin,
        min_rank=config.min_rank,
        max_rank=config.max_rank,
    )
    encoding = models.encode(config.model, items, progress)
    for number_R in (query_U[searched.pairs.query_R], target_U[searched.pairs.target_R]):
        for row in np.flatnonzero(np.isin(number_R, list(encoding.errors))).tolist():
            errors.report(*table.where(row), encoding.errors[int(number_R[row])].reason)
    vector_UD = encoding.embedding_UD
    judge = None
    if config.judge is not None:
        judged_UD = models.encode(config.judge, items, progress).embedding_UD

        def judge(query_B: NDArray[np.int64], target_BK: NDArray[np.int64]) -> NDArray[np.float32]:
            parts = [
                np.einsum(
                    "bd,bkd->bk",
                    judged_UD[query_U[query_B[start : start + JUDGED_ROWS]]],
                    judged_UD[target_U[target_BK[start : start + JUDGED_ROWS]]],
                )
                for start in range(0, len(query_B), JUDGED_ROWS)
            ]
            return np.concatenate(parts)

    blocks = hardest(
        vector_UD[query_U],
        vector_UD[target_U],
        searched.pairs,
        limits,
        judge=judge,
        device=models.device(config.model),
    )
    console = Console(stderr=True)
    for block in track(
        blocks, description=f"mine {table.name}", console=console, transient=True, disable=not progress, total=None
    ):
        yield searched, block


def _unique(table: TrainTable) -> _Searched:
    ids = table.ids()
    _, query_row, query_R = np.unique(ids[:, 0], return_index=True, return_inverse=True)
    _, target_row, target_R = np.unique(ids[:, 1], return_index=True, return_inverse=True)
    return _Searched(query_row, target_row, Pairs(query_R.astype(np.int64), target_R.astype(np.int64)))


def _items(
    table: TrainTable, searched: _Searched, setting: DataSetConfig
) -> tuple[ItemTable, NDArray[np.int64], NDArray[np.int64]]:
    """What is embedded, each once, and the item of every unique query and target; prompts as in training."""
    items = ItemTable()
    queries = [items.add(table, table[int(row)].query, setting.query_prompt) for row in searched.query_row]
    targets = [items.add(table, table[int(row)].positive, setting.target_prompt) for row in searched.target_row]
    return items, np.array(queries, np.int64), np.array(targets, np.int64)


def _write(
    table: TrainTable, found: Iterator[tuple[_Searched, Mined]], path: Path, prefix: str | None, negatives: int
) -> MinedSet:
    """The rows with their negatives; a row that got none stays, without one."""
    row, total, without, dropped, unreadable = 0, 0, 0, 0, 0
    with whole_file(path) as partial, pq.ParquetWriter(partial, SCHEMA) as writer:
        for searched, block in found:
            columns: list[list[str]] = [[] for _ in ALL_COLUMNS]
            for target_N in block.target_BN:
                pair = table[row]
                row += 1
                targets = [int(target) for target in target_N if target >= 0]
                total += len(targets)
                without += not targets
                mined = [table[int(searched.target_row[target])].positive for target in targets] or [RowItem()]
                for negative in mined:
                    for place, item in enumerate((pair.query, pair.positive, negative)):
                        columns[2 * place].append(item.text)
                        columns[2 * place + 1].append(_moved(item.image, table.name, prefix))
            dropped += block.above
            unreadable += block.unreadable
            writer.write_batch(pa.record_batch([pa.array(column, pa.string()) for column in columns], SCHEMA))
    return MinedSet(
        name=table.name,
        rows=row,
        negatives=total,
        without=without,
        dropped=dropped,
        unreadable=unreadable,
        left_out=0,
    )


def _moved(image: str, name: str, prefix: str | None) -> str:
    """The picture's path in OUT/images."""
    if image.startswith(EMBEDDED):
        return f"{name}.embedded/{image.removeprefix(EMBEDDED)}"
    return f"{prefix}/{image}" if image and prefix else image


def _link_pictures(out: Path, tables: Sequence[TrainTable]) -> dict[str, str]:
    """Links in OUT/images, and the prefix of each data set's paths where there is more than one folder."""
    roots = {table.root.resolve() for table in tables}
    embedded = [table for table in tables if (table.folder / "pictures").is_dir()]
    if len(roots) == 1 and not embedded:
        _link(out / "images", roots.pop())
        return {}
    (out / "images").mkdir(exist_ok=True)
    for table in tables:
        _link(out / "images" / table.name, table.root.resolve())
    for table in embedded:
        _link(out / "images" / f"{table.name}.embedded", (table.folder / "pictures").resolve())
    return {table.name: table.name for table in tables}


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.resolve() == target:
        return
    if link.exists() or link.is_symlink():
        raise UserError(f"{link}: exists and is not a link to {target}; choose another --out")
    if target.is_dir():
        link.symlink_to(target, target_is_directory=True)


def _previous(out: Path, settings: dict[str, Any]) -> dict[str, MinedSet]:
    """Data sets that this very search has done already."""
    path = out / REPORT
    if not path.is_file():
        if not holds_nothing(out):
            raise UserError(f"{out}: not empty and not a folder of mined negatives; choose another --out")
        return {}
    report = json.loads(path.read_text("utf-8"))
    if report["settings"] != settings:
        different = sorted(key for key in settings if report["settings"].get(key) != settings[key])
        raise UserError(f"{out}: holds a search with another {', '.join(different)}; choose another --out")
    return {entry["name"]: MinedSet(**entry) for entry in report["datasets"]}


def _write_report(out: Path, settings: dict[str, Any], done: dict[str, MinedSet]) -> None:
    report = {"settings": settings, "datasets": [dataclasses.asdict(entry) for entry in done.values()]}
    write_json(out / REPORT, report, indent=1)


def _as_json(config: MineConfig) -> dict[str, Any]:
    resolved: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return resolved
