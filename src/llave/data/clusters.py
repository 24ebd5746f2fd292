"""Rows that are hard for one another, as B3 finds them (Breaking the Batch Barrier, arXiv 2505.11293).

A teacher ranks the targets of a data set for every query. The first ranks may be right answers that nobody marked, and
are passed over; the ``neighbours`` next make edges of a graph, which METIS cuts into clusters of about equal size with
as few edges between them as it can.
"""

import importlib.util

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from llave.errors import UserError

__all__ = ["clustered_order", "hard_neighbours", "require_partitioner"]

BLOCK = 1024
"""Queries ranked at a time: a block of scores takes 4 bytes for each target."""
TAKEN_OUT = -2.0
"""Below every cosine."""


def require_partitioner() -> None:
    """Tell, before a teacher has read all rows, that they cannot be clustered.

    Raises:
        UserError: pymetis is not installed.
    """
    if importlib.util.find_spec("pymetis") is None:
        raise UserError("clusters needs pymetis: pip install 'llave[clusters]'")


def hard_neighbours(
    query_NE: NDArray[np.float32],
    target_NE: NDArray[np.float32],
    ids_N2: NDArray[np.int64],
    *,
    skip: int,
    neighbours: int,
) -> NDArray[np.int32]:
    """Rows whose targets a teacher ranks from ``skip`` on for each row's query, (N, at most ``neighbours``).

    Args:
        query_NE, target_NE: unit vectors of the rows; a row with NaN is nobody's neighbour.
        ids_N2: content ids of query and target; rows that share either with a row are not its neighbours.

    Memory: N * (skip + neighbours) numbers of 4 bytes, and ``BLOCK`` rows of N scores.
    """
    number = len(query_NE)
    most = min(skip + neighbours, number - 1)
    found_NK = np.full((number, max(most - skip, 0)), -1, np.int32)
    if most <= skip:
        return found_NK
    for start in range(0, number, BLOCK):
        rows = slice(start, min(start + BLOCK, number))
        score_BN = np.nan_to_num(query_NE[rows] @ target_NE.T, nan=TAKEN_OUT)
        for side in (0, 1):
            score_BN[ids_N2[rows, side, None] == ids_N2[None, :, side]] = TAKEN_OUT
        best_BK = np.argpartition(-score_BN, most - 1, axis=1)[:, :most]
        best_BK.sort(axis=1)  # equal scores in the rows' order, whatever the partition did
        ranked_BK = np.take_along_axis(
            best_BK, np.argsort(-np.take_along_axis(score_BN, best_BK, 1), axis=1, kind="stable"), 1
        )
        kept_BK = ranked_BK[:, skip:]
        real_BK = np.take_along_axis(score_BN, kept_BK, 1) > TAKEN_OUT
        found_NK[rows] = np.where(real_BK, kept_BK, -1)
    return found_NK


def clustered_order(neighbour_NK: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    """All rows, so that each ``size`` of them in turn are a cluster.

    Args:
        neighbour_NK: of each row; -1 is none. A pair that chose each other counts twice.

    Raises:
        ImportError: :func:`require_partitioner` tells before.
    """
    import pymetis

    number = len(neighbour_NK)
    parts = number // size
    if parts < 2:
        return np.arange(number)
    from_N, place = np.nonzero(neighbour_NK >= 0)
    one = np.ones(len(from_N), np.int64)
    edges = csr_array((one, (from_N, neighbour_NK[from_N, place])), shape=(number, number))
    both = csr_array(edges + edges.T)
    found = pymetis.part_graph(
        parts,
        adjacency=pymetis.CSRAdjacency(both.indptr, both.indices),
        eweights=both.data,
        options=pymetis.Options(seed=0),
    )
    return np.argsort(np.asarray(found.vertex_part), kind="stable").astype(np.int64)
