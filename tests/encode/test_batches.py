"""Batches of like cost: every item once, one modality each, within the budget, with little padding."""

import random

from llave.encode.batches import PIXELS_PER_BATCH, Estimate, plan_batches


def padded(estimates: list[Estimate], batches: list[list[int]]) -> int:
    return sum(max(estimates[index].tokens for index in batch) * len(batch) for batch in batches)


def test_equal_pictures_stand_together_and_texts_of_like_length_too() -> None:
    draw = random.Random(0)
    pictures = [str(number % 150).encode() for number in range(200)]  # 50 of them twice
    estimates = [Estimate("image", 100, draw.randint(5, 80), content) for content in pictures]
    estimates += [Estimate("text", 0, draw.randint(5, 80), b"") for _ in range(100)]
    batches = list(plan_batches(estimates, max_items=16, max_tokens=2000))
    assert sorted(index for batch in batches for index in batch) == list(range(300))
    assert all(len({estimates[index].modality for index in batch}) == 1 for batch in batches)
    assert all(len(batch) <= 16 and padded(estimates, [batch]) <= 2000 for batch in batches)
    assert padded(estimates, batches) < 1.08 * sum(estimate.tokens for estimate in estimates)
    seen = [{estimates[n].content for n in batch} for batch in batches if estimates[batch[0]].modality == "image"]
    assert sum(map(len, seen)) <= 150 + len(seen) - 1  # a picture is in two batches only where one ends with it


def test_large_photos_come_in_smaller_batches() -> None:
    """A dual encoder has one token for a picture of any size, which says nothing of the memory that it takes."""
    photos = [Estimate("image", 1, 0, str(n).encode(), 12_000_000) for n in range(40)]
    (huge,) = [Estimate("image", 1, 0, b"huge", 2 * PIXELS_PER_BATCH)]
    batches = list(plan_batches([*photos, huge], max_items=64, max_tokens=2000))
    assert sorted(index for batch in batches for index in batch) == list(range(41))
    assert sorted(map(len, batches)) == [1, 8, 16, 16]
