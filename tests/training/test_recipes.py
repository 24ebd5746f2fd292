"""Every recipe is read without a complaint, and the paper's are as published."""

from pathlib import Path

import pytest

from llave.cli.parsing import parse
from llave.training.config import TrainConfig

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_is_read(path: Path) -> None:
    config = parse(TrainConfig, [str(path)], command="train", description="", positional=("recipe",))
    assert config.freeze[0] == "vision_tower"
    assert config.loss.alpha == 9.0


@pytest.mark.parametrize(("size", "rate"), [("0_5b", 1e-5), ("2b", 1e-5), ("7b", 5e-6)])
def test_as_published(size: str, rate: float) -> None:
    path = Path(__file__).parents[2] / f"recipes/llave_{size}.yaml"
    config = parse(TrainConfig, [str(path)], command="train", description="", positional=("recipe",))
    assert (config.learning_rate, config.warmup, config.schedule, config.epochs) == (rate, 0.03, "cosine", 1)
    assert (config.loss.temperature, config.loss.alpha) == (0.02, 9.0)
    assert len(config.datasets) == 20
    assert {setting.cap for setting in config.datasets.values()} == {50_000}
