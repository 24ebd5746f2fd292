"""What a recipe can say. Every field is a YAML key and a ``--flag``; unknown keys are refused."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from llave.errors import UserError
from llave.losses.bounds import LEARNED_TEMPERATURE
from llave.training.adapter_config import AdapterConfig
from llave.training.late_config import LateConfig, check_late
from llave.training.loss_config import DistillConfig, LossConfig

__all__ = [
    "AdapterConfig",
    "ClusterConfig",
    "DataSetConfig",
    "DistillConfig",
    "EMAConfig",
    "EvaluateConfig",
    "LateConfig",
    "LossConfig",
    "TrainConfig",
]


@dataclass(frozen=True, kw_only=True)
class DataSetConfig:
    """Where one data set comes from, its share and its prompts.

    Args:
        file: a .parquet, .jsonl, .json, .csv or .tsv file, a folder of them or a glob, relative to data; null is the
            data set of this name in the folder's layout.
        images: folder that picture paths are relative to, itself relative to data, or s3://bucket/folder; null is
            data/images, or that of all data sets.
        columns: our column to the file's own, e.g. {qry: question, pos_image_path: photo}; a column that is neither
            named nor there is empty.
        split: of a copy of MMEB-train; null is the recipe's.
        weight: share of its rows drawn in each epoch; 2 shows every row twice, 0.5 half of them.
        cap: at most this many rows, drawn by the seed; null is the recipe's.
        query_prompt: before every query, as the prompt of ``encode``, and saved among the model's prompts; null is the
            base model's default prompt, if it has one.
        target_prompt: the same before every positive and negative.
        hard_negatives: use the neg_text / neg_image_path columns as extra negatives.
        mask_own_targets: a target that is the very content of another row's query is no negative of that query; false
            where an item must be told from itself.
    """

    file: str | None = None
    images: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    split: Literal["original", "diverse_instruction"] | None = None
    weight: float = 1.0
    cap: int | None = None
    query_prompt: str | None = None
    target_prompt: str | None = None
    hard_negatives: bool = False
    mask_own_targets: bool = True


@dataclass(frozen=True, kw_only=True)
class EMAConfig:
    """An exponential moving average of the trained weights, which is what the run exports and evaluates.

    Args:
        decay: share of the past in each update; less at first, so that a short run is not an average of its beginning.
        every: optimiser steps between updates.
    """

    decay: float = 0.999
    every: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise UserError(f"ema.decay must be at least 0 and below 1, got {self.decay}")
        if self.every < 1:
            raise UserError(f"ema.every must be at least 1, got {self.every}")


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Batches of rows that are hard for one another, as in B3 (arXiv 2505.11293).

    Args:
        teacher: a model, as model; it embeds all rows once, before training.
        size: rows of a cluster; it divides the pairs of a global batch, which is made of random clusters of a data set.
        skip: best ranks of the teacher for each query that are not taken for negatives: they may be right answers.
        neighbours: ranks after these that are.
    """

    teacher: str
    size: int = 16
    skip: int = 10
    neighbours: int = 50

    def __post_init__(self) -> None:
        for name, value, least in (("size", self.size, 2), ("skip", self.skip, 0), ("neighbours", self.neighbours, 1)):
            if value < least:
                raise UserError(f"clusters.{name} must be at least {least}, got {value}")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Precision@1 while training.

    Args:
        benchmark: "mmeb", or a folder in MMEB's format (its eval/).
        every_steps: steps between evaluations; 0 is once an epoch. The last step is always evaluated.
        limit: only this many first rows of each data set.
        metric: what decides which model is best: "overall", a meta-task, "ind", "ood", or a data set's name.
        keep_best: keep the best model in output/best, and make it the final one. Without it the scores are only logged.
        batch_size: items per forward pass.
    """

    benchmark: str | None = None
    every_steps: int = 0
    limit: int | None = None
    metric: str = "overall"
    keep_best: bool = True
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.every_steps < 0:
            raise UserError(f"evaluate.every_steps must be at least 0, got {self.every_steps}")
        if self.limit is not None and self.limit < 1:
            raise UserError(f"evaluate.limit must be at least 1, got {self.limit}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run.

    Args:
        data: folder in MMEB's format, with train/ and images/; a copy of MMEB-train; or any folder, if every data set
            names its file.
        output: the trained model goes here, with run.json, metrics.jsonl and checkpoints/; a folder, or
            s3://bucket/folder, to which every checkpoint is uploaded.
        model: "nano", a model directory, or a hub id.
        datasets: data sets to train on, by name; empty is all of them with default settings.
        cap: at most this many rows of each data set, drawn by the seed; null is all.
        split: of a copy of MMEB-train: "original", or "diverse_instruction" with ten paraphrases of each instruction.
        images: folder that picture paths are relative to, for data sets that do not say their own; s3://bucket/folder
            for pictures that this machine has no room for: each is read from there when it is needed.
        verify_pictures: open every picture before the first step, and leave out rows whose picture is missing or
            broken. Without it a run over millions of pictures starts at once; a broken one is then replaced by
            another row of its data set and listed in errors.jsonl.
        verbatim: texts keep the white space of the data (a line break at the end), as LLaVE reads them; otherwise it is
            stripped.
        blank: a text with a picture's place but no picture (queries of WebQA) gets a grey picture, as in LLaVE.
        task: "embed" trains a vector for each item, "late" one for each of its tokens (docs/late_interaction.md).
        late: the model of task: late.
        loss: the loss.
        batch_size: pairs per device and step.
        global_batch_size: pairs of a step over all devices, each of which takes its share, whatever batch_size says: a
            run then goes on, also by itself, on another number of processes; null is batch_size for each.
        accumulate: batches per optimiser step. That adds no negatives; a larger batch_size with loss.mini_batch_size
            does.
        batches: "one_task": every global batch, all devices together, is of one data set. "mixed": of several, in the
            ratio of their weighted sizes.
        sub_batch: rows of one data set that stay together in a mixed batch; it divides batch_size, null is batch_size.
        clusters: make the global batches of rows that a teacher finds hard for one another (with batches: one_task);
            null draws rows at random.
        workers: processes that read rows and decode pictures, per device; null is 0 where the vision features are
            cached (nano), otherwise up to 4. The batches are the same for any number.
        epochs: passes over the data.
        max_steps: stop after so many steps; -1 is no limit.
        learning_rate: peak rate of the language model.
        projector_learning_rate: peak rate of the projector (and of tokens' projection); null is learning_rate.
        weight_decay: of AdamW.
        warmup: share of the steps with a rising learning rate.
        schedule: learning rate after the warm-up.
        adapter: train low-rank adapters instead of the language model's weights; null trains the weights.
        ema: export (and evaluate) a moving average of the trained weights, in float32 beside them; null exports
            the last step's.
        freeze: parts that are not trained: "vision_tower", "projector", or any word of a parameter's name.
        seed: of everything random.
        precision: arithmetic of the forward pass; "auto" is bf16 where the device multiplies in it, else fp32.
        gradient_checkpointing: compute activations again in the backward pass: a third more time, far less memory.
        save_steps: steps between checkpoints; 0 is once an epoch.
        keep_checkpoints: newest checkpoints to keep.
        log_steps: steps between lines of metrics.jsonl.
        resume: "auto" goes on from the newest whole checkpoint in output, "never" starts again.
        feature_cache: file that keeps vision features between runs (nano models); null keeps them in memory.
        track: where metrics go besides metrics.jsonl: "tensorboard", "wandb", "trackio". All stay on this machine;
            wandb sends what it wrote only if WANDB_MODE=online says so.
        evaluate: precision@1 during training, and the best model kept; null evaluates nothing.
        val_fraction: share of each data set's rows that is not trained on but evaluated, every query against all
            held-out targets, as evaluate says (after every epoch without it). Drawn by the seed; rows that share a text
            or picture stay together.
        sharding: how several processes hold the model. "none": each a whole one (DDP). "fsdp": its weights, gradients
            and optimiser state are spread over them (FSDP2). Else a JSON file of transformers' fsdp_config.
        deepspeed: a DeepSpeed JSON file, handed on to transformers; null does without.
        processes: that the recipe is made for; a run of another number says what that changes. null is any.
        dry_run: check data and model, take two steps on a few rows, and say what the whole run would take; on one
            process also of a recipe for several, as one of them without sharding.
    """

    data: Path
    output: Path
    model: str = "nano"
    datasets: dict[str, DataSetConfig] = field(default_factory=dict)
    cap: int | None = None
    split: Literal["original", "diverse_instruction"] = "original"
    images: str | None = None
    verify_pictures: bool = True
    verbatim: bool = False
    blank: bool = False
    task: Literal["embed", "late"] = "embed"
    late: LateConfig = field(default_factory=LateConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    batch_size: int = 64
    global_batch_size: int | None = None
    accumulate: int = 1
    batches: Literal["one_task", "mixed"] = "one_task"
    sub_batch: int | None = None
    clusters: ClusterConfig | None = None
    workers: int | None = None
    epochs: float = 1.0
    max_steps: int = -1
    learning_rate: float = 1e-4
    projector_learning_rate: float | None = None
    weight_decay: float = 0.0
    warmup: float = 0.03
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    adapter: AdapterConfig | None = None
    ema: EMAConfig | None = None
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
    evaluate: EvaluateConfig | None = None
    val_fraction: float = 0.0
    sharding: str = "none"
    deepspeed: Path | None = None
    processes: int | None = None
    dry_run: bool = False

    def setting(self, name: str) -> DataSetConfig:
        """Of a data set, with what it takes over from the recipe."""
        own = self.datasets.get(name, DataSetConfig())
        return replace(own, cap=self.cap if own.cap is None else own.cap, split=own.split or self.split)

    def __post_init__(self) -> None:
        check_late(self)
        for name, value, least in (
            ("batch_size", self.batch_size, 2),
            ("accumulate", self.accumulate, 1),
            ("keep_checkpoints", self.keep_checkpoints, 1),
            ("log_steps", self.log_steps, 1),
            ("save_steps", self.save_steps, 0),
            ("loss.keep_graphs", self.loss.keep_graphs, 0),
            ("loss.vision_reuse_gib", self.loss.vision_reuse_gib, 0),
            ("loss.vision_cache_gib", self.loss.vision_cache_gib, 0),
        ):
            if value < least:
                raise UserError(f"{name} must be at least {least}, got {value}")
        for name, number, least in (
            ("workers", self.workers, 0),
            ("cap", self.cap, 1),
            ("processes", self.processes, 1),
            ("global_batch_size", self.global_batch_size, 2),
        ):
            if number is not None and number < least:
                raise UserError(f"{name} must be at least {least}, got {number}")
        if self.workers and self.feature_cache is not None:
            raise UserError("feature_cache keeps features in the main process; leave workers at 0")
        if self.sub_batch is not None and self.batches != "mixed":
            raise UserError("sub_batch is for batches: mixed")
        if self.sub_batch is not None and (self.sub_batch < 1 or self.batch_size % self.sub_batch):
            raise UserError(f"sub_batch must divide batch_size {self.batch_size}, got {self.sub_batch}")
        if self.clusters is not None and self.batches != "one_task":
            raise UserError("clusters is for batches: one_task")
        for name, rate in (
            ("temperature", self.loss.temperature),
            ("learning_rate", self.learning_rate),
            ("loss.temperature_learning_rate", self.loss.temperature_learning_rate),
        ):
            if rate <= 0:
                raise UserError(f"{name} must be positive, got {rate}")
        if self.loss.mini_batch_size is not None and self.loss.mini_batch_num_tokens is not None:
            raise UserError("loss: give mini_batch_size or mini_batch_num_tokens, not both")
        if self.sharding != "none" and self.loss.reward == "ema":
            raise UserError("loss.reward ema needs the whole model in every process; use sharding none")
        if self.sharding != "none" and self.adapter is not None and self.adapter.quantize != "none":
            raise UserError("adapter.quantize: 4-bit weights cannot be sharded; use sharding none")
        if self.ema is not None and (self.sharding != "none" or self.deepspeed is not None):
            raise UserError("ema needs the whole model in every process; use sharding none")
        if self.deepspeed is not None and self.sharding != "none":
            raise UserError("give deepspeed or sharding, not both")
        if not 0 <= self.val_fraction < 1:
            raise UserError(f"val_fraction must be at least 0 and below 1, got {self.val_fraction}")
        if self.val_fraction and self.evaluate is None:
            object.__setattr__(self, "evaluate", EvaluateConfig())
        if self.evaluate is not None and self.evaluate.benchmark is None and not self.val_fraction:
            raise UserError("evaluate needs a benchmark, or rows of the training data: --val_fraction 0.1")
        if self.loss.alpha < 0:
            raise UserError(f"alpha must be at least 0, got {self.loss.alpha}")
        if not 0 <= self.loss.positive_margin < 1:
            raise UserError(f"loss.positive_margin must be at least 0 and below 1, got {self.loss.positive_margin}")
        for name, other in (
            ("weighting", self.loss.weighting != "all"),
            ("positive_margin", self.loss.positive_margin != 0),
            ("learn_temperature", self.loss.learn_temperature != "none"),
            ("teacher", self.loss.teacher is not None),
        ):
            if other and self.loss.name != "hardness":
                raise UserError(f"loss.{name} is for name: hardness, not {self.loss.name}")
        if self.loss.learn_temperature != "none":
            low, high = LEARNED_TEMPERATURE
            if not low <= self.loss.temperature <= high:
                raise UserError(
                    f"loss.temperature must be from {low} to {high} to be learned, got {self.loss.temperature}"
                )
            if self.loss.learn_temperature == "per_dataset" and self.batches != "one_task":
                raise UserError("loss.learn_temperature per_dataset needs batches: one_task")
            if self.sharding != "none" or self.deepspeed is not None:
                raise UserError(
                    "loss.learn_temperature: not with sharding or deepspeed, which know the model's weights alone"
                )
        if self.loss.teacher_margin and self.loss.teacher is None:
            raise UserError("loss.teacher_margin is for loss.teacher, and there is none")
        if self.loss.distill is not None and self.loss.teacher is None:
            raise UserError("loss.distill is for loss.teacher, and there is none")
        if self.loss.weighting == "hard_negatives" and not any(one.hard_negatives for one in self.datasets.values()):
            raise UserError("loss.weighting hard_negatives: no data set has hard_negatives, so alpha would do nothing")
        if self.loss.name == "focal" and (self.loss.reward != "self" or self.loss.matryoshka_dims):
            raise UserError("loss: focal has neither a reward nor Matryoshka prefixes")
