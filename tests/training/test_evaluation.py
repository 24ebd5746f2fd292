"""Evaluation during a run: it changes nothing, and the best model is the final one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from llave import load_model
from llave.cli.parsing import parse
from llave.errors import UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.runner import evaluate
from llave.training.config import EvaluateConfig, LossConfig, TrainConfig
from llave.training.run import train
from tests.shapes import make_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"))


def config(data: Path, output: Path, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {"batch_size": 16, "max_steps": 6, "log_steps": 2, "learning_rate": 1e-4, **changes}
    return TrainConfig(data=data, output=output, loss=LossConfig(temperature=0.05), **settings)


def records(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_it_changes_nothing_and_the_best_is_final(data: Path, tmp_path: Path) -> None:
    plain = train(config(data, tmp_path / "plain"))
    watched = train(
        config(data, tmp_path / "watched", evaluate=EvaluateConfig(benchmark=str(data), every_steps=2, keep_best=False))
    )
    expected, got = load_file(plain / "model.safetensors"), load_file(watched / "model.safetensors")
    assert all(torch.equal(value, got[key]) for key, value in expected.items())
    assert not (watched / "best").exists()
    assert [r["step"] for r in records(watched) if "loss" in r] == [2, 4, 6]
    scores = {r["step"]: r["eval_overall"] for r in records(watched) if "eval_overall" in r}
    assert sorted(scores) == [2, 4, 6]

    kept = train(config(data, tmp_path / "kept", evaluate=EvaluateConfig(benchmark=str(data), every_steps=2)))
    best = json.loads((kept / "run.json").read_text())["best"]
    assert best["score"] == max(scores.values())
    assert best["step"] == min(step for step, score in scores.items() if score == best["score"])
    assert evaluate(load_model(kept, device="cpu"), get_benchmark(data), progress=False).overall == best["score"]
    assert load_file(kept / "model.safetensors").keys() == expected.keys()

    card = ModelCard.load(kept / "README.md")
    assert card.data.library_name == "sentence-transformers"
    assert "llave" in card.data.tags
    assert f"{100 * best['score']:.1f} | | 32 |" in card.text
    assert "| t2i | 16 |" in card.text
    recipe = tmp_path / "again.yaml"
    recipe.write_text(card.text.split("```yaml\n")[1].split("```")[0])
    assert yaml.safe_load(recipe.read_text())["evaluate"]["every_steps"] == 2
    again = parse(TrainConfig, [str(recipe), "--output", "x"], command="train", description="", positional=("recipe",))
    assert (again.loss, again.max_steps, again.evaluate) == (LossConfig(temperature=0.05), 6, again.evaluate)
    assert "Not evaluated in this run" in (plain / "README.md").read_text()


def test_a_worse_model_does_not_replace_the_best(data: Path, tmp_path: Path) -> None:
    """Also after a kill: what is on disk decides."""
    output = tmp_path / "run"
    evaluation = EvaluateConfig(benchmark=str(data), limit=4, metric="naming")
    first = train(config(data, output, max_steps=2, evaluate=evaluation))
    run = json.loads((first / "run.json").read_text())
    run["status"] = "running"
    (output / "run.json").write_text(json.dumps(run))
    score = json.loads((output / "best" / "evaluation.json").read_text())
    score["score"], score["step"] = 2.0, 1  # better than any
    (output / "best" / "evaluation.json").write_text(json.dumps(score))
    weights = load_file(output / "best" / "model.safetensors")
    train(config(data, output, max_steps=2, evaluate=evaluation))
    assert json.loads((output / "run.json").read_text())["best"] == {"step": 1, "metric": "naming", "score": 2.0}
    final = load_file(output / "model.safetensors")
    assert all(torch.equal(value, final[key]) for key, value in weights.items())


def test_what_is_not_there(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"evaluate.metric: 'speed' is not one of overall, other, naming, t2i"):
        train(config(data, tmp_path / "run", evaluate=EvaluateConfig(benchmark=str(data), metric="speed")))
    with pytest.raises(UserError, match=r"no benchmark \(mmeb"):
        train(config(data, tmp_path / "run", evaluate=EvaluateConfig(benchmark=str(tmp_path / "none"))))
    assert not (tmp_path / "run").exists()
