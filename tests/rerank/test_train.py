"""Training leaves a plain CrossEncoder; adapters are merged; a finished run stays as it is."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder

from llave import Item
from llave.cli.main import main
from llave.errors import UserError
from llave.rerank.config import NegativesConfig, RankLossConfig, RerankConfig
from llave.rerank.reranker import Reranker
from llave.rerank.train import train_reranker
from llave.training.config import AdapterConfig
from tests.rerank.folder import COLOURS, write_folder
from tests.rerank.tiny_rerankers import qwen3_vl_reranker

FROZEN = ["vision_tower", "projector", "language_model"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("colours") / "data")


@pytest.fixture(scope="module")
def nano(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("nano") / "reranker"
    options = {"data": data, "output": output, "batch_size": 4, "epochs": 2.0, "freeze": FROZEN, "log_steps": 1}
    return train_reranker(RerankConfig(**options))


def test_a_nano_reranker_opens_plainly(nano: Path, data: Path) -> None:
    red = Image.open(data / "images/red.png").convert("RGB")
    pairs = [("Find: red", red), ("Find: blue", red), ("red", {"image": red, "text": "What is it?"}), ("a", "b")]
    plain = CrossEncoder(str(nano), device="cpu").predict(pairs).tolist()
    reranker = Reranker.open(nano, device="cpu")
    assert reranker.score_inputs(pairs) == pytest.approx(plain, abs=1e-6)
    alone = [reranker.score_inputs([pair])[0] for pair in pairs]
    assert alone == pytest.approx(plain, abs=1e-6)
    assert plain[0] > plain[1]
    assert reranker.modalities[:2] == ("text", "image")
    record = json.loads((nano / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["lists"] == len(COLOURS)
    assert "CrossEncoder" in (nano / "README.md").read_text()


def test_colours_are_told_apart(nano: Path, data: Path) -> None:
    """The projector is solved from these very pictures, so that each is nearest to its own name."""
    reranker = Reranker.open(nano, device="cpu")
    documents = [Item(image=data / f"images/{name}.png") for name in COLOURS]
    for place, name in enumerate(COLOURS):
        scores = reranker(Item(f"Find: {name}"), documents)
        assert max(range(len(scores)), key=lambda number: scores[number]) == place


def test_a_finished_run_stays_and_another_recipe_is_refused(nano: Path, data: Path) -> None:
    before = (nano / "model.safetensors").stat().st_mtime_ns
    options = {"data": data, "output": nano, "batch_size": 4, "epochs": 2.0, "freeze": FROZEN}
    assert train_reranker(RerankConfig(**options)) == nano
    assert (nano / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="another learning_rate"):
        train_reranker(RerankConfig(**options, learning_rate=1e-5))


@pytest.mark.parametrize("loss", ["listwise", "pointwise", "lambda"])
def test_adapters_on_a_judge(data: Path, tmp_path: Path, loss: str) -> None:
    """Of Qwen3-VL-Reranker's shape: the merged directory scores what the model in training would."""
    base = qwen3_vl_reranker(tmp_path / "base")
    output = train_reranker(
        RerankConfig(
            data=data,
            output=tmp_path / "reranker",
            model=str(base),
            loss=RankLossConfig(name=loss),
            negatives=NegativesConfig(own=1, random=1),
            adapter=AdapterConfig(rank=2, alpha=64.0),
            learning_rate=0.05,
            batch_size=4,
            max_steps=2,
        )
    )
    red = Image.open(data / "images/red.png").convert("RGB")
    pairs = [("Find: red", red), ("Find: blue", red), ("a", "b")]
    trained = CrossEncoder(str(output), device="cpu").predict(pairs)
    untrained = Reranker.open(base, device="cpu").score_inputs(pairs)
    assert torch.isfinite(torch.tensor(trained)).all()
    assert trained.tolist() != pytest.approx(untrained, abs=1e-4)
    assert not any("lora" in name for name in CrossEncoder(str(output), device="cpu").state_dict())


def test_the_command_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = qwen3_vl_reranker(tmp_path / "base")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"task: rerank\nmodel: {base}\nmax_steps: 1\nbatch_size: 2\nnegatives: {{own: 1, random: 0}}\n")
    output = tmp_path / "out"
    assert main(["train", str(recipe), "--data", str(data), "--output", str(output)]) == 0
    assert capsys.readouterr().out.strip().endswith(str(output))
    assert main(["train", str(recipe), "--task", "nothing"]) == 2
    assert main(["train", str(recipe), "--task", "rerank", "--alpha", "9"]) == 2


@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_a_judge_with_adapters_keeps_them_apart_too(data: Path, tmp_path: Path, quantize: str) -> None:
    """The merged model is the one that was trained: in 4 bits, on the rounded weights."""
    if quantize == "nf4":
        pytest.importorskip("bitsandbytes")
    config = RerankConfig(
        data=data,
        output=tmp_path / "reranker",
        model=str(qwen3_vl_reranker(tmp_path / "base")),
        negatives=NegativesConfig(own=1, random=1),
        adapter=AdapterConfig(rank=2, quantize=quantize),  # type: ignore[arg-type]
        batch_size=4,
        max_steps=1,
    )
    output = train_reranker(config)
    assert (output / "adapter/adapter_config.json").is_file()
    assert CrossEncoder(str(output), device="cpu").predict([("a", "b")]).shape == (1,)


@pytest.mark.parametrize("adapter", [None, AdapterConfig(rank=2)])
def test_a_run_goes_on_from_a_checkpoint(data: Path, tmp_path: Path, adapter: AdapterConfig | None) -> None:
    """To the same weights as one that was not interrupted."""
    whole = RerankConfig(
        data=data,
        output=tmp_path / "whole",
        model="nano" if adapter is None else str(qwen3_vl_reranker(tmp_path / "base")),
        negatives=NegativesConfig(own=1, random=1),
        adapter=adapter,
        freeze=FROZEN if adapter is None else ["vision_tower"],
        batch_size=2,
        max_steps=5,
        save_steps=2,
        keep_checkpoints=3,
    )
    train_reranker(whole)
    cut = tmp_path / "cut"
    shutil.copytree(whole.output, cut)
    for done in (*cut.glob("*.safetensors"), *cut.glob("checkpoints/checkpoint-[45]")):
        shutil.rmtree(done) if done.is_dir() else done.unlink()
    record = json.loads((cut / "run.json").read_text())
    (cut / "run.json").write_text(json.dumps({**record, "status": "running"}))
    train_reranker(dataclasses.replace(whole, output=cut))
    steps = [json.loads(line).get("step") for line in (cut / "metrics.jsonl").read_text().splitlines()]
    assert json.loads((cut / "run.json").read_text())["status"] == "finished"
    assert steps
    first, second = (load_file(folder / "model.safetensors") for folder in (whole.output, cut))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0)
