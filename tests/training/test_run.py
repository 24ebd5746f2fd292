"""Training runs: recipe to model, resume after a kill, bad rows, options that change what is learned."""

import importlib.metadata
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from llave.errors import UserError
from llave.training.config import DataSetConfig, LossConfig, TrainConfig
from llave.training.run import train
from tests.shapes import make_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"))


def config(data: Path, output: Path, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "batch_size": 8,
        "max_steps": 6,
        "log_steps": 2,
        "projector_learning_rate": 1e-3,
        **changes,
    }
    return TrainConfig(data=data, output=output, **settings)


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "model.safetensors")


def test_a_run_leaves_a_model_and_its_record(data: Path, tmp_path: Path) -> None:
    output = train(config(data, tmp_path / "run", track=["tensorboard"]))
    model = SentenceTransformer(str(output), device="cpu")
    assert model.encode(["red circle"]).shape == (1, 384)
    record = json.loads((output / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["steps"] == 6
    assert record["config"]["seed"] == 0
    assert record["config"]["loss"]["alpha"] == 9.0
    assert record["versions"]["torch"] == importlib.metadata.version("torch")
    metrics = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [m["step"] for m in metrics if "loss" in m] == [2, 4, 6]
    assert all(m["pairs_per_second"] > 0 for m in metrics)
    assert list(output.rglob("events.out.tfevents*"))
    untrained = load_file_of_nano()
    trained = weights(output)
    assert torch.equal(trained["vision_tower.stem.weight"], untrained["vision_tower.stem.weight"])
    assert not torch.equal(trained["projector.0.weight"], untrained["projector.0.weight"])
    before = (output / "model.safetensors").stat().st_mtime_ns
    assert train(config(data, tmp_path / "run", track=["tensorboard"])) == output  # finished: nothing is done again
    assert (output / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="holds a run with another seed"):
        train(config(data, tmp_path / "run", seed=5))
    pairs = record["config"]["batch_size"]
    assert record["processes"] == 1
    assert (
        train(config(data, tmp_path / "run", batch_size=5, global_batch_size=pairs)) == output
    )  # each takes its share
    with pytest.raises(UserError, match=f"run of {pairs} pairs a step, .* say --global_batch_size {pairs}"):
        train(config(data, tmp_path / "run", batch_size=5))


def load_file_of_nano() -> dict[str, torch.Tensor]:
    from llave import load_model

    return load_model("nano", device="cpu")[0].model.state_dict()


EVALUATED = ["--evaluate.benchmark", "DATA", "--evaluate.every_steps", "3", "--evaluate.limit", "8"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "step"),
    [
        # 4 batches an epoch: step 6 is inside the second epoch, step 8 at its end.
        (["--workers", "2", "--batches", "mixed", "--sub_batch", "4", "--ema.decay", "0.9", "--ema.every", "3"], 6),
        (["--adapter.rank", "4", "--adapter.dropout", "0.1"], 8),
        (["--loss.reward", "ema", "--loss.learn_temperature", "per_dataset", *EVALUATED], 6),
    ],
    ids=["mixed and workers", "lora", "ema and evaluate"],
)
def test_killed_and_resumed_equals_uninterrupted(data: Path, tmp_path: Path, options: list[str], step: int) -> None:
    options = [str(data) if word == "DATA" else word for word in options]
    arguments = [
        "--data", str(data), "--batch_size", "8", "--max_steps", "14", "--save_steps", "2", "--log_steps", "1",
        "--seed", "3", *options,
    ]  # fmt: skip
    command = [sys.executable, "-m", "llave.cli.main", "train", *arguments, "--output"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = tmp_path / "whole"
    subprocess.run([*command, str(whole)], check=True, env=environment, capture_output=True)
    killed = tmp_path / "killed"
    process = subprocess.Popen([*command, str(killed)], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (killed / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json").exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "model.safetensors").exists()
    resumed = subprocess.run([*command, str(killed)], check=True, env=environment, capture_output=True, text=True)
    assert "going on from" in resumed.stderr
    expected, got = weights(whole), weights(killed)
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        assert torch.equal(value, got[name]), name
    records = [json.loads((output / "run.json").read_text()) for output in (whole, killed)]
    assert records[0].get("best") == records[1].get("best")
    assert records[0]["temperatures"] == records[1]["temperatures"]
    assert ("best" in records[0]) is ("--evaluate.benchmark" in options)


def test_a_checkpoint_cut_short_is_not_used(data: Path, tmp_path: Path) -> None:
    from llave.training.record import newest_checkpoint

    for step, state in ((2, "{}"), (4, "{"), (6, None)):
        path = tmp_path / f"checkpoint-{step}"
        path.mkdir()
        if state is not None:
            (path / "trainer_state.json").write_text(state)
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
    assert not (tmp_path / "checkpoint-6").exists()


def test_bad_rows_are_left_out_and_listed(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    (data / "images" / "red_circle.png").write_bytes((data / "images" / "red_circle.png").read_bytes()[:70])
    (data / "images" / "blue_bar.png").unlink()
    rows = json.loads((data / "train" / "naming.json").read_text())
    rows[3]["pos_text"] = "  "
    (data / "train" / "naming.json").write_text(json.dumps(rows))
    output = train(config(data, tmp_path / "run", batch_size=4, max_steps=2))
    record = json.loads((output / "run.json").read_text())
    reasons = {(Path(s["file"]).name, s["row"]): s["reason"] for s in record["skipped"]}
    assert "cannot decode" in reasons["naming.json", 0]
    assert "neither a text nor a picture" in reasons["naming.json", 3]
    assert sum("no such picture" in reason for reason in reasons.values()) >= 2
    assert record["rows"]["naming"] == 13


def test_training_on_a_csv_file_with_its_own_columns(tmp_path: Path) -> None:
    """And on a JSON file of the folder beside it, in mixed batches."""
    data = make_folder(tmp_path / "data")
    (data / "images").rename(data / "photos")
    rows = json.loads((data / "train" / "naming.json").read_text())
    lines = ["question;file;answer".replace(";", ",")] + [
        f"What is it?,{r['qry_image_path']},{r['pos_text']}" for r in rows
    ]
    (data / "my.csv").write_text("\n".join(lines) + "\n")
    columns = {"qry": "question", "qry_image_path": "file", "pos_text": "answer"}
    datasets = {
        "mine": DataSetConfig(file="my.csv", images="photos", columns=columns),
        "t2i": DataSetConfig(images="photos", hard_negatives=True),
    }
    output = train(config(data, tmp_path / "run", datasets=datasets, max_steps=2, batches="mixed", sub_batch=4))
    record = json.loads((output / "run.json").read_text())
    assert record["rows"] == {"mine": 16, "t2i": 16}
    assert record["config"]["datasets"]["mine"]["columns"] == columns
    with pytest.raises(UserError, match="naming: hard_negatives, but no row has"):
        train(
            config(
                data,
                tmp_path / "no",
                datasets={"naming": DataSetConfig(images="photos", hard_negatives=True)},
                verify_pictures=False,
            )
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": -1}, "workers must be at least 0"),
        ({"workers": 2, "feature_cache": Path("x")}, "leave workers at 0"),
        ({"sub_batch": 4}, "sub_batch is for batches: mixed"),
        ({"loss": LossConfig(weighting="hard_negatives")}, "no data set has hard_negatives"),
        ({"loss": LossConfig(learn_temperature="one", temperature=0.001)}, "must be from 0.01 to 1.0 to be learned"),
        ({"loss": LossConfig(learn_temperature="per_dataset"), "batches": "mixed"}, "needs batches: one_task"),
        ({"loss": LossConfig(learn_temperature="one"), "sharding": "fsdp"}, "not with sharding or deepspeed"),
        ({"loss": LossConfig(positive_margin=1.0)}, "loss.positive_margin must be at least 0 and below 1"),
        ({"loss": LossConfig(weighting="in_batch", name="focal")}, "loss.weighting is for name: hardness"),
        ({"sub_batch": 3, "batches": "mixed"}, "sub_batch must divide batch_size 8, got 3"),
    ],
)
def test_options_that_do_not_go_together(data: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config(data, tmp_path / "run", **changes)


def test_a_missing_column_stops_before_training(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    rows = json.loads((data / "train" / "t2i.json").read_text())
    for row in rows:
        del row["pos_image_path"]
    (data / "train" / "t2i.json").write_text(json.dumps(rows))
    with pytest.raises(UserError, match=r"t2i\.json row 0: missing column pos_image_path"):
        train(config(data, tmp_path / "run"))


def test_data_sets_prompts_and_hard_negatives(data: Path, tmp_path: Path) -> None:
    """What a recipe says reaches the batch: the chosen data set, its prompts, its negatives, its ids."""
    from llave import load_model
    from llave.data.corpus import Corpus
    from llave.data.sources import find_source
    from llave.data.train_table import open_table
    from llave.training.rows import Collator, Use

    table = open_table(find_source(data, "t2i"))
    rows, skipped = table.usable(cap=10, seed=1)
    assert len(rows) == 10
    assert not skipped
    assert list(rows) == list(table.usable(cap=10, seed=1)[0])
    assert list(rows) != list(table.usable(cap=10, seed=2)[0])
    model = load_model("nano", device="cpu")
    uses = {"t2i": Use("Query. ", "Target. ", hard_negatives=True)}
    batch = Collator(model.preprocess, Corpus({"t2i": rows}), uses=uses)([{"row": i} for i in range(4)])
    assert batch["label"].shape == (4, 3)
    assert batch["label"].unique().numel() >= 8
    assert model.tokenizer.decode(batch["query_input_ids"][0]).startswith("[CLS] query. find :")
    assert model.tokenizer.decode(batch["positive_input_ids"][0]).startswith("[CLS] target.")
    assert "represent the given image." in model.tokenizer.decode(batch["positive_input_ids"][0])
    assert batch["negative_pixel_values"].shape[0] == 4
    with pytest.raises(UserError, match="no data set cats in"):
        train(config(data, tmp_path / "x", datasets={"cats": DataSetConfig()}))
    output = train(
        config(
            data,
            tmp_path / "run",
            max_steps=2,
            datasets={"t2i": DataSetConfig(weight=2.0, hard_negatives=True)},
            loss=LossConfig(mini_batch_size=4, temperature=0.05),
        )
    )
    assert json.loads((output / "run.json").read_text())["rows"] == {"t2i": 16}


@pytest.mark.parametrize("schedule", ["rising", "falling"])
def test_alpha_follows_its_schedule(data: Path, tmp_path: Path, schedule: Any) -> None:
    from llave.training.prepare import prepare

    loss = LossConfig(alpha=8.0, alpha_schedule=schedule)
    trainer = prepare(config(data, tmp_path / "run", loss=loss, max_steps=5), Console(quiet=True), "test").trainer
    seen = []
    calculate = trainer.hardness_loss.calculate_loss

    def record(*arguments: Any, **options: Any) -> torch.Tensor:
        seen.append(trainer.hardness_loss.alpha)
        return calculate(*arguments, **options)

    trainer.hardness_loss.calculate_loss = record  # type: ignore[method-assign]
    trainer.train()
    assert seen == ([0, 2, 4, 6, 8] if schedule == "rising" else [8, 6, 4, 2, 0])


@pytest.mark.parametrize(
    "loss", [{"reward": "normalized"}, {"reward": "masked"}, {"reward": "text"}, {"name": "focal"}]
)
def test_other_losses_and_accumulation(data: Path, tmp_path: Path, loss: dict[str, Any]) -> None:
    settings = LossConfig(temperature=0.05, mini_batch_size=4, **loss)
    output = train(config(data, tmp_path / "run", loss=settings, batch_size=4, accumulate=2, max_steps=3, log_steps=1))
    metrics = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    losses = [m["loss"] for m in metrics if "loss" in m]
    assert len(losses) == 3  # 8 batches an epoch, two a step
    assert all(0 < value < 100 for value in losses)


def test_sixteen_bit_arithmetic(data: Path, tmp_path: Path) -> None:
    output = train(config(data, tmp_path / "run", precision="bf16", max_steps=2))
    metrics = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < m["loss"] < 100 for m in metrics if "loss" in m)
    assert weights(output)["projector.0.weight"].dtype == torch.float32


@pytest.mark.parametrize("quick", [True, False])
def test_the_machine_s_own_arithmetic(data: Path, tmp_path: Path, quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settled when the run begins, and kept: a machine with another does not go on with it unasked."""
    monkeypatch.setattr("llave.training.precision.multiplies_bfloat16", lambda: quick)
    output = train(config(data, tmp_path / "run", precision="auto", max_steps=1))
    record = json.loads((output / "run.json").read_text())
    assert record["config"]["precision"] == ("bf16" if quick else "fp32")
    monkeypatch.setattr("llave.training.precision.multiplies_bfloat16", lambda: not quick)
    with pytest.raises(UserError, match="holds a run with another precision"):
        train(config(data, tmp_path / "run", precision="auto", max_steps=1))


def test_matryoshka_prefixes(data: Path, tmp_path: Path) -> None:
    loss = LossConfig(temperature=0.05, matryoshka_dims=[64, 384], matryoshka_weights=[0.5, 1.0], impl="tiled")
    output = train(config(data, tmp_path / "run", loss=loss, max_steps=2))
    metrics = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < m["loss"] < 100 for m in metrics if "loss" in m)
    with pytest.raises(UserError, match="loss: matryoshka_dims must be different numbers from 1 to 384"):
        train(config(data, tmp_path / "wide", loss=LossConfig(matryoshka_dims=[64, 512])))
    with pytest.raises(UserError, match=r"loss.impl triton needs a GPU"):
        train(config(data, tmp_path / "cpu", loss=LossConfig(impl="triton")))


def test_similarities_are_logged_and_a_stall_is_named(data: Path, tmp_path: Path) -> None:
    from llave.training.callbacks import Warnings

    output = train(config(data, tmp_path / "run", max_steps=3, log_steps=1))
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    losses = [record for record in records if "loss" in record]
    assert losses
    for record in losses:
        assert -1 <= record["easy"] <= record["hard"] <= 1
        assert record["gap"] == pytest.approx(record["positive"] - record["hard"])
        assert 0 <= record["batch_accuracy"] <= 1
        assert record["grad_norm"] > 0
    text = io.StringIO()
    warnings = Warnings(Console(file=text, width=300), "run")
    stalled: Any = {"gap": 0.5, "batch_accuracy": 1.0, "positive": 0.9, "hard": 0.4, "easy": 0.1}
    for _ in range(25):
        warnings.on_log(None, None, None, stalled)  # type: ignore[arg-type]
    assert text.getvalue().count("a larger batch or hard negatives") == 1
    for _ in range(25):
        warnings.on_log(None, None, None, {**stalled, "batch_accuracy": 0.5, "easy": 0.9})  # type: ignore[arg-type]
    assert text.getvalue().count("lower the learning rate") == 1


def test_a_dry_run_estimates_and_writes_nothing(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from llave.training.dry_run import dry_run

    estimate = dry_run(config(data, tmp_path / "run", epochs=3, max_steps=-1, batch_size=4))
    assert (estimate.pairs, estimate.steps) == (32, 24)
    assert estimate.seconds == pytest.approx(24 * estimate.seconds_per_step)
    assert 0 < estimate.trained < estimate.parameters
    assert estimate.peak_bytes > 100 << 20
    assert not (tmp_path / "run").exists()
    out, err = capsys.readouterr()
    assert not out
    assert "32 pairs an epoch, 24 steps" in err.replace("\n", " ")


def test_a_dry_run_of_a_recipe_for_many_processes_on_one(data: Path, tmp_path: Path) -> None:
    from llave.training.dry_run import dry_run

    text = io.StringIO()
    settings = config(data, tmp_path / "run", epochs=8, max_steps=-1, batch_size=2, sharding="fsdp", processes=8)
    estimate = dry_run(settings, console=Console(file=text, width=300))
    assert (estimate.processes, estimate.steps) == (8, 16)  # 32 pairs an epoch, 16 a step
    said = text.getvalue()
    assert "16 steps of 2 per device, 8 devices" in said
    assert "simulated: one of 8 processes, with its own 2 pairs of 16" in said
    assert "without sharding: weights, gradients and optimiser state are here whole" in said
    assert 0 < estimate.state_bytes < estimate.peak_bytes
    with pytest.raises(UserError, match="sharding needs several processes"):
        train(settings, console=Console(file=text, width=300))
    told = text.getvalue().removeprefix(said)
    assert "made for 8 processes, and this is a run of 1: 2 pairs see one another instead of 16" in told


def test_gradient_checkpointing_where_there_is_none(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gradient_checkpointing: NanoModel"):
        train(config(data, tmp_path / "run", gradient_checkpointing=True))


def test_parts_and_words_to_freeze(data: Path, tmp_path: Path) -> None:
    from llave.models.families import UNKNOWN

    names = [
        "0.model.visual.blocks.0.weight",
        "0.model.visual.merger.norm.weight",
        "0.model.language_model.norm.weight",
    ]
    names += ["0.model.image_newline", "0.model.vision_model.encoder.weight", "0.model.connector.proj.weight"]
    assert UNKNOWN.matching("vision_tower", names) == [names[0], names[4]]
    assert UNKNOWN.matching("projector", names) == [names[1], names[3], names[5]]
    assert UNKNOWN.matching("norm", names) == names[1:3]
    with pytest.raises(UserError, match=r"no parameter is part of 'visoin'; the model has .*vision_tower"):
        train(config(data, tmp_path / "run", freeze=["visoin"]))


@pytest.mark.slow
def test_training_separates_the_shapes(data: Path, tmp_path: Path) -> None:
    """A few epochs on 16 coloured shapes: most are told apart, which the untrained model does not do."""
    from llave import load_model
    from llave.evaluation.benchmarks import get_benchmark
    from llave.evaluation.runner import evaluate

    benchmark = get_benchmark(str(data))
    before = evaluate(load_model("nano", device="cpu"), benchmark, progress=False).overall
    output = train(config(data, tmp_path / "run", max_steps=40, batch_size=16, loss=LossConfig(temperature=0.05)))
    after = evaluate(load_model(output, device="cpu"), benchmark, progress=False).overall
    assert before < 0.3
    assert after > 0.6


@pytest.mark.parametrize("text", ["{", "[]", '{"config": 3, "status": "finished"}', '{"config": {}}'])
def test_a_record_that_is_damaged_is_one_line(data: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json: damaged"):
        train(config(data, tmp_path / "run"))
