"""Scores of rows, where they are asked for in the middle of something else."""

import numpy as np
import torch

from llave.evaluation.scoring import row_scores


def test_scores_in_an_evaluation_that_encodes_in_16_bits_are_in_32() -> None:
    embedding_UD = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    embedding_UD /= np.linalg.norm(embedding_UD, axis=1, keepdims=True)
    shared = [np.arange(4, 12, dtype=np.int32)] * 4
    own = [np.array([4 + 2 * row, 5 + 2 * row], np.int32) for row in range(4)]
    for candidates in (shared, own):
        plain = list(row_scores(embedding_UD, range(4), candidates, [1] * 4))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            within = list(row_scores(embedding_UD, range(4), candidates, [1] * 4))
        assert all(np.array_equal(one, other) for one, other in zip(plain, within, strict=True))
