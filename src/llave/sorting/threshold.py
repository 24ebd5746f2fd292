"""A threshold that gives the precision that is wanted, from pairs that a person has judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from llave.data.tables import read_table
from llave.errors import UserError

__all__ = ["Chosen", "Judged", "choose_threshold", "read_judged", "wilson"]

YES, NO = {"1", "true", "yes", "y", "same"}, {"0", "false", "no", "n", "different"}


@dataclass(frozen=True, slots=True)
class Judged:
    """Two items, and whether a person says that they are the same."""

    a: str
    b: str
    same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A threshold, and what the judged pairs say of it.

    Args:
        threshold: None where none gives the precision.
        found: pairs that pass; ``right`` of them are the same.
        same: pairs that are the same; ``pairs``: all.
    """

    threshold: float | None
    found: int
    right: int
    same: int
    pairs: int

    @property
    def precision(self) -> tuple[float, float]:
        """Its interval at 95%."""
        return wilson(self.right, self.found)

    def __str__(self) -> str:
        if self.threshold is None:
            return f"no threshold gives that precision on {self.pairs:,} pairs, {self.same:,} of them the same"
        low, high = self.precision
        return (
            f"{self.right:,} of the {self.found:,} pairs that pass are the same ({low:.1%} to {high:.1%}), and "
            f"{self.right:,} of the {self.same:,} that are the same pass"
        )


def read_judged(path: Path) -> list[Judged]:
    """A table with the columns ``a``, ``b`` and ``same``.

    Raises:
        UserError: no table, another column, or a row that says neither yes nor no.
    """
    found = []
    for number, row in enumerate(read_table(path), start=1):
        if isinstance(row, Exception):
            raise row
        missing = [name for name in ("a", "b", "same") if not isinstance(row, dict) or name not in row]
        if missing:
            raise UserError(f"{path} row {number}: no column {missing[0]!r}; wanted are a, b and same")
        said = str(row["same"]).strip().casefold()
        if said not in YES | NO:
            raise UserError(f"{path} row {number}: same is {row['same']!r:.40}; write yes or no")
        found.append(Judged(str(row["a"]), str(row["b"]), said in YES))
    if not found:
        raise UserError(f"{path}: no rows")
    return found


def choose_threshold(score_P: ArrayLike, same: Sequence[bool], *, precision: float) -> Chosen:
    """The lowest score from which on, among pairs that reach it, the wanted share is the same.

    Args:
        score_P: higher for what is more alike; -inf of a pair that can never pass.
    """
    scores, right = np.asarray(score_P, np.float64), np.asarray(same, bool)
    best = Chosen(threshold=None, found=0, right=0, same=int(right.sum()), pairs=len(right))
    for threshold in np.unique(scores[np.isfinite(scores)])[::-1]:
        passing = scores >= threshold
        found, hits = int(passing.sum()), int(right[passing].sum())
        if hits >= precision * found:
            best = Chosen(threshold=float(threshold), found=found, right=hits, same=best.same, pairs=best.pairs)
    return best


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The interval (Wilson 1927) at 95% of a share; it has a width at 0 and at 1, too."""
    if not count:
        return 0.0, 1.0
    found = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)
