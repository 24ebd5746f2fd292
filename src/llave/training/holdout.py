"""Rows held out of training and evaluated during it, so that nothing of them is trained on under another name."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from llave.data.mmeb import EvalRow, RowItem
from llave.data.train_table import TrainTable
from llave.errors import UserError
from llave.evaluation.benchmarks.task import Benchmark, Task, TaskData
from llave.training.rows import Use

__all__ = ["components", "drawn_components", "held_out_benchmark", "hold_out"]

Tables = dict[str, TrainTable]


def hold_out(tables: Mapping[str, TrainTable], fraction: float, seed: int) -> tuple[Tables, Tables]:
    """(rows to train on, rows held out) of each data set, by seed.

    Rows that share a query's or a target's content, in whatever data set and on whichever side, stay together: the
    parts are made of whole connected components. A data set whose rows all hang together gives none.

    Args:
        fraction: of each data set's rows that is held out at most.

    Raises:
        UserError: no row can be held out.
    """
    ids_N2 = np.concatenate([table.ids() for table in tables.values()])
    owner_N = np.repeat(np.arange(len(tables)), [len(table) for table in tables.values()])
    component_N = components(ids_N2)
    held_N = np.isin(component_N, drawn_components(component_N, owner_N, fraction, seed))
    if not held_N.any():
        raise UserError(f"val_fraction {fraction}: no row can be held out; the rows are too few, or all share content")
    train, held = {}, {}
    for number, (name, table) in enumerate(tables.items()):
        mine = held_N[owner_N == number]
        train[name] = table.some(np.flatnonzero(~mine))
        if mine.any():
            held[name] = table.some(np.flatnonzero(mine))
    return train, held


def components(ids_N2: NDArray[np.int64]) -> NDArray[np.int64]:
    """The component of every row, where rows that share an id are of one."""
    unique, codes = np.unique(ids_N2, return_inverse=True)
    codes_N2 = codes.reshape(ids_N2.shape)
    ones = np.ones(len(codes_N2), np.int8)
    graph = coo_array((ones, (codes_N2[:, 0], codes_N2[:, 1])), shape=(len(unique), len(unique)))
    _, labels = connected_components(graph, directed=False)
    component_N: NDArray[np.int64] = labels[codes_N2[:, 0]]
    return component_N


def drawn_components(
    component_N: NDArray[np.int64], owner_N: NDArray[np.int64], fraction: float, seed: int
) -> list[int]:
    """Components in random order, as long as no data set gives more than its fraction."""
    sets = int(owner_N.max()) + 1
    sizes_CD = np.zeros((int(component_N.max()) + 1, sets), np.int64)
    np.add.at(sizes_CD, (component_N, owner_N), 1)
    left_D = (sizes_CD.sum(0) * fraction).astype(np.int64)
    drawn: list[int] = []
    for component in np.random.default_rng([seed, 7]).permutation(len(sizes_CD)).tolist():
        if (sizes_CD[component] <= left_D).all():
            drawn.append(component)
            left_D -= sizes_CD[component]
            if not left_D.any():
                break
    return drawn


def held_out_benchmark(held: Mapping[str, TrainTable], uses: Mapping[str, Use]) -> Benchmark:
    """A task ``NAME_val`` of each data set: every distinct query against all distinct targets that were held out."""

    def task(name: str, table: TrainTable) -> Task:
        return Task(
            name=f"{name}_val",
            meta_task="other",
            split=None,
            folder=table,
            read=lambda: _rows(table, uses[name]),
            where=f"{name}: rows held out by val_fraction",
            query_prompt=uses[name].query_prompt,
            target_prompt=uses[name].target_prompt,
        )

    return Benchmark("held-out rows", [task(name, table) for name, table in held.items()])


def _rows(table: TrainTable, use: Use) -> TaskData:
    targets: dict[int, RowItem] = {}
    queries: dict[int, RowItem] = {}
    relevant: dict[int, dict[int, None]] = {}
    for row, (query_id, target_id) in zip(table, table.ids().tolist(), strict=True):
        targets.setdefault(target_id, row.positive)
        queries.setdefault(query_id, row.query)
        relevant.setdefault(query_id, {})[target_id] = None
    rows = []
    for query_id, query in queries.items():
        own = relevant[query_id]
        itself = use.mask_own_targets and query_id in targets and query_id not in own
        exclude = (targets[query_id],) if itself else ()
        rows.append(EvalRow(query, tuple(targets[target] for target in own), (1.0,) * len(own), exclude))
    return TaskData(rows, tuple(targets.values()))
