"""The benchmark of a step: every variant has the gradient of the whole batch, and the command reports what it saw."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.shaped_model import SHAPES, Shape, shaped_model
from benchmarks.train import BASE, ROWS, measure_train, work
from llave.cli.main import main

SMALL = Shape(
    side=28, vision_width=16, vision_hidden=32, vision_layers=2, vision_heads=2,
    text_width=16, text_hidden=32, text_layers=2, text_heads=2, text_key_value_heads=1,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("rows", ROWS)
def test_every_variant_has_the_same_gradient(rows: str, tmp_path: Path) -> None:
    model = shaped_model(SMALL, tmp_path, device=torch.device("cpu"))
    found = measure_train(model, SMALL.side, rows=rows, pairs=7, mini_batch_size=2, rounds=1, progress=False)
    measured = {m.variant: m for m in found if m.seconds is not None}
    assert len(measured) == 9
    for name, measurement in measured.items():
        assert measurement.error is not None
        assert measurement.error < 1e-4, name
    failed = {m.variant: m.failed for m in found if m.seconds is None}
    assert set(failed) == ({BASE} if rows == "mixed" else set())  # sentence-transformers 6.2 stops at mixed rows


def test_work_is_shared_as_in_llave_0_5b(tmp_path: Path) -> None:
    """A picture is two tiles of 642 GFLOP and 1,485 tokens; its tokens and the texts take about 1,150."""
    shape = SHAPES["tiny"]
    vision, language = work(shaped_model(shape, tmp_path, device=torch.device("cpu")), shape.side)
    assert vision / language == pytest.approx(2 * 642 / 1150, rel=0.05)


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "train", "--pairs", "4", "--mini_batch_size", "2", "--rounds", "1", "--rows", "[pairs]"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert "tower twice" in capsys.readouterr().out
    content = json.loads((tmp_path / "train.json").read_text())
    assert {m["rows"] for m in content["measurements"]} == {"pairs"}
    assert "| pairs | llave |" in (tmp_path / "train.md").read_text()
    assert main([*command, "--pairs", "1"]) == 2
    assert "pairs at least 2" in capsys.readouterr().err
