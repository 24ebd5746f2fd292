"""A run before its first step: data and model read and checked."""

import os
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from sentence_transformers import SentenceTransformerTrainingArguments
from sentence_transformers.base import BaseModel
from transformers import PrinterCallback, set_seed

from llave.data.corpus import Corpus
from llave.data.train_table import Skipped, TrainTable, pictures_of
from llave.errors import UserError
from llave.evaluation.benchmarks import Benchmark
from llave.losses.functional import check_matryoshka
from llave.models.late import LateModel
from llave.models.model import EmbeddingModel
from llave.models.nano_features import standardise_features, use_feature_cache
from llave.models.vision_reuse import FeatureCache
from llave.training.adapters import add_adapter
from llave.training.arguments import training_arguments
from llave.training.averaging import WeightAverage
from llave.training.base import open_base
from llave.training.callbacks import Clock
from llave.training.clusters import run_clusters
from llave.training.config import DataSetConfig, TrainConfig
from llave.training.holdout import held_out_benchmark, hold_out
from llave.training.loss import AlphaSchedule, build_loss
from llave.training.pieces import PieceLoader, processes_for
from llave.training.processes import every_parameter_takes_part, layer_class
from llave.training.prompts import keep_prompts, uses_of
from llave.training.record import RUN_FILE, run_record
from llave.training.row_errors import RowErrors
from llave.training.rows import DECODED_BYTES, Collator, Use
from llave.training.tables import num_workers, open_tables
from llave.training.teacher import teacher_vectors
from llave.training.trainer import Trainer

__all__ = ["ERRORS_FILE", "Prepared", "checkpoint_activations", "freeze", "prepare"]

