"""Train a model from a recipe, on ``SentenceTransformerTrainer``."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from transformers import PrinterCallback, set_seed

from llave._version import __version__
from llave.data.corpus import Corpus
from llave.data.train_table import Skipped, TrainTable, pictures_of
from llave.errors import DataError, UserError
from llave.losses.functional import check_matryoshka
from llave.models.load import load_model, save_model, standardise_features, use_feature_cache
from llave.models.parts import PARTS, matching
from llave.models.vision_reuse import FeatureCache
from llave.terminal import quiet_libraries
from llave.training.callbacks import BrokenRows, MetricsFile, PairsProgress, Warnings
from llave.training.config import TrainConfig
from llave.training.loss import AlphaSchedule, build_loss
from llave.training.row_errors import RowErrors
from llave.training.rows import DECODED_BYTES, Collator, Use
from llave.training.tables import num_workers, open_tables
from llave.training.trainer import Trainer

__all__ = ["Prepared", "prepare", "train"]

RUN_FILE = "run.json"
ERRORS_FILE = "errors.jsonl"
# Where a run may go on although these differ: they do not change what is learned.
NOT_LEARNED = {
    "resume", "feature_cache", "tensorboard", "log_steps", "keep_checkpoints", "save_steps", "output", "dry_run",
    "gradient_checkpointing", "workers",
}  # fmt: skip


def train(config: TrainConfig, *, console: Console | None = None, title: str = "train") -> Path:
    """Train as ``config`` says and return the directory of the model.

    The directory is a sentence-transformers model, with ``run.json`` (resolved configuration, versions, seed,
    skipped rows), ``metrics.jsonl`` and ``checkpoints/``. A run that was killed goes on from its newest whole
    checkpoint to the weights of an uninterrupted one; a finished run is returned as it is.

    Raises:
        UserError: unknown data set, a directory of another run, data that cannot be used.
    """
    console = console or Console(stderr=True)
    quiet_libraries()
    output = config.output
    if config.resume == "never" and (output / RUN_FILE).exists():
        shutil.rmtree(output)
    previous = _previous_run(config)
    if previous is not None and previous["status"] == "finished":
        console.print(f"{title}: {output} is finished already (--resume never trains it again)")
        return output

    prepared = prepare(config, console, title)
    trainer = prepared.trainer
    output.mkdir(parents=True, exist_ok=True)
    _write_json(output / RUN_FILE, {**prepared.record, "status": "running"})
    pairs_per_step = config.batch_size * config.accumulate * trainer.args.world_size
    checkpoint = _newest_checkpoint(output / "checkpoints")
    trainer.add_callback(MetricsFile(output / "metrics.jsonl", pairs_per_step))
    if trainer.is_world_process_zero():
        trainer.add_callback(PairsProgress(console, title, pairs_per_step))
        trainer.add_callback(Warnings(console, title))
        trainer.add_callback(BrokenRows(output / ERRORS_FILE, console, title))
    if checkpoint is not None:
        console.print(f"{title}: going on from {checkpoint}")
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except DataError as error:  # from a worker it comes with the worker's traceback around it
        last = str(error).strip().splitlines()[-1]
        raise DataError(last.removeprefix(f"{DataError.__module__}.{DataError.__name__}: ")) from None
    if trainer.is_world_process_zero():
        if prepared.cache is not None:
            prepared.cache.save()
        save_model(prepared.model, output)
        _write_json(output / RUN_FILE, {**prepared.record, "status": "finished", "steps": trainer.state.global_step})
    return output


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run before its first step. ``record`` is what run.json holds."""

    trainer: Trainer
    model: SentenceTransformer
    cache: FeatureCache | None
    record: dict[str, Any]


def prepare(config: TrainConfig, console: Console, title: str) -> Prepared:
    """Everything up to the first step: data and model read and checked."""
    set_seed(config.seed)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not survive the workers' fork
    tables: dict[str, TrainTable] = {}
    skipped: list[Skipped] = []
    settings = open_tables(config)
    for name, (setting, table) in settings.items():
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
    model = load_model(config.model)
    _check_loss(config, model)
    _freeze(model, config.freeze)
    if config.gradient_checkpointing:
        _checkpoint_activations(model)
    cache = use_feature_cache(model, config.feature_cache) if "vision_tower" in config.freeze else None
    if cache is not None:
        standardise_features(model, cache, pictures_of(list(tables.values())), config.seed)
    workers = num_workers(config, cached=cache is not None)
    if cache is not None and workers:
        processor: Any = model[0].processor
        processor.feature_cache = cache = None  # a worker's features would never come back to it
    loss = build_loss(config.loss, model)
    uses = {
        name: Use(setting.query_prompt, setting.target_prompt, setting.hard_negatives)
        for name, (setting, _) in settings.items()
    }
    corpus = Corpus(tables)
    collator = Collator(
        model.preprocess,
        corpus,
        uses=uses,
        mixed=config.batches == "mixed",
        errors=RowErrors(config.output / ERRORS_FILE),
        seed=config.seed,
        decoded_bytes=DECODED_BYTES // max(workers, 1),
    )
    trainer = Trainer(
        model=model,
        args=_arguments(config, workers),
        loss=loss,
        data_collator=collator,
        corpus=corpus,
        task_weights={name: setting.weight for name, (setting, _) in settings.items()},
        sub_batch=(config.sub_batch or config.batch_size) if config.batches == "mixed" else None,
    )
    if config.loss.alpha_schedule != "constant":
        trainer.add_callback(AlphaSchedule(loss, config.loss))
    trainer.remove_callback(PrinterCallback)  # it prints dictionaries; what a run reports are our callbacks
    return Prepared(trainer, model, cache, _record(config, tables, skipped))


