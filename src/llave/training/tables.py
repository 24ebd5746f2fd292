"""A recipe's data sets, opened; and how many processes read them."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from llave.data.sources import find_source, source_names
from llave.data.train_table import TrainTable, open_table
from llave.errors import UserError
from llave.training.config import DataSetConfig, TrainConfig

__all__ = ["num_workers", "open_tables"]

MAX_WORKERS = 4


def open_tables(data: Path, datasets: Mapping[str, DataSetConfig]) -> dict[str, tuple[DataSetConfig, TrainTable]]:
    """Settings and all rows of each data set to train on; of all in the folder where ``datasets`` names none.

    Raises:
        UserError: an unknown data set, an unreadable file, a missing column.
    """
    settings = datasets or {name: DataSetConfig() for name in source_names(data)}
    if not data.is_dir():
        raise UserError(f"{data}: no such data folder; `llave data sample --out DIR` makes an example")
    if not settings:
        raise UserError(f"{data}: no training data (neither train/NAME.parquet nor a copy of MMEB-train)")
    tables = {}
    for name, setting in sorted(settings.items()):  # the order in a recipe changes nothing
        source = find_source(
            data,
            name,
            file=setting.file,
            images=setting.images,
            columns=setting.columns,
            split=setting.split,
        )
        tables[name] = (setting, open_table(source))
    return tables


def num_workers(config: TrainConfig, *, cached: bool) -> int:
    """Processes that decode pictures; none by default where features are cached or processes cannot be forked."""
    if config.workers is not None:
        return config.workers
    if cached or not sys.platform.startswith("linux"):
        return 0
    cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(min(MAX_WORKERS, cores), 0)
