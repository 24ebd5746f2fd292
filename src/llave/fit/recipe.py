"""Settings that suit the model, the table and the machine, as a recipe of ``llave train``."""

import os
from dataclasses import replace
from pathlib import Path

import torch
import yaml

from llave.fit.config import FitConfig
from llave.models.about import trained_temperature
from llave.models.model import EmbeddingModel
from llave.recipes import find_recipe
from llave.training.adapter_config import AdapterConfig
from llave.training.config import DataSetConfig, EvaluateConfig, LossConfig, TrainConfig

__all__ = ["EVALUATIONS", "recipe_for", "within"]

STEPS, MOST_EPOCHS = 300, 20
"""A small table is shown often, a large one once; the validation part says when it was enough."""
EVALUATIONS = 8
BATCH, LEAST_BATCH = 64, 8
SMALL = 300e6
"""Parameters up to which a batch goes through the model at once."""
LARGE = 1e9
"""Trained parameters from which adapters are trained instead: fewer of them forget less, and fit."""
STATE_BYTES = 16
"""Of a trained weight in 32 bits, with its gradient and AdamW's two moments."""
ROOM = 0.6
"""Of the memory, for weights and their state; the rest is for activations."""
UNTRAINED_PROJECTOR, TRAINED_PROJECTOR = 15, 5
"""Times the rate of a nano model's language model."""


def recipe_for(
    config: FitConfig,
    base: str,
    model: EmbeddingModel,
    *,
    data: Path,
    output: Path,
    features: Path,
    kind: str,
    rows: int,
    negatives: bool,
) -> TrainConfig:
    """The recipe.

    Args:
        config: what the user wants.
        base: the model to start from.
        model: the same, open.
        data: the parts, see :mod:`llave.fit.folder`.
        output: of the training.
        features: file of a nano model's vision features.
        kind: name of the data set.
        rows: of the training part.
        negatives: whether rows have some.
    """
    parameters = dict(model.named_parameters())
    total = sum(parameter.numel() for parameter in parameters.values())
    nano = type(model[0].model).__name__ == "NanoModel"
    wanted = yaml.safe_load(find_recipe("nano").read_text("utf-8"))["freeze"] if nano else ["vision_tower"]
    freeze = [word for word in wanted if model.family.matching(word, parameters)]
    frozen = {name for word in freeze for name in model.family.matching(word, parameters)}
    trained = sum(parameter.numel() for name, parameter in parameters.items() if name not in frozen)
    adapter = _wants_adapter(model.device, total, trained) if config.lora == "auto" else config.lora == "yes"
    batch = BATCH
    while batch > LEAST_BATCH and 4 * batch > rows:
        batch //= 2
    per_epoch = max(rows // batch, 1)
    epochs = config.epochs or min(max(STEPS / per_epoch, 1), MOST_EPOCHS)
    steps = max(round(epochs * per_epoch), 1)
    rate, projector = _rates(config, base, nano=nano, adapter=adapter)
    loss = LossConfig(alpha=0.0, temperature=trained_temperature(model) or (0.05 if nano else 0.02))
    if total > SMALL:
        loss = replace(loss, mini_batch_size=8 if model.device.type == "cuda" else 4)
    every = -(-steps // EVALUATIONS)
    return TrainConfig(
        data=data,
        output=output,
        model=base,
        datasets={kind: DataSetConfig(hard_negatives=negatives)},
        verify_pictures=False,  # they were opened when the table was read
        loss=loss,
        batch_size=batch,
        epochs=float(epochs),
        max_steps=steps,
        learning_rate=rate,
        projector_learning_rate=projector,
        warmup=0.1,
        adapter=AdapterConfig() if adapter else None,
        freeze=freeze,
        seed=config.seed,
        precision="auto",
        gradient_checkpointing=total > SMALL,
        save_steps=every,
        log_steps=min(10, every),
        feature_cache=features if nano else None,
        evaluate=EvaluateConfig(benchmark=str(data / "validation"), every_steps=every),
    )


def within(config: TrainConfig, seconds: float, seconds_per_step: float) -> TrainConfig:
    """The recipe cut to a budget of seconds, at least one step."""
    steps = max(int(seconds / seconds_per_step), 1)
    if steps >= config.max_steps:
        return config
    every = -(-steps // EVALUATIONS)
    assert config.evaluate is not None
    return replace(
        config,
        max_steps=steps,
        epochs=config.epochs * steps / config.max_steps,
        save_steps=every,
        log_steps=min(10, every),
        evaluate=replace(config.evaluate, every_steps=every),
    )


def _rates(config: FitConfig, base: str, *, nano: bool, adapter: bool) -> tuple[float, float | None]:
    """Of the language model, and of the projector where it differs: a nano model's learns faster, and begins at random
    in an untrained one."""
    rate = config.learning_rate or (1e-4 if nano or adapter else 1e-5)
    return rate, rate * (UNTRAINED_PROJECTOR if base == "nano" else TRAINED_PROJECTOR) if nano else None


def _wants_adapter(device: torch.device, total: int, trained: int) -> bool:
    needed = STATE_BYTES * trained + 4 * (total - trained)
    return trained > LARGE or needed > ROOM * _memory(device)


def _memory(device: torch.device) -> int:
    """Bytes that are free on a GPU, or that the machine has: what is free on it changes by the minute."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