ERRORS_FILE = "errors.jsonl"
Settings = dict[str, DataSetConfig]
Tables = dict[str, TrainTable]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run before its first step. ``record`` is what run.json holds, ``held_out`` the rows that are evaluated."""

    trainer: Trainer
    model: EmbeddingModel | LateModel
    cache: FeatureCache | None
    record: dict[str, Any]
    held_out: Benchmark | None = None


def prepare(
    config: TrainConfig, console: Console, title: str, arguments: SentenceTransformerTrainingArguments | None = None
) -> Prepared:
    """Everything up to the first step.

    Args:
        arguments: of the trainer; made from ``config`` if None.

    Raises:
        UserError: data, a model or options that cannot be used.
    """
    arguments = arguments or training_arguments(config)
    set_seed(config.seed)
    if config.global_batch_size is None and config.processes not in (None, arguments.world_size):
        console.print(
            f"{title}: the recipe is made for {config.processes} processes, and this is a run of "
            f"{arguments.world_size}: {config.batch_size * arguments.world_size} pairs see one another instead of "
            f"{config.batch_size * (config.processes or 1)}",
            soft_wrap=True,
        )
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not survive the workers' fork
    settings, tables, skipped = _data(config, console, title)
    held: Tables = {}
    if config.val_fraction:
        tables, held = hold_out(tables, config.val_fraction, config.seed)
        counts = ", ".join(f"{len(held[name]) if name in held else 0} of {name}" for name in tables)
        console.print(f"{title}: rows held out: {counts}")
    corpus = Corpus(tables)
    teacher = None
    if config.loss.teacher is not None:
        console.print(f"{title}: the teacher {config.loss.teacher} reads the rows", soft_wrap=True)
        with arguments.main_process_first(desc="teacher"):  # the others find its vectors in the cache
            first = arguments.local_process_index == 0
            teacher = teacher_vectors(config.loss.teacher, config, tables, settings, device=None if first else "cpu")
    clusters = None
    if config.clusters is not None:
        pairs = config.batch_size * arguments.world_size
        if pairs % config.clusters.size:
            raise UserError(f"clusters.size {config.clusters.size} does not divide the {pairs} pairs of a global batch")
        console.print(f"{title}: {config.clusters.teacher} reads the rows, for clusters", soft_wrap=True)
        clusters = run_clusters(config, tables, settings)
    model = _model(config)
    cache = use_feature_cache(model, config.feature_cache) if "vision_tower" in config.freeze else None
    if cache is not None:
        standardise_features(model, cache, pictures_of(list(tables.values())), config.seed, console=console)
    workers = num_workers(config, cached=cache is not None)
    if cache is not None and workers:
        processor: Any = model[0].processor
        processor.feature_cache = cache = None  # a worker's features would never come back to it
    uses = uses_of(settings, model)
    keep_prompts(model, uses)
    loss = build_loss(config.loss, model, list(tables), teacher)
    lazy = config.loss.lazy_media and loss.uses_gradient_cache
    readers, preparers = processes_for(workers, lazy=lazy)
    _set_processes(arguments, model, readers)
    collator = _collator(config, model, uses, corpus, readers + preparers, lazy=lazy)
    pieces = PieceLoader(collator, workers=preparers, pin_memory=arguments.dataloader_pin_memory)
    trainer = Trainer(
        model=model,
        args=arguments,
        loss=loss,
        data_collator=collator,
        corpus=corpus,
        clock=Clock(config.batch_size * config.accumulate * arguments.world_size),
        pieces=pieces if lazy else None,
        only_trained=config.adapter is not None,
        average=None if config.ema is None else WeightAverage(model, decay=config.ema.decay, every=config.ema.every),
        task_weights={name: setting.weight for name, setting in settings.items()},
        sub_batch=(config.sub_batch or config.batch_size) if config.batches == "mixed" else None,
        clusters=clusters,
        cluster_size=1 if config.clusters is None else config.clusters.size,
    )
    if config.loss.alpha_schedule != "constant":
        trainer.add_callback(AlphaSchedule(loss, config.loss))
    trainer.remove_callback(PrinterCallback)  # it prints dictionaries; what a run reports are our callbacks
    for name, drawn in trainer.sampler.small().items():
        what = "each epoch has one batch of it, with rows seen twice" if drawn else "it is not trained on"
        rows = f"{len(tables[name]):,} rows do not fill a batch of {trainer.sampler.whole}"
        console.print(f"{title}: {name}: {rows}; {what}", soft_wrap=True)
    record = run_record(config, tables, skipped, model, {name: len(table) for name, table in held.items()})
    return Prepared(trainer, model, cache, record, held_out_benchmark(held, uses) if held else None)


def _data(config: TrainConfig, console: Console, title: str) -> tuple[Settings, Tables, list[Skipped]]:
    """Settings and usable rows of each data set, and the rows left out."""
    settings: Settings = {}
    tables: Tables = {}
    skipped: list[Skipped] = []
    opened = open_tables(config.data, config.datasets, config.setting, config.split, config.images)
    for name, (setting, table) in opened.items():
        settings[name] = setting
        tables[name], bad = table.usable(cap=setting.cap, seed=config.seed, verify_pictures=config.verify_pictures)
        skipped += bad
        if setting.hard_negatives and not table.about.negatives:
            raise UserError(f"{name}: hard_negatives, but no row has a neg_text or neg_image_path")
    if skipped:
        first = skipped[0]
        console.print(
            f"{title}: {len(skipped)} unusable rows left out, listed in {config.output / RUN_FILE}; "
            f"the first: {first.file} row {first.row}: {first.reason}"
        )
    return settings, tables, skipped


def _model(config: TrainConfig) -> EmbeddingModel | LateModel:
    """The model with its frozen parts, adapters and checkpointing."""
    # Weights that are trained are kept in 32 bits whatever the arithmetic: a step of 1e-5 is lost in 16.
    base_fits = config.adapter is not None and config.precision != "fp32"
    model = open_base(config, dtype=None if base_fits else torch.float32)
    _check_loss(config, model)
    freeze(model, config.freeze)
    if config.adapter is not None:
        add_adapter(model, config.adapter, config.freeze)
    if config.gradient_checkpointing:
        checkpoint_activations(model)
    return model


def _collator(
    config: TrainConfig,
    model: EmbeddingModel | LateModel,
    uses: dict[str, Use],
    corpus: Corpus,
    processes: int,
    *,
    lazy: bool,
) -> Collator:
    return Collator(
        model.preprocess,
        corpus,
        uses=uses,
        verbatim=config.verbatim,
        blank=config.blank,
        cuts=model.cuts,
        mixed=config.batches == "mixed",
        errors=RowErrors(config.output / ERRORS_FILE),
        seed=config.seed,
        decoded_bytes=DECODED_BYTES // max(processes, 1),
        lazy=lazy,
        roles=config.task == "late",
    )


def _set_processes(arguments: SentenceTransformerTrainingArguments, model: BaseModel, workers: int) -> None:
    """What the trainer's arguments can say only now that the model is known."""
    arguments.dataloader_num_workers = workers
    arguments.dataloader_persistent_workers = workers > 0
    arguments.dataloader_prefetch_factor = 2 if workers else None
    if torch.distributed.is_available() and torch.distributed.is_initialized():  # DDP, also of a group of one
        every_parameter_takes_part(model)
    if arguments.fsdp:
        if arguments.world_size == 1:
            raise UserError("sharding needs several processes: torchrun --nproc_per_node N -m llave.cli.main train …")
        # accelerate looks for the last norm in what this names; in the whole model it would take Normalize for one.
        vars(model)["base_model_prefix"] = "0"
        arguments.fsdp_plugin_args.setdefault("transformer_cls_names_to_wrap", layer_class(model))


def _check_loss(config: TrainConfig, model: EmbeddingModel | LateModel) -> None:
    """What the loss would refuse at the first step, before the data is read."""
    width = model.get_embedding_dimension()
    try:
        check_matryoshka(width or 0, config.loss.matryoshka_dims, config.loss.matryoshka_weights)
    except ValueError as error:
        raise UserError(f"loss: {error}") from None
    if config.loss.impl == "triton" and model.device.type != "cuda":
        raise UserError(f"loss.impl triton needs a GPU, and the model is on {model.device}; use auto")


def freeze(model: EmbeddingModel | LateModel, words: list[str]) -> None:
    """Leave the parts that a recipe names untrained.

    Raises:
        UserError: a word that no parameter is part of.
    """
    parameters = dict(model.named_parameters())
    for word in words:
        found = model.family.matching(word, parameters)
        if not found:
            there = sorted({name.removeprefix("0.model.").split(".")[0] for name in parameters})
            raise UserError(f"freeze: no parameter is part of {word!r}; the model has {', '.join(there)}")
        for name in found:
            parameters[name].requires_grad_(False)


def checkpoint_activations(model: BaseModel) -> None:
    """On the model itself: the trainer's argument for it is changing its name between versions of transformers."""
    transformer: Any = model[0]
    network: Any = transformer.model
    try:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    except ValueError as error:
        raise UserError(f"gradient_checkpointing: {error}") from None
