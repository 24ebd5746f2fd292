"""Every recipe is read without a complaint, and the paper's are as published."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import transformers

from benchmarks.shaped_model import byte_tokenizer
from llave.ablation.grid import read_grid
from llave.cli.parsing import as_argv, parse
from llave.data.row_text import blank_picture
from llave.recipes import FOLDER
from llave.training.config import DataSetConfig, TrainConfig
from llave.training.tables import open_tables

PAIRS = 256
MMEB_TRAIN = {
    "A-OKVQA", "CIRR", "ChartQA", "DocVQA", "HatefulMemes", "ImageNet_1K", "InfographicsVQA", "MSCOCO", "MSCOCO_i2t",
    "MSCOCO_t2i", "N24News", "NIGHTS", "OK-VQA", "SUN397", "VOC2007", "VisDial", "Visual7W", "VisualNews_i2t",
    "VisualNews_t2i", "WebQA",
}  # fmt: skip
"""The 20 data sets in distribution, by their names for training."""
RECIPES = [
    path
    for path in sorted(FOLDER.glob("*.yaml"))
    if "\ntask: rerank" not in path.read_text()  # those are of tests/rerank
]
QUOTE = '"'


def recipe(path: Path, *words: str) -> TrainConfig:
    return parse(TrainConfig, [str(path), *words], command="train", description="", positional=("recipe",))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_is_read(path: Path) -> None:
    config = recipe(path)
    assert config.freeze[0] == "vision_tower"
    assert config.loss.alpha == 9.0


@pytest.mark.parametrize(("size", "rate", "devices"), [("0_5b", 1e-5, 8), ("2b", 1e-5, 8), ("7b", 5e-6, 16)])
def test_as_published(size: str, rate: float, devices: int) -> None:
    path = FOLDER / f"llave_{size}.yaml"
    config = recipe(path)
    assert (config.learning_rate, config.warmup, config.schedule, config.epochs) == (rate, 0.03, "cosine", 1)
    assert (config.loss.temperature, config.loss.alpha) == (0.02, 9.0)
    assert (config.batch_size, config.weight_decay, config.precision) == (PAIRS // devices, 0.0, "bf16")
    assert f"--nproc_per_node {devices} " in path.read_text()
    assert (config.freeze, config.adapter, config.max_steps) == (["vision_tower"], None, -1)
    assert set(config.datasets) == MMEB_TRAIN
    assert all(config.setting(name) == DataSetConfig(cap=50_000, split="original") for name in MMEB_TRAIN)
    assert config.processes == devices


def test_what_is_said_of_the_original() -> None:
    """The pairs of a softmax are known of the 2B alone: no other script is in the original's files."""
    texts = {path.stem: " ".join(path.read_text().replace("#", " ").split()) for path in RECIPES}
    assert {name for name, text in texts.items() if "32 in a softmax" in text} == {"llave_2b"}
    for word in ("Negatives:", "Grouping:", "Rows:", "Masking:", "White space:", "WebQA:", "tf32", "1,485 tokens"):
        assert word in texts["llave_2b"]
    for name in ("llave_0_5b", "llave_7b"):
        assert "they do not say" in texts[name]


