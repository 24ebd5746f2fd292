"""The benchmark of the loss: its peers compute the same formula, and it reports what it measured."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.loss import regime
from benchmarks.loss_peers import ALPHA, TEMPERATURE, variants
from llave.cli.main import main
from llave.losses.functional import hardness_weighted_loss

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", [name for name in variants() if not name.startswith("CachedMNRL")])
def test_peers_compute_the_same_loss_and_gradients(name: str) -> None:
    query, target = regime("hard", 33, 12, dtype=torch.float64, device=CPU)
    loss = variants()[name](query, target)
    assert query.grad is not None
    assert target.grad is not None
    found = query.grad.clone(), target.grad.clone()
    query.grad = target.grad = None
    expected = hardness_weighted_loss(query, target, temperature=TEMPERATURE, alpha=ALPHA, impl="reference")
    expected.backward()
    limit = 1e-3 if "16 bits" in name else 1e-6
    assert torch.allclose(loss.double(), expected.detach(), rtol=limit)
    for gradient, reference in zip(found, (query.grad, target.grad), strict=True):
        assert float((gradient - reference).norm() / reference.norm()) < limit


def test_cached_mnrl_is_the_one_sided_unweighted_loss() -> None:
    query, target = regime("hard", 40, 12, dtype=torch.float64, device=CPU)
    loss = variants()["CachedMNRL, mini-batch 32"](query, target)
    assert query.grad is not None
    expected = hardness_weighted_loss(query, target, temperature=TEMPERATURE, alpha=0.0, symmetric=False)
    (gradient,) = torch.autograd.grad(expected, query)
    assert torch.allclose(loss, expected.detach())
    # It normalises again, so that its gradient is the part along the sphere.
    along = gradient - (gradient * query.detach()).sum(1, keepdim=True) * query.detach()
    assert float((query.grad - along).norm() / along.norm()) < 1e-4


@pytest.mark.slow
def test_the_command_writes_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        "bench",
        "loss",
        "--sizes",
        "[8,16]",
        "--dim",
        "4",
        "--rounds",
        "2",
        "--only",
        "llave",
        "--out",
        str(tmp_path),
    ]
    assert main(argv) == 0
    assert "llave stored" in capsys.readouterr().out
    found = json.loads((tmp_path / "loss.json").read_text())["measurements"]
    assert {(m["variant"], m["size"]) for m in found} >= {("llave auto", 8), ("llave tiled", 16)}
    for measured in found:
        assert 0 < measured["fastest"] <= measured["seconds"] <= measured["slowest"]
        assert measured["error_hard"] < 2e-3
    assert "| 16 | llave tiled |" in (tmp_path / "loss.md").read_text()
    assert (tmp_path / "loss.svg").stat().st_size > 1000
    assert main(["bench", "loss", "--sizes", "[64]", "--memory", "0.00001", "--only", "original", *argv[-2:]]) == 0
    (skipped,) = json.loads((tmp_path / "loss.json").read_text())["measurements"]
    assert skipped["seconds"] is None
    assert "needs about" in skipped["skipped"]
