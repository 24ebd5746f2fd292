"""What a recipe of a reranker can say. Every field is a YAML key and a ``--flag``; unknown keys are refused."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from llave.errors import UserError
from llave.training.config import AdapterConfig, DataSetConfig, TrainConfig

__all__ = ["NegativesConfig", "RankLossConfig", "RerankConfig"]


@dataclass(frozen=True, kw_only=True)
class RankLossConfig:
    """The loss over a query's list: its positive and its negatives.

    Args:
        name: "listwise" (cross-entropy of the softmax over the list, the positive's place being right), "pointwise"
            (binary cross-entropy of each pair) or "lambda" (LambdaLoss with NDCG-Loss2++, as sentence-transformers has
            it).
        scale: scores are multiplied by it before the softmax of "listwise".
        positive_weight: of a positive pair in "pointwise"; null is the number of negatives of a list.
    """

    name: Literal["listwise", "pointwise", "lambda"] = "listwise"
    scale: float = 1.0
    positive_weight: float | None = None

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise UserError(f"loss.scale must be positive, got {self.scale}")
        if self.positive_weight is not None and self.positive_weight <= 0:
            raise UserError(f"loss.positive_weight must be positive, got {self.positive_weight}")


@dataclass(frozen=True, kw_only=True)
class NegativesConfig:
    """The wrong documents of a query's list, drawn anew each time the query is seen.

    Args:
        own: at most so many of the rows' own hard negatives (neg_text, neg_image_path): those that a data set came
            with, and those that `llave data mine` found with the first stage.
        random: positives of other rows of the same data set; they also stand in where there are too few own ones.
    """

    own: int = 5
    random: int = 2

    def __post_init__(self) -> None:
        if min(self.own, self.random) < 0 or self.own + self.random < 1:
            raise UserError(f"negatives: at least one in all, none below 0, got {self.own} and {self.random}")


@dataclass(frozen=True, kw_only=True)
class RerankConfig:
    """A training run of a reranker.

    Args:
        data: folder in MMEB's format, with train/ and images/, best one that `llave data mine` made with the first
            stage: what it confuses is what a reranker has to tell apart.
        output: the trained reranker goes here, with run.json, metrics.jsonl and checkpoints/.
        task: "rerank".
        model: "nano", a directory of an embedding model or of a reranker, or a hub id.
        datasets: data sets to train on, by name; empty is all of them with default settings. Of a data set's settings,
            file, images, columns, split, weight and cap count; weight draws its share once, by the seed.
        cap: at most this many rows of each data set, drawn by the seed; null is all.
        split: of a copy of MMEB-train.
        verify_pictures: open every picture before the first step, and leave out rows with a broken one.
        loss: the loss.
        negatives: the lists' negatives.
        batch_size: queries per device and step; each has a list.
        accumulate: batches per optimiser step.
        epochs: passes over the data.
        max_steps: stop after so many steps; -1 is no limit.
        learning_rate: peak rate of the language model and the head.
        projector_learning_rate: peak rate of the projector; null is learning_rate.
        head_learning_rate: peak rate of the new head of an embedding model; null is learning_rate.
        weight_decay: of AdamW.
        warmup: share of the steps with a rising learning rate.
        schedule: learning rate after the warm-up.
        adapter: train low-rank adapters instead of the language model's weights; null trains the weights.
        freeze: parts that are not trained, as in a recipe of an embedding model.
        seed: of everything random.
        precision: arithmetic of the forward pass; "auto" is bf16 where the device multiplies in it, else fp32.
        gradient_checkpointing: compute activations again in the backward pass.
        save_steps: steps between checkpoints; 0 is once an epoch.
        keep_checkpoints: newest checkpoints to keep.
        log_steps: steps between lines of metrics.jsonl.
        resume: "auto" goes on from the newest whole checkpoint in output, "never" starts again.
        feature_cache: file that keeps vision features between runs (nano models); null keeps them in memory.
        track: as in a recipe of an embedding model.
    """

    data: Path
    output: Path
    task: Literal["rerank"] = "rerank"
    model: str = "nano"
    datasets: dict[str, DataSetConfig] = field(default_factory=dict)
    cap: int | None = None
    split: Literal["original", "diverse_instruction"] = "original"
    verify_pictures: bool = True
    loss: RankLossConfig = field(default_factory=RankLossConfig)
    negatives: NegativesConfig = field(default_factory=NegativesConfig)
    batch_size: int = 8
    accumulate: int = 1
    epochs: float = 1.0
    max_steps: int = -1
    learning_rate: float = 1e-4
    projector_learning_rate: float | None = None
    head_learning_rate: float | None = None
    weight_decay: float = 0.0
    warmup: float = 0.05
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    adapter: AdapterConfig | None = None
    freeze: list[str] = field(default_factory=lambda: ["vision_tower"])
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    gradient_checkpointing: bool = False
    save_steps: int = 0
    keep_checkpoints: int = 1
    log_steps: int = 10
    resume: Literal["auto", "never"] = "auto"
    feature_cache: Path | None = None
    track: list[Literal["tensorboard", "wandb", "trackio"]] = field(default_factory=list)

    def shared(self) -> TrainConfig:
        """What it has in common with a recipe of an embedding model, in that form: data, arguments and record.

        Raises:
            UserError: a number out of its range.
        """
        names = {one.name for one in fields(TrainConfig)} - {"task", "loss"}
        same = {one.name: getattr(self, one.name) for one in fields(self) if one.name in names}
        # One list is a batch here, and no batch of pairs.
        return TrainConfig(**{**same, "batch_size": max(self.batch_size, 2), "workers": 0})

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {self.batch_size}")
        self.shared()
