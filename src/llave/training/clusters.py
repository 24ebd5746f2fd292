"""The clusters of a run's rows, from its ``clusters`` section: found once, kept in the run's directory."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import distributed

from llave.data.clusters import clustered_order, hard_neighbours, require_partitioner
from llave.data.train_table import TrainTable
from llave.files import whole_file
from llave.training.config import ClusterConfig, DataSetConfig, TrainConfig
from llave.training.teacher import teacher_vectors

__all__ = ["keep_clusters", "run_clusters"]

CLUSTERS_FILE = "clusters.safetensors"

Orders = dict[str, NDArray[np.int64]]


def run_clusters(
    config: TrainConfig, tables: Mapping[str, TrainTable], settings: Mapping[str, DataSetConfig]
) -> Orders:
    """An order of each data set's rows in which those of a cluster stand together.

    The first process finds them, or reads those that a run began with, and tells the others: two machines' rounding
    must not part their batches.

    Raises:
        UserError: a teacher that cannot be opened, or pymetis that is not installed.
    """
    require_partitioner()
    together = distributed.is_available() and distributed.is_initialized()
    found: list[Orders | None] = [None]
    if not together or distributed.get_rank() == 0:
        path = config.output / CLUSTERS_FILE
        found = [load_file(path) if path.is_file() else _find(config, tables, settings)]
    if together:
        distributed.broadcast_object_list(found)
    assert found[0] is not None
    return found[0]


def keep_clusters(output: Path, clusters: Mapping[str, NDArray[np.int64]]) -> None:
    """In the run's directory, for a run that goes on."""
    with whole_file(output / CLUSTERS_FILE) as partial:
        save_file(dict(clusters), partial)


def _find(config: TrainConfig, tables: Mapping[str, TrainTable], settings: Mapping[str, DataSetConfig]) -> Orders:
    chosen = config.clusters
    assert isinstance(chosen, ClusterConfig)
    vectors = teacher_vectors(chosen.teacher, config, tables, settings, device=None)
    orders = {}
    for name, table in tables.items():
        ids_N2 = table.ids()
        query_NE, target_NE = vectors.pairs(*(torch.from_numpy(ids_N2[:, side].copy()) for side in (0, 1)))
        neighbours = hard_neighbours(
            query_NE.numpy(), target_NE.numpy(), ids_N2, skip=chosen.skip, neighbours=chosen.neighbours
        )
        orders[name] = clustered_order(neighbours, chosen.size)
    return orders
