"""What a run keeps about itself: ``run.json``, and which run a directory holds."""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base import BaseModel

from llave._version import __version__
from llave.data.train_table import Skipped, TrainTable
from llave.errors import UserError
from llave.files import holds_nothing
from llave.training.config import TrainConfig

__all__ = [
    "NOT_LEARNED",
    "RUN_FILE",
    "check_content",
    "newest_checkpoint",
    "previous_run",
    "resolved",
    "resolved_recipe",
    "run_record",
    "training_seconds",
]

RUN_FILE = "run.json"
# Where a run may go on although these differ: they do not change what is learned, or only by the rows that are left
# (cap, split), which are compared (check_content); of the batch sizes, the pairs of a step are.
NOT_LEARNED = {
    "resume", "feature_cache", "track", "log_steps", "keep_checkpoints", "save_steps", "output", "dry_run",
    "gradient_checkpointing", "workers", "processes", "cap", "split", "loss.lazy_media", "loss.vision_reuse_gib",
    "batch_size", "global_batch_size",
}  # fmt: skip


def previous_run(
    output: Path, current: dict[str, Any], defaults: dict[str, Any], *, processes: int = 1
) -> dict[str, Any] | None:
    """The record of a run in the output directory, if it is a run of this configuration.

    Args:
        current: the configuration, see :func:`resolved`.
        defaults: of what an older run did not know.
        processes: of this run. Another number may go on, if all together take as many pairs a step.

    Raises:
        UserError: something else is there.
    """
    path = output / RUN_FILE
    if not path.is_file():
        if not holds_nothing(output):
            raise UserError(f"{output}: not empty and not a training run; choose another --output")
        return None
    current = _flat(current)
    try:
        previous: dict[str, Any] = json.loads(path.read_text("utf-8"))
        before = _flat(defaults) | _flat(previous["config"])
        str(previous["status"])
        pairs = before["batch_size"] * int(previous.get("processes", processes))
    except Exception as error:  # whatever stands in it
        raise UserError(
            f"{path}: damaged ({error!r:.100}); choose another --output, or --resume never to replace it"
        ) from None
    if pairs != current["batch_size"] * processes:
        raise UserError(
            f"{output}: holds a run of {pairs} pairs a step, and {processes} processes of batch_size "
            f"{current['batch_size']} take {current['batch_size'] * processes}; say --global_batch_size {pairs}, or "
            "choose another --output, or --resume never to replace it"
        )
    different = sorted(key for key in current if key not in NOT_LEARNED and before[key] != current[key])
    if different:
        raise UserError(
            f"{output}: holds a run with another {', '.join(different)}; "
            "choose another --output, or --resume never to replace it"
        )
    return previous


def check_content(previous: dict[str, Any], record: dict[str, Any], output: Path) -> None:
    """Refuse to go on with other rows than those that a run began with.

    Raises:
        UserError: they have changed.
    """
    then, now = previous.get("content", record["content"]), record["content"]
    changed = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
    if changed:
        counts = ", ".join(
            f"{name} ({previous['rows'].get(name, 0)} rows then, {record['rows'].get(name, 0)} now)" for name in changed
        )
        raise UserError(
            f"{output}: the data has changed since this run began: {counts}; "
            "choose another --output, or --resume never to replace it"
        )


def newest_checkpoint(directory: Path) -> Path | None:
    """The newest checkpoint that was written to its end; the trainer's state comes last."""
    found = [path for path in directory.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    for path in sorted(found, key=lambda p: int(p.name.removeprefix("checkpoint-")), reverse=True):
        state = path / "trainer_state.json"
        try:
            json.loads(state.read_text("utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(path)  # a kill while it was written; it would only be in the way
        else:
            return path
    return None


def resolved(config: Any, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A recipe as JSON has it.

    Args:
        settings: of its data sets, with what they take over from the recipe; None leaves them as they are.
    """
    whole = config if settings is None else dataclasses.replace(config, datasets=dict(settings))
    found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(whole), default=str))
    return found


def resolved_recipe(config: TrainConfig) -> dict[str, Any]:
    """The same of an embedding model's."""
    return resolved(config, {name: config.setting(name) for name in config.datasets})


def _flat(resolved: dict[str, Any]) -> dict[str, Any]:
    """A configuration whose ``loss`` is key by key: an older run did not know all of them either."""
    return {**resolved, **{f"loss.{key}": value for key, value in resolved["loss"].items()}, "loss": None}


def run_record(
    config: TrainConfig,
    tables: dict[str, TrainTable],
    skipped: list[Skipped],
    model: BaseModel,
    held_out: dict[str, int],
) -> dict[str, Any]:
    """What run.json says from the first step on. ``held_out``: rows of each data set that are not trained on."""
    packages = ["torch", "transformers", "sentence-transformers", "accelerate", "numpy"]
    if config.adapter is not None:
        packages += ["peft"] + (["bitsandbytes"] if config.adapter.quantize != "none" else [])
    return {
        "config": resolved_recipe(config),
        "rows": {name: len(table) for name, table in tables.items()},
        "held_out": held_out,
        "content": {
            name: hashlib.blake2b(table.ids().tobytes(), digest_size=16).hexdigest() for name, table in tables.items()
        },
        "prompts": {"default": model.default_prompt_name, **model.prompts},
        "skipped": [dataclasses.asdict(row) for row in skipped],
        "versions": {
            "llave": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "machine": {
            "platform": platform.platform(),
            "threads": torch.get_num_threads(),
            "cpus": os.cpu_count(),
            "device": _device(),
        },
        "command": sys.argv,
    }


def _device() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)} in each machine"
    return f"{os.cpu_count()} CPU cores"


def training_seconds(metrics: Path) -> float:
    """Time that training took, over all its parts if it was interrupted."""
    total = latest = 0.0
    for line in metrics.read_text("utf-8").splitlines() if metrics.is_file() else []:
        seconds = float(json.loads(line)["seconds"])
        if seconds < latest:
            total += latest
        latest = seconds
    return total + latest
