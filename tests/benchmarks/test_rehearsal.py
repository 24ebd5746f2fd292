"""The rehearsal's checkpoint converts and opens at any size."""

from pathlib import Path

import pytest
import torch

from benchmarks.measured_run import run_measured
from benchmarks.original_checkpoint import SIZES, Sizes, write_checkpoint
from benchmarks.rehearsal import RECIPES, STAGES, commands, write_rows
from llave import load_model
from llave.data.mmeb import MMEBFolder
from llave.models.convert import convert

ROOT = Path(__file__).parents[2]
TINY = Sizes(
    width=32, inner=48, layers=2, heads=4, key_value_heads=2, rows=1_100, vocabulary=1_000, vision_width=24,
    vision_inner=40, vision_layers=2, vision_heads=2, image_size=56,
)  # fmt: skip


def test_the_checkpoint_converts(tmp_path: Path) -> None:
    number = write_checkpoint(tmp_path / "original", TINY, dtype=torch.float32)
    model = load_model(convert(tmp_path / "original", tmp_path / "model"), device="cpu")
    assert sum(parameter.numel() for parameter in model.parameters()) == number
    assert model.tokenizer.vocab_size == 1_000
    ids = model.tokenizer("!!!'")["input_ids"]  # pairs of bytes are tokens
    assert model.tokenizer.decode(ids) == "!!!'"
    assert len(ids) == 2
    assert model.encode("a text").shape == (32,)


def test_the_sizes_are_the_published_ones() -> None:
    """Within a hundredth of what the boards list, 0.894 and 1.95 billion."""
    from benchmarks.original_checkpoint import _tensors

    for name, billions in (("0.5b", 0.894), ("2b", 1.95)):
        number = sum(torch.Size(shape).numel() for _, shape in _tensors(SIZES[name]))
        assert number / 1e9 == pytest.approx(billions, rel=0.02), name


def test_its_rows_and_commands(tmp_path: Path) -> None:
    write_rows(tmp_path / "data")
    folder = MMEBFolder(tmp_path / "data")
    assert [bool(row.query.image) for row in folder.train("rehearsal")] == [False, True, False, True]
    assert all(path.is_file() for row in folder.eval("rehearsal") if (path := folder.image(row.query)))
    for size, dtype in RECIPES:
        assert list(commands(tmp_path, size, dtype)) == list(STAGES)


def test_a_run_is_measured() -> None:
    filled = run_measured(
        ["python3", "-c", "import time; x = b'1' * (64 << 20); time.sleep(0.4); print(len(x))"], threads=1
    )
    assert filled.output.strip() == str(64 << 20)
    assert filled.peak_bytes > 64 << 20
    with pytest.raises(RuntimeError, match="exit code 3"):
        run_measured(["python3", "-c", "raise SystemExit(3)"], threads=1)