def test_the_grey_picture_of_webqa_has_so_many_tokens(tmp_path: Path) -> None:
    """As llave_2b.yaml says: the whole picture, and a tile of it with a newline behind each row of patches."""
    pinpoints = [[384 * high, 384 * wide] for high in (1, 2) for wide in (1, 2)]
    processor: Any = transformers.LlavaOnevisionProcessor(
        image_processor=transformers.LlavaOnevisionImageProcessorPil(
            size={"height": 384, "width": 384}, image_grid_pinpoints=pinpoints
        ),
        video_processor=transformers.LlavaOnevisionVideoProcessor(),
        tokenizer=byte_tokenizer(tmp_path),
        num_image_tokens=(384 // 14) ** 2,
        vision_feature_select_strategy="full",
    )
    size = blank_picture().size
    assert processor._get_num_multimodal_tokens(image_sizes=[size]).num_image_tokens == [1_485]


def test_the_controls_of_alpha() -> None:
    """What makes InfoNCE LLaVE's loss at the recipe's temperature and alpha, and each half of it alone."""
    loss = recipe(FOLDER / "nano.yaml").loss
    margin = loss.alpha * loss.temperature / (1 + loss.alpha * loss.temperature)
    changes = {one.name: dict(one.changes) for one in read_grid(str(FOLDER / "ablations/controls.yaml")).variants}
    assert changes["both"] == changes["temperature alone"] | changes["margin alone"]
    assert changes["both"]["loss.temperature"] == pytest.approx(1 / (1 / loss.temperature + loss.alpha), rel=1e-8)
    assert changes["both"]["loss.positive_margin"] == pytest.approx(margin, rel=1e-8)


@pytest.mark.parametrize(
    "name",
    ["candidates", "candidates_taught", "confirmed", "controls", "finalists", "hardness", "hardness_rates", "losses"],
)
def test_every_variant_is_read(name: str) -> None:
    grid = read_grid(str(FOLDER / f"ablations/{name}.yaml"))
    assert len({repr(recipe(FOLDER / "nano.yaml", *as_argv(one.changes))) for one in grid.variants}) == len(
        grid.variants
    )


def test_the_ablations_of_table_3() -> None:
    """By their numbers in the paper: negatives in a softmax (here of 8 processes), rows, what is trained, the loss."""
    grid = read_grid(str(FOLDER / "ablations/table3.yaml"))
    found = {}
    for variant in grid.variants:
        words = [
            f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
            for key, value in variant.changes.items()
        ]
        config = parse(
            TrainConfig,
            [str(FOLDER / "llave_2b.yaml"), *words],
            command="train",
            description="",
            positional=("recipe",),
        )
        assert (config.batch_size * config.accumulate * 8, config.loss.mini_batch_size) == (256, None)
        assert (config.batches, config.sub_batch, config.epochs) == ("mixed", 1, 1)
        negatives = config.batch_size * (8 if config.loss.gather else 1) - 1
        found[int(variant.name.split()[0])] = (
            negatives,
            config.cap,
            config.freeze,
            config.loss.name,
            config.loss.alpha,
        )
    tower, both = ["vision_tower"], ["vision_tower", "projector"]
    assert found == {
        1: (3, 50_000, [], "hardness", 0.0),
        2: (3, 50_000, tower, "hardness", 0.0),
        3: (3, 50_000, both, "hardness", 0.0),
        4: (3, 20_000, tower, "hardness", 0.0),
        5: (3, 100_000, tower, "hardness", 0.0),
        6: (31, 50_000, tower, "hardness", 0.0),
        7: (31, 50_000, tower, "focal", 0.0),
        8: (31, 50_000, tower, "hardness", 9.0),
    }


@pytest.mark.parametrize("name", ["llave_0_5b_lora", "llave_2b_lora", "llave_7b_qlora"])
def test_adapters_as_published(name: str) -> None:
    """VLM2Vec-V2's; the text says where they come from, and that nobody ran them."""
    path = FOLDER / f"{name}.yaml"
    config = recipe(path)
    assert config.adapter is not None
    assert (config.adapter.rank, config.adapter.alpha, config.adapter.dropout) == (16, 64, 0.1)
    assert config.adapter.dora is (config.adapter.quantize == "none")
    assert (config.adapter.quantize == "nf4") is name.endswith("qlora")
    assert (config.learning_rate, config.schedule) == (5e-5, "linear")
    assert len(config.datasets) == 20
    text = " ".join(path.read_text().replace("#", " ").split())
    for stated in ("VLM2Vec-V2", "2503.04812", "Not run by us", "No score is published"):
        assert stated in text


def test_a_recipe_takes_the_paraphrases(tmp_path: Path) -> None:
    """Of a copy of MMEB-train: for all data sets, and back for one of them; with the recipe's cap or an own one."""
    for name in ("A", "B"):
        (tmp_path / name).mkdir()
        for split, word in (("original", "Find"), ("diverse_instruction", "Show me")):
            rows = [
                {"qry": f"{word} {row}", "qry_image_path": "", "pos_text": f"{row}", "pos_image_path": ""}
                for row in range(3)
            ]
            pq.write_table(pa.Table.from_pylist(rows), tmp_path / name / f"{split}-00000-of-00001.parquet")

    def queries(*words: str) -> dict[str, list[str]]:
        path = tmp_path / "recipe.yaml"
        path.write_text(f"data: {tmp_path}\noutput: {tmp_path / 'run'}\n")
        config = recipe(path, *words)
        tables = open_tables(config.data, config.datasets, config.setting, config.split)
        return {name: [row.query.text for row in table.usable(cap=own.cap)[0]] for name, (own, table) in tables.items()}

    every = ["Show me 0", "Show me 1", "Show me 2"]
    assert queries("--split=diverse_instruction") == {"A": every, "B": every}
    found = queries("--split=diverse_instruction", "--cap=2", "--datasets={A: {split: original, cap: 3}, B: {}}")
    assert found["A"] == ["Find 0", "Find 1", "Find 2"]
    assert len(found["B"]) == 2
    assert set(found["B"]) < set(every)
