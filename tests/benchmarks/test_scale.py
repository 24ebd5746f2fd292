"""The curves that docs/scale.md counts with: they find known costs again, and count as an index is made."""

from pathlib import Path

import pytest

from benchmarks.network import loss_bytes, reduce_bytes
from benchmarks.scale import COSTS, FITTED, fit, lists, plan, predict
from benchmarks.scale_part import measured


def test_the_fit_finds_the_weights_again() -> None:
    true = {name: [0.5 + 0.1 * place for place in range(len(terms(1, 1)))] for name, (_, terms) in COSTS.items()}
    runs = [
        {"rows": rows, "dim": dim, **{name: predict(true, name, rows, dim) for name in COSTS}} for rows, dim in FITTED
    ]
    found = fit(runs)
    for name in COSTS:
        assert predict(found, name, 10_000_000, 384) == pytest.approx(predict(true, name, 10_000_000, 384), rel=1e-4)


def test_a_plan_adds_up() -> None:
    weights = {name: [1e-6] * len(terms(1, 1)) for name, (_, terms) in COSTS.items()}
    one, many = (plan(weights, rows, 384, items_per_second=100, rows_per_shard=10**7) for rows in (10**7, 10**9))
    assert (one.shards, many.shards) == (1, 100)
    assert many.embed_hours == pytest.approx(10**9 / 100 / 3600)
    assert many.disk_gb == pytest.approx(100 * one.disk_gb)
    assert many.search_ms == one.search_ms  # each shard's, all at once
    assert many.vector_gb == pytest.approx({"float32": 1536, "float16": 768, "int8": 388, "binary": 48})


def test_parts_of_an_index() -> None:
    assert [lists(rows) for rows in (100, 100_000, 10**9)] == [16, 100, 4096]


def test_a_size_is_measured(tmp_path: Path) -> None:
    found = measured(2_000, 8, tmp_path)
    assert found.keys() >= {"rows", "dim", *COSTS}
    assert found["disk_bytes"] > 2_000 * 8 * 4
    assert 0.9 <= found["recall"] <= 1


def test_bytes_on_paper() -> None:
    assert reduce_bytes(1, 100) == 0
    assert reduce_bytes(4, 100) == 150
    one_column = 256 * 896 * 4
    assert loss_bytes(2, 256, 896, tiled=False) == 4 * one_column  # queries and targets, there and back
    assert loss_bytes(2, 256, 896) == 2 * one_column + 4 * 512 + 4 * 256
    assert loss_bytes(1, 256, 896) == 0
