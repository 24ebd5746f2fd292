"""Every recipe is read without a complaint, and the paper's are as published."""

from pathlib import Path

import pytest

from llave.cli.parsing import parse
from llave.training.config import DataSetConfig, TrainConfig

PAIRS = 256
MMEB_TRAIN = {
    "A-OKVQA", "CIRR", "ChartQA", "DocVQA", "HatefulMemes", "ImageNet_1K", "InfographicsVQA", "MSCOCO", "MSCOCO_i2t",
    "MSCOCO_t2i", "N24News", "NIGHTS", "OK-VQA", "SUN397", "VOC2007", "VisDial", "Visual7W", "VisualNews_i2t",
    "VisualNews_t2i", "WebQA",
}  # fmt: skip
"""The 20 data sets in distribution, by their names for training."""
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_is_read(path: Path) -> None:
    config = parse(TrainConfig, [str(path)], command="train", description="", positional=("recipe",))
    assert config.freeze[0] == "vision_tower"
    assert config.loss.alpha == 9.0


@pytest.mark.parametrize(("size", "rate", "devices"), [("0_5b", 1e-5, 8), ("2b", 1e-5, 8), ("7b", 5e-6, 16)])
def test_as_published(size: str, rate: float, devices: int) -> None:
    path = Path(__file__).parents[2] / f"recipes/llave_{size}.yaml"
    config = parse(TrainConfig, [str(path)], command="train", description="", positional=("recipe",))
    assert (config.learning_rate, config.warmup, config.schedule, config.epochs) == (rate, 0.03, "cosine", 1)
    assert (config.loss.temperature, config.loss.alpha) == (0.02, 9.0)
    assert (config.batch_size, config.weight_decay, config.precision) == (PAIRS // devices, 0.0, "bf16")
    assert f"--nproc_per_node {devices} " in path.read_text()
    assert (config.freeze, config.adapter, config.max_steps) == (["vision_tower"], None, -1)
    assert config.datasets == {name: DataSetConfig(cap=50_000) for name in MMEB_TRAIN}


@pytest.mark.parametrize("name", ["llave_0_5b_lora", "llave_2b_lora", "llave_7b_qlora"])
def test_adapters_as_published(name: str) -> None:
    """VLM2Vec-V2's; the text says where they come from, and that nobody ran them."""
    path = Path(__file__).parents[2] / f"recipes/{name}.yaml"
    config = parse(TrainConfig, [str(path)], command="train", description="", positional=("recipe",))
    assert config.adapter is not None
    assert (config.adapter.rank, config.adapter.alpha, config.adapter.dropout) == (16, 64, 0.1)
    assert config.adapter.dora is (config.adapter.quantize == "none")
    assert (config.adapter.quantize == "nf4") is name.endswith("qlora")
    assert (config.learning_rate, config.schedule) == (5e-5, "linear")
    assert len(config.datasets) == 20
    text = " ".join(path.read_text().replace("#", " ").split())
    for stated in ("VLM2Vec-V2", "2503.04812", "Not run by us", "No score is published"):
        assert stated in text