def _check_loss(config: TrainConfig, model: SentenceTransformer) -> None:
    """What the loss would refuse at the first step, before the data is read."""
    width = model.get_embedding_dimension()
    try:
        check_matryoshka(width or 0, config.loss.matryoshka_dims, config.loss.matryoshka_weights)
    except ValueError as error:
        raise UserError(f"loss: {error}") from None
    if config.loss.impl == "triton" and model.device.type != "cuda":
        raise UserError(f"loss.impl triton needs a GPU, and the model is on {model.device}; use auto")


def _freeze(model: SentenceTransformer, words: list[str]) -> None:
    parameters = dict(model.named_parameters())
    for word in words:
        found = matching(word, parameters)
        if not found:
            there = sorted({name.removeprefix("0.model.").split(".")[0] for name in parameters})
            raise UserError(f"freeze: no parameter is part of {word!r}; the model has {', '.join(there)}")
        for name in found:
            parameters[name].requires_grad_(False)


def _checkpoint_activations(model: SentenceTransformer) -> None:
    """On the model itself: the trainer's argument for it is changing its name between versions of transformers."""
    network: Any = model[0].model
    try:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    except ValueError as error:
        raise UserError(f"gradient_checkpointing: {error}") from None


def _arguments(config: TrainConfig, workers: int) -> SentenceTransformerTrainingArguments:
    mapping = (
        {} if config.projector_learning_rate is None else {PARTS["projector"].pattern: config.projector_learning_rate}
    )
    return SentenceTransformerTrainingArguments(
        output_dir=str(config.output / "checkpoints"),
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulate,
        num_train_epochs=config.epochs,
        max_steps=config.max_steps,
        learning_rate=config.learning_rate,
        learning_rate_mapping=mapping,
        weight_decay=config.weight_decay,
        warmup_steps=config.warmup,
        lr_scheduler_type=config.schedule if config.schedule != "constant" else "constant_with_warmup",
        seed=config.seed,
        use_cpu=not torch.accelerator.is_available(),
        bf16=config.precision == "bf16",
        fp16=config.precision == "fp16",
        save_strategy="steps" if config.save_steps else "epoch",
        save_steps=config.save_steps or 500,
        save_total_limit=config.keep_checkpoints,
        logging_steps=config.log_steps,
        report_to=["tensorboard"] if config.tensorboard else [],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_drop_last=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        dataloader_num_workers=workers,
        dataloader_persistent_workers=workers > 0,
        dataloader_prefetch_factor=2 if workers else None,
        ddp_find_unused_parameters=False,
    )


def _previous_run(config: TrainConfig) -> dict[str, Any] | None:
    """The record of a run in the output directory, if it is a run of this configuration."""
    path = config.output / RUN_FILE
    if not path.is_file():
        if config.output.is_dir() and any(config.output.iterdir()):
            raise UserError(f"{config.output}: not empty and not a training run; choose another --output")
        return None
    previous: dict[str, Any] = json.loads(path.read_text("utf-8"))
    current = _resolved(config)
    different = sorted(key for key in current if key not in NOT_LEARNED and previous["config"].get(key) != current[key])
    if different:
        raise UserError(
            f"{config.output}: holds a run with another {', '.join(different)}; "
            "choose another --output, or --resume never to replace it"
        )
    return previous


def _newest_checkpoint(directory: Path) -> Path | None:
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


def _resolved(config: TrainConfig) -> dict[str, Any]:
    resolved: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return resolved


def _record(config: TrainConfig, tables: dict[str, TrainTable], skipped: list[Skipped]) -> dict[str, Any]:
    packages = ("torch", "transformers", "sentence-transformers", "accelerate", "numpy")
    return {
        "config": _resolved(config),
        "rows": {name: len(table) for name, table in tables.items()},
        "skipped": [dataclasses.asdict(row) for row in skipped],
        "versions": {
            "llave": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "machine": {"platform": platform.platform(), "threads": torch.get_num_threads(), "cpus": os.cpu_count()},
        "command": sys.argv,
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
    partial.replace(path)
