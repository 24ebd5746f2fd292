"""From a recipe's ``loss`` section to the loss, and its hardness over the run."""

from collections.abc import Sequence
from typing import Any

from sentence_transformers import SentenceTransformer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llave.losses.focal import FocalInfoNCELoss
from llave.losses.hardness import HardnessWeightedLoss
from llave.losses.judged_step import Reward
from llave.losses.late import LateInteractionLoss
from llave.losses.reward import EMAReward, MaskedReward, NormalizedReward, TextReward
from llave.losses.sigmoid import SigmoidLoss
from llave.losses.teacher import TeacherVectors
from llave.losses.temperature import LearnedTemperature
from llave.models.late import LateModel
from llave.models.model import EmbeddingModel
from llave.training.config import LossConfig

__all__ = ["TEMPERATURE", "AlphaSchedule", "build_loss"]

TEMPERATURE = "temperature."
"""Begins the name of a learned temperature among the loss's parameters."""


def build_loss(
    config: LossConfig,
    model: EmbeddingModel | LateModel,
    names: Sequence[str] = (),
    teacher: TeacherVectors | None = None,
) -> HardnessWeightedLoss:
    """The loss of a recipe; a reward that judges by the model before training copies it here.

    Args:
        names: of the data sets, by their numbers in the batches.
        teacher: vectors of the teacher that the recipe names.
    """
    temperature: float | LearnedTemperature = config.temperature
    if config.learn_temperature != "none":
        temperature = LearnedTemperature(
            config.temperature, names if config.learn_temperature == "per_dataset" else ("",)
        )
    options: dict[str, Any] = {
        "temperature": temperature,
        "mini_batch_size": config.mini_batch_size,
        "mini_batch_num_tokens": config.mini_batch_num_tokens,
        "keep_graphs": config.keep_graphs,
        "vision_reuse_gib": config.vision_reuse_gib,
        "vision_cache_gib": config.vision_cache_gib,
        "gather": config.gather,
        "shared_ids": True,  # ids of content (llave.data.row_ids)
    }
    if isinstance(model, LateModel):
        weights = {"alpha": config.alpha, "weighting": config.weighting, "positive_margin": config.positive_margin}
        return LateInteractionLoss(model, impl=config.impl, **weights, **options)  # type: ignore[arg-type]  # checked
    if config.name == "focal":
        return FocalInfoNCELoss(model, margin=config.focal_margin, **options)
    if config.name == "sigmoid":
        return SigmoidLoss(model, bias=config.sigmoid_bias, **options)
    return HardnessWeightedLoss(
        model,
        alpha=config.alpha,
        weighting=config.weighting,
        positive_margin=config.positive_margin,
        teacher=teacher,
        teacher_margin=config.teacher_margin,
        distill_weight=0.0 if config.distill is None else config.distill.weight,
        distill_temperature=0.05 if config.distill is None else config.distill.temperature,
        reward=_reward(config, model),
        matryoshka_dims=config.matryoshka_dims,
        matryoshka_weights=config.matryoshka_weights,
        impl=config.impl,
        **options,
    )


def _reward(config: LossConfig, model: SentenceTransformer) -> Reward:
    match config.reward:
        case "normalized":
            return NormalizedReward()
        case "masked":
            return MaskedReward(config.mask_margin)
        case "ema":
            return EMAReward(model, decay=config.ema_decay)
        case "text":
            return TextReward(model)
        case _:
            return "self"


class AlphaSchedule(TrainerCallback):
    """alpha as a function of the step alone, so that a resumed run has the one of an uninterrupted run."""

    def __init__(self, loss: HardnessWeightedLoss, config: LossConfig) -> None:
        self.loss = loss
        self.config = config

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        done = state.global_step / max(state.max_steps - 1, 1)
        share = {"constant": 1.0, "rising": done, "falling": 1 - done}[self.config.alpha_schedule]
        self.loss.alpha = self.config.alpha * share
