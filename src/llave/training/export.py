"""The model of a run as a plain directory, at any step: gathered from all processes, adapters merged."""

from pathlib import Path

import torch
from torch import Tensor

from llave.models.open import save_model
from llave.training.adapters import save_merged, trained_state
from llave.training.base import open_base
from llave.training.config import TrainConfig
from llave.training.prompts import copy_prompts
from llave.training.trainer import Trainer

__all__ = ["export_model"]


def export_model(trainer: Trainer, config: TrainConfig, directory: Path) -> None:
    """Write the model as it is now, or its average. Every process calls it; the first one writes.

    The model in training stays as it is, bit for bit.
    """
    with trainer.averaged():
        _export(trainer, config, directory)


def _export(trainer: Trainer, config: TrainConfig, directory: Path) -> None:
    state = _whole_state(trainer)
    if not trainer.is_world_process_zero():
        return
    directory.mkdir(parents=True, exist_ok=True)
    model = trainer.sentence_model
    if config.adapter is not None:
        state = trained_state(model) if state is None else state
        fresh = open_base(config, device="cpu", dtype=torch.float32)
        save_merged(model, state, fresh, config.adapter, config.freeze, directory, base=config.model)
    elif state is None:
        save_model(model, directory)
    else:
        fresh = open_base(config, device="cpu", dtype=torch.float32)
        fresh.load_state_dict(state)
        copy_prompts(model, fresh)
        save_model(fresh, directory)


def _whole_state(trainer: Trainer) -> dict[str, Tensor] | None:
    """All weights on the first process where they are spread over several, None where it has them."""
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        state: dict[str, Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        return state
    return None
