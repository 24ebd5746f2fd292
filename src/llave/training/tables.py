"""A recipe's data sets, opened; and how many processes read them."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from llave.data.mmeb_train import SPLITS
from llave.data.sources import find_source, source_names
from llave.data.train_table import TrainTable, open_table
from llave.errors import UserError
from llave.training.config import DataSetConfig, TrainConfig

__all__ = ["num_workers", "open_tables"]

MAX_WORKERS = 4


def open_tables(
    data: Path,
    datasets: Mapping[str, DataSetConfig],
    setting_of: Callable[[str], DataSetConfig] | None = None,
    split: str = SPLITS[0],
    images: str | None = None,
) -> dict[str, tuple[DataSetConfig, TrainTable]]:
    """Settings and all rows of each data set to train on; of all in the folder where ``datasets`` names none.

    Args:
        setting_of: a data set's name -> its settings; None takes them as they stand in ``datasets``.
        split: of a copy of MMEB-train: which data sets there are.
        images: folder of the pictures, for data sets that do not say their own.

    Raises:
        UserError: an unknown data set, an unreadable file, a missing column.
    """
    names = list(datasets) or source_names(data, split)
    settings = {name: setting_of(name) if setting_of else datasets.get(name, DataSetConfig()) for name in names}
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
            images=setting.images or images,
            columns=setting.columns,
            split=setting.split or split,
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
