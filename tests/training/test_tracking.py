"""Trackers write our metrics, on this machine."""

import importlib.util
import json
import os
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from llave.errors import UserError
from llave.training import tracking
from llave.training.config import TrainConfig
from llave.training.run import train
from tests.shapes import make_folder

OURS = {"loss", "grad_norm", "gap", "positive", "hard", "easy", "batch_accuracy", "pairs_per_second", "memory_gib"}


def run(tmp_path: Path, tracker: str) -> Path:
    return train(
        TrainConfig(
            data=make_folder(tmp_path / "data"),
            output=tmp_path / "run",
            batch_size=8,
            max_steps=2,
            log_steps=1,
            track=[tracker],  # type: ignore[list-item]
        )
    )


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables as they were, whatever the run sets."""
    for name in ("TENSORBOARD_LOGGING_DIR", "WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_SILENT", "TRACKIO_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("clean")
def test_tensorboard(tmp_path: Path) -> None:
    output = run(tmp_path, "tensorboard")
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    assert {f"train/{name}" for name in OURS} <= set(events.Tags()["scalars"])
    written = [event.value for event in events.Scalars("train/gap")]
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert written == pytest.approx([line["gap"] for line in lines if "gap" in line], rel=1e-6)
    assert all(line["memory_gib"] > 0.1 for line in lines if "loss" in line)


@pytest.mark.slow
@pytest.mark.usefixtures("clean")
def test_wandb_stays_here(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb")
    output = run(tmp_path, "wandb")
    assert os.environ["WANDB_MODE"] == "offline"
    wandb.finish()
    wandb.teardown()  # waits for its own process, which writes the file
    files = list((output / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 1
    content = files[0].read_bytes()
    for name in OURS:
        assert f"train/{name}".encode() in content, name


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("trackio") is None, reason="trackio is not installed")
@pytest.mark.usefixtures("clean")
def test_trackio(tmp_path: Path) -> None:
    """Not imported here: it reads its folder's name as it is imported, which the run must come before."""
    output = run(tmp_path, "trackio")
    content = b"".join(path.read_bytes() for path in (output / "trackio").rglob("*") if path.is_file())
    for name in OURS:
        assert f"train/{name}".encode() in content, name


def test_the_user_has_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_DIR", "elsewhere")
    for name in ("WANDB_PROJECT", "WANDB_SILENT"):
        monkeypatch.setenv(name, "")
    tracking.prepare_tracking(["wandb"], tmp_path)
    assert (os.environ["WANDB_MODE"], os.environ["WANDB_DIR"]) == ("online", "elsewhere")


def test_a_tracker_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="track: the package comet is not installed: pip install comet"):
        tracking.prepare_tracking(["comet"], tmp_path)
