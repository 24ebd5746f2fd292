"""Deal rows to batches so that equal targets, and equal queries, meet in one batch as seldom as possible.

A pair whose target (or query) stands twice in a batch is masked there: it teaches nothing, and takes a negative from
every other pair. Rows of one target are dealt out like cards, to one batch after the other, so a target that stands n
times in M batches stands in each at most ``ceil(n / M)`` times: the least there can be. A data set with fewer targets
than a batch has rows (nine labels, 64 rows) has duplicates all the same. Equal queries with different targets are
then swapped apart, with a bounded number of tries.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Groups", "deal"]

TRIES = 16
"""Partners tried for one row that meets its like."""
TRIES_PER_ROW = 0.5
"""Tries in all, per row: where equals cannot be told apart, time is not spent on it."""


class Groups:
    """Which rows of a data set share a target or a query, as small integers.

    Args:
        ids_N2: content ids of query and target of every row. ``primary`` is the side with more duplicates, which is
            dealt; ``secondary`` the other, or None where it has none.
    """

    def __init__(self, ids_N2: NDArray[np.int64]) -> None:
        sides = [_codes(ids_N2[:, side]) for side in (1, 0)]  # the target first where they tie
        sides.sort(key=lambda side: side[1])
        (primary, primary_count), (secondary, secondary_count) = sides
        rows = len(ids_N2)
        self.rows = rows
        self.primary = primary if primary_count < rows else None
        self.primary_count = primary_count
        self.secondary = secondary if secondary_count < rows else None


def _codes(ids_N: NDArray[np.int64]) -> tuple[NDArray[np.int32], int]:
    unique, codes = np.unique(ids_N, return_inverse=True)
    return codes.astype(np.int32), len(unique)


def deal(
    order_n: NDArray[np.int64], counts_M: NDArray[np.int64], groups: Groups, generator: np.random.Generator
) -> NDArray[np.int64]:
    """The rows of ``order_n`` in batches: the first ``counts_M[0]`` are batch 0, and so on.

    Args:
        order_n: drawn rows in random order; as many as ``counts_M`` has in all. A row may stand in it more than once.
        counts_M: rows of each batch.

    Returns:
        (n,), the same rows.
    """
    starts_M = np.cumsum(counts_M) - counts_M
    batch_n = np.repeat(np.arange(len(counts_M)), counts_M)
    round_n = np.arange(len(order_n)) - starts_M[batch_n]
    slots_n = np.lexsort((batch_n, round_n))  # a card to every batch, then the next round
    if groups.primary is not None:
        place = generator.permutation(groups.primary_count)  # which target comes first is drawn anew
        order_n = order_n[np.argsort(place[groups.primary[order_n]], kind="stable")]
    elif len(order_n) > groups.rows:  # rows that are drawn twice are the only equals
        order_n = order_n[np.argsort(generator.permutation(groups.rows)[order_n], kind="stable")]
    dealt_n = np.empty_like(order_n)
    dealt_n[slots_n] = order_n
    if groups.secondary is not None and len(counts_M) > 1:
        _swap_apart(dealt_n, batch_n, starts_M, counts_M, groups, generator)
    return dealt_n


def _swap_apart(
    dealt_n: NDArray[np.int64],
    batch_n: NDArray[np.int64],
    starts_M: NDArray[np.int64],
    counts_M: NDArray[np.int64],
    groups: Groups,
    generator: np.random.Generator,
) -> None:
    """Swap rows that share their secondary group with a row before them in the batch, in place."""
    assert groups.secondary is not None
    budget = int(TRIES_PER_ROW * len(dealt_n)) + TRIES
    for slot in _repeated(dealt_n, batch_n, groups.secondary):
        mine = slice(starts_M[batch_n[slot]], starts_M[batch_n[slot]] + counts_M[batch_n[slot]])
        if (groups.secondary[dealt_n[mine]] == groups.secondary[dealt_n[slot]]).sum() < 2:
            continue  # an earlier swap took its like away
        for other in generator.integers(len(dealt_n), size=TRIES):
            if budget == 0:
                return
            budget -= 1
            theirs = slice(starts_M[batch_n[other]], starts_M[batch_n[other]] + counts_M[batch_n[other]])
            if (
                theirs != mine
                and _fits(dealt_n, slot, other, mine, groups)
                and _fits(dealt_n, other, slot, theirs, groups)
            ):
                dealt_n[slot], dealt_n[other] = dealt_n[other], dealt_n[slot]
                break


def _fits(dealt_n: NDArray[np.int64], slot: int, other: int, batch: slice, groups: Groups) -> bool:
    """Whether the row at ``other`` meets no equal in the batch when it takes the place of the one at ``slot``."""
    for codes in (groups.secondary, groups.primary):
        if codes is None:
            continue
        new, old = codes[dealt_n[other]], codes[dealt_n[slot]]
        if new != old and (codes[dealt_n[batch]] == new).any():
            return False
        if new == old and codes is groups.secondary:
            return False
    return True


def _repeated(dealt_n: NDArray[np.int64], batch_n: NDArray[np.int64], codes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Slots whose code stands in their batch before them."""
    code_n = codes[dealt_n]
    order_n = np.lexsort((np.arange(len(dealt_n)), code_n, batch_n))
    same = (np.diff(batch_n[order_n]) == 0) & (np.diff(code_n[order_n]) == 0)
    repeated: NDArray[np.int64] = np.sort(order_n[1:][same])
    return repeated
