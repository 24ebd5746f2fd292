"""The similarities of a batch against a loop over its pairs."""

import pytest
import torch

from llave.losses.batch_similarity import batch_similarity


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("offset", [0, 4])
def test_equals_a_loop(offset: int, shared: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    target = torch.nn.functional.normalize(torch.randn(17, 6, generator=generator), dim=-1)
    query = torch.nn.functional.normalize(
        target[offset : offset + 9] + 0.5 * torch.randn(9, 6, generator=generator), dim=-1
    )
    query_ids, target_ids = torch.arange(13) // 2, torch.arange(17) % 7
    found = batch_similarity(
        query, target, offset=offset, query_ids=query_ids, target_ids=target_ids, shared_ids=shared
    )
    positives, hard, easy, right = [], [], [], []
    for i in range(9):
        pair = offset + i
        negatives = [
            float(query[i] @ target[j])
            for j in range(17)
            if j != pair
            and target_ids[j] != target_ids[pair]
            and not (j < 13 and query_ids[j] == query_ids[pair])
            and not (shared and query_ids[pair] == target_ids[j])
        ]
        positives.append(float(query[i] @ target[pair]))
        hard.append(sum(sorted(negatives)[-5:]) / 5)
        easy.append(sum(sorted(negatives)[:5]) / 5)
        right.append(positives[-1] > max(negatives))
    expected = {"positive": positives, "hard": hard, "easy": easy, "batch_accuracy": right}
    for name, values in expected.items():
        assert found[name] == pytest.approx(sum(values) / 9, abs=1e-6)
    assert found["gap"] == pytest.approx(found["positive"] - found["hard"])


def test_a_batch_without_negatives_says_nothing() -> None:
    one = torch.ones(3, 1)
    assert batch_similarity(one, one, query_ids=None, target_ids=torch.zeros(3, dtype=torch.long)) == {}
