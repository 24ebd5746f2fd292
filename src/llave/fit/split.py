"""Rows in three parts, for training, validation and test, so that nothing of one part stands in another.

Rows that share a picture, by its content and not its name, or a text, hang together: a part is made of whole such
groups. Names of classes are shared by all parts, of course. A negative that stands in another part is taken from its
row, which stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from llave.errors import UserError
from llave.fit.rows import FitRow, Rows
from llave.training.holdout import components, drawn_components

__all__ = ["LEAST_ROWS", "PARTS", "Split", "split_rows"]

PARTS = ("train", "validation", "test")
LEAST_ROWS = 50
TEST, MOST_TEST = 0.2, 1000
VALIDATION, MOST_VALIDATION = 0.1, 500
LEAST_DRAWN = 0.5
"""Of the rows that a part should have; with less of them, what hangs together is too large to be divided."""


@dataclass(frozen=True, slots=True)
class Split:
    """The parts by name, and the groups.

    Args:
        rows: of each part.
        groups: of each part's rows, the number of the group that each hangs in.
        negatives_dropped: that stood in another part.
    """

    rows: dict[str, list[FitRow]]
    groups: dict[str, list[int]]
    negatives_dropped: int


def split_rows(rows: Rows, seed: int) -> Split:
    """A fifth of the rows for the test, a tenth for validation, at most 1,000 and 500; a function of the seed.

    Raises:
        UserError: too few rows, or rows that cannot be taken apart.
    """
    number = len(rows.rows)
    if number < LEAST_ROWS:
        left = f" ({len(rows.left_out):,} of {rows.read:,} are left out)" if rows.left_out else ""
        raise UserError(
            f"{number} usable rows{left}: at least {LEAST_ROWS} are needed, of which a fifth is kept for the test; "
            "a few hundred say more"
        )
    classes = rows.chosen.kind == "classes"
    if classes and len({row.positive.text for row in rows.rows}) < 2:
        raise UserError(
            f"all {number:,} rows have the label {rows.rows[0].positive.text!r}: there is nothing to tell apart"
        )
    ids_N2 = np.array([_ends(rows, row, classes) for row in rows.rows], np.int64)
    group_N = components(ids_N2)
    part_N = _parts(group_N, seed)
    if part_N is None:
        largest = int(np.bincount(group_N).max())
        raise UserError(
            f"{largest:,} of {number:,} rows hang together, because they share pictures or texts: no part can be kept "
            "for a test without showing it in training. Texts that stand in many rows are classes: name their column "
            "with --label"
        )
    parts = {
        name: [row for row, part in zip(rows.rows, part_N, strict=True) if part == place]
        for place, name in enumerate(PARTS)
    }
    dropped = _drop_negatives(rows, parts)
    return Split(parts, {name: group_N[part_N == place].tolist() for place, name in enumerate(PARTS)}, dropped)


def _ends(rows: Rows, row: FitRow, classes: bool) -> tuple[int, int]:
    query = rows.key(row.query)
    return query, query if classes else rows.key(row.positive)


def _parts(group_N: NDArray[np.int64], seed: int) -> NDArray[np.int64] | None:
    """(N,) places in :data:`PARTS`; None if a part cannot be filled."""
    number = len(group_N)
    part_N = np.zeros(number, np.int64)
    for place, share, most in ((2, TEST, MOST_TEST), (1, VALIDATION, MOST_VALIDATION)):
        wanted = min(int(share * number), most)
        left = np.flatnonzero(part_N == 0)
        _, group_L = np.unique(group_N[left], return_inverse=True)
        fraction = (wanted + 0.5) / len(left)  # the half, so that rounding down gives what is wanted
        drawn = drawn_components(group_L, np.zeros(len(left), np.int64), fraction, seed + place)
        held = left[np.isin(group_L, drawn)]
        if len(held) < LEAST_DRAWN * wanted:
            return None
        part_N[held] = place
    return part_N


def _drop_negatives(rows: Rows, parts: dict[str, list[FitRow]]) -> int:
    """Take negatives from rows, in place, that stand in another part; those of the test stay first."""
    own = {name: {rows.key(item) for row in part for item in (row.query, row.positive)} for name, part in parts.items()}
    taken: dict[str, set[int]] = {}
    dropped = 0
    for name in reversed(PARTS):
        others: Sequence[set[int]] = [keys for other, keys in own.items() if other != name] + list(taken.values())
        taken[name] = set()
        for place, row in enumerate(parts[name]):
            if row.negative is None:
                continue
            key = rows.key(row.negative)
            if any(key in keys for keys in others):
                parts[name][place] = replace(row, negative=None)
                dropped += 1
            else:
                taken[name].add(key)
    return dropped
