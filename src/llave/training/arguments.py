"""A recipe as arguments of the trainer."""

from typing import Any

import torch
from sentence_transformers import SentenceTransformerTrainingArguments

from llave.models.families import UNKNOWN
from llave.training.config import TrainConfig
from llave.training.loss import TEMPERATURE
from llave.training.processes import launch_options

__all__ = ["common_arguments", "training_arguments"]

PROJECTION = r"(^|\.)1\.linear\."
"""Of tokens, behind the backbone of a late-interaction model; it begins at random, as a new projector does."""


def training_arguments(config: TrainConfig) -> SentenceTransformerTrainingArguments:
    """The arguments; asking them for their device or world size starts the group of processes.

    Raises:
        UserError: what ``launch_options`` refuses.
    """
    mapping = {}
    if config.projector_learning_rate is not None:
        mapping[UNKNOWN.parts["projector"].pattern] = config.projector_learning_rate
        if config.task == "late":
            mapping[PROJECTION] = config.projector_learning_rate
    if config.loss.learn_temperature != "none":
        mapping[rf"^{TEMPERATURE}"] = config.loss.temperature_learning_rate
    return SentenceTransformerTrainingArguments(
        **common_arguments(config),
        learning_rate_mapping=mapping,
        dataloader_drop_last=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,  # every parameter takes part: see processes.py
        **launch_options(config),
    )


def common_arguments(config: TrainConfig) -> dict[str, Any]:
    """What any of sentence-transformers' trainers is told by a recipe."""
    return {
        "output_dir": str(config.output / "checkpoints"),
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.accumulate,
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps,
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "warmup_steps": config.warmup,
        "lr_scheduler_type": config.schedule if config.schedule != "constant" else "constant_with_warmup",
        "seed": config.seed,
        "use_cpu": not torch.accelerator.is_available(),
        "bf16": config.precision == "bf16",
        "fp16": config.precision == "fp16",
        "save_strategy": "steps" if config.save_steps else "epoch",
        "save_steps": config.save_steps or 500,
        "save_total_limit": config.keep_checkpoints,
        "logging_steps": config.log_steps,
        "report_to": list(config.track),
        "run_name": config.output.name,
        "project": "llave",
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }
