"""The search for hard negatives against a loop over hand-made and random scores."""

import numpy as np
import pytest

from llave.mining.hardest import Limits, Pairs, hardest


def unit(rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, 6)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def plain(query: np.ndarray, target: np.ndarray, pairs: Pairs, limits: Limits, judged: np.ndarray) -> list[list[int]]:
    """One row at a time, as the documentation says it."""
    found = []
    for q, t in zip(pairs.query_R, pairs.target_R, strict=True):
        known = {int(tt) for qq, tt in zip(pairs.query_R, pairs.target_R, strict=True) if qq == q}
        ranked = [int(c) for c in np.argsort(-(target @ query[q]), kind="stable") if int(c) not in known]
        ranked = ranked[limits.min_rank : limits.max_rank]
        positive = judged[q, t]
        limit = min(
            positive - (1 - limits.relative_margin) * abs(positive) if limits.relative_margin is not None else np.inf,
            positive - limits.margin if limits.margin is not None else np.inf,
        )
        found.append([c for c in ranked if judged[q, c] <= limit][: limits.negatives])
    return found


@pytest.mark.parametrize(
    "limits",
    [
        Limits(),
        Limits(negatives=3, relative_margin=0.95),
        Limits(negatives=2, margin=0.1),
        Limits(negatives=2, margin=0.1, relative_margin=0.5, min_rank=2, max_rank=9),
    ],
)
@pytest.mark.parametrize("with_judge", [False, True])
def test_equals_the_plain_search(limits: Limits, with_judge: bool) -> None:
    query, target = unit(20, 0), unit(15, 1)
    generator = np.random.default_rng(2)
    pairs = Pairs(generator.integers(0, 20, 40), generator.integers(0, 15, 40))
    other_query, other_target = unit(20, 3), unit(15, 4)
    judged = other_query @ other_target.T if with_judge else query @ target.T

    def judge(query_B: np.ndarray, target_BK: np.ndarray) -> np.ndarray:
        return np.einsum("bd,bkd->bk", other_query[query_B], other_target[target_BK])

    blocks = list(hardest(query, target, pairs, limits, judge=judge if with_judge else None, block_bytes=4 * 15 * 7))
    assert len(blocks) == 6  # of 7 rows
    found = [[int(t) for t in row if t >= 0] for block in blocks for row in block.target_BN]
    assert found == plain(query, target, pairs, limits, judged)


def test_what_has_no_embedding() -> None:
    query, target = unit(4, 0), unit(5, 1)
    query[1] = np.nan
    target[3] = np.nan
    pairs = Pairs(np.arange(4), np.array([0, 1, 2, 3]))
    (block,) = hardest(query, target, pairs, Limits(negatives=5))
    assert block.unreadable == 2  # the query of row 1, the positive of row 3
    assert (block.target_BN[[1, 3]] == -1).all()
    assert 3 not in block.target_BN
    assert sorted(block.target_BN[0].tolist()) == [-1, -1, 1, 2, 4]
