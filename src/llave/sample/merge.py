"""Variants of one thing become one concept, so that none of an unseen concept turns up in training."""

from collections.abc import Iterable

__all__ = ["merge"]


def merge(count: int, alike: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The numbers below ``count`` in groups that ``alike`` connects, by their first members (a union-find)."""
    parent = list(range(count))

    def find(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for one, other in alike:
        low, high = sorted((find(one), find(other)))
        parent[high] = low
    merged: dict[int, list[int]] = {}
    for index in range(count):
        merged.setdefault(find(index), []).append(index)
    return [merged[root] for root in sorted(merged)]
