"""What a recipe's ``loss`` section can say."""

from dataclasses import dataclass
from typing import Literal

from llave.errors import UserError

__all__ = ["DistillConfig", "LossConfig"]


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Distillation of the teacher's scores within a batch, beside the contrastive loss.

    Args:
        weight: of the mean KL divergence from the teacher's softmax over a query's targets to the model's.
        temperature: of the teacher's softmax; the model's is its own.
    """

    weight: float = 1.0
    temperature: float = 0.05

    def __post_init__(self) -> None:
        if self.weight <= 0 or self.temperature <= 0:
            raise UserError(f"loss.distill: both must be positive, got {self.weight} and {self.temperature}")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The loss.

    Args:
        name: "hardness" (LLaVE), "focal" (Focal-InfoNCE, its rival in the paper's ablation) or "sigmoid" (SigLIP's,
            with that model's own temperature and bias, which are learned).
        temperature: tau of the softmax; where it is learned, the one to begin with.
        learn_temperature: "one" learns tau, "per_dataset" one for each data set (with batches: one_task); between 0.01
            and 1, without weight decay.
        temperature_learning_rate: of the logarithm of a learned temperature.
        alpha: hardness; 0 is plain InfoNCE, 9 is the paper's.
        weighting: which negatives alpha applies to: "all", "hard_negatives" (each row's own, as in EmbeddingGemma) or
            "in_batch" (all but these).
        positive_margin: share of its own cosine, without gradient, that is taken off a positive before the softmax.
        alpha_schedule: "constant", "rising" (linear from 0 to alpha over the run) or "falling" (from alpha to 0).
        focal_margin: m of Focal-InfoNCE.
        sigmoid_bias: of the sigmoid loss, for a model that has none of its own.
        gather: under several processes, use the pairs of all of them as negatives.
        mini_batch_size: rows embedded at a time (GradCache); null embeds the batch at once.
        mini_batch_num_tokens: instead, as many rows at a time as have this many tokens together.
        lazy_media: with GradCache, decode and preprocess pictures mini-batch by mini-batch, and again where they are
            needed again, so that memory does not grow with the batch; false prepares the whole batch, once.
        keep_graphs: mini-batches that are embedded once instead of twice, at the memory of one mini-batch each; one is
            free.
        vision_reuse_gib: with GradCache, keep a frozen vision tower's features for the second pass, up to so many GiB
            of the device's memory; pictures beyond go through the tower twice.
        vision_cache_gib: keep a frozen SigLIP-like tower's features across steps, up to so many GiB of the CPU's
            memory; for data in which pictures recur.
        reward: who says how hard a negative is: "self" (LLaVE: the model's cosine), "normalized" (the same with mean
            weight 1 per query), "masked" (the same, without negatives above the positive by mask_margin), "ema" (a
            moving average of the model) or "text" (the cosine less the likeness of the texts, mean weight 1).
        ema_decay: weight of the past in the "ema" reward.
        mask_margin: of the "masked" reward.
        teacher: a frozen model, as model; a negative that it scores above the query's positive less teacher_margin is
            left out as probably false. It embeds all rows once, before training.
        teacher_margin: a cosine; below 0 leaves out only what beats the positive by as much; null leaves
            none out.
        distill: also follow the teacher's scores; null does not.
        matryoshka_dims: prefixes of the embedding that are trained too; name the whole length among them.
        matryoshka_weights: weight of each; null is 1.
        impl: "auto", "reference", "tiled", "stored" or "triton" (docs/loss.md).
    """

    name: Literal["hardness", "focal", "sigmoid"] = "hardness"
    temperature: float = 0.02
    learn_temperature: Literal["none", "one", "per_dataset"] = "none"
    temperature_learning_rate: float = 1e-3
    alpha: float = 9.0
    weighting: Literal["all", "hard_negatives", "in_batch"] = "all"
    positive_margin: float = 0.0
    alpha_schedule: Literal["constant", "rising", "falling"] = "constant"
    focal_margin: float = 0.3
    sigmoid_bias: float = -10.0
    gather: bool = True
    mini_batch_size: int | None = None
    mini_batch_num_tokens: int | None = None
    lazy_media: bool = True
    keep_graphs: int = 1
    vision_reuse_gib: float = 4.0
    vision_cache_gib: float = 0.0
    reward: Literal["self", "normalized", "masked", "ema", "text"] = "self"
    ema_decay: float = 0.99
    mask_margin: float = 0.1
    teacher: str | None = None
    teacher_margin: float | None = 0.0
    distill: DistillConfig | None = None
    matryoshka_dims: list[int] | None = None
    matryoshka_weights: list[float] | None = None
    impl: Literal["auto", "reference", "tiled", "stored", "triton"] = "auto"
