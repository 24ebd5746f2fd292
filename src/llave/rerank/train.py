"""Train a reranker from a recipe, on sentence-transformers' ``CrossEncoderTrainer``."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from sentence_transformers.base.modules import Dense
from transformers import PrinterCallback, set_seed

from llave.data.corpus import Corpus
from llave.data.train_table import Skipped, TrainTable, pictures_of
from llave.errors import UserError
from llave.files import remove_leftovers, write_json, write_text
from llave.models.nano_features import standardise_features, use_feature_cache
from llave.rerank.build import build_reranker
from llave.rerank.card import reranker_card
from llave.rerank.config import RerankConfig
from llave.rerank.lists import ListCollator, Lists
from llave.rerank.losses import build_rank_loss
from llave.rerank.model import PairModel
from llave.rerank.nano import solve_projector
from llave.rerank.trainer import RankTrainer, rank_arguments
from llave.terminal import quiet_libraries
from llave.training.adapters import add_adapter, save_merged, trained_state
from llave.training.callbacks import BrokenRows, Clock, MetricsFile, PairsProgress
from llave.training.precision import with_precision
from llave.training.prepare import ERRORS_FILE, checkpoint_activations, freeze
from llave.training.record import (
    RUN_FILE,
    check_content,
    newest_checkpoint,
    previous_run,
    resolved,
    run_record,
    training_seconds,
)
from llave.training.row_errors import RowErrors
from llave.training.tables import open_tables
from llave.training.tracking import prepare_tracking

__all__ = ["train_reranker"]

Tables = dict[str, TrainTable]


def train_reranker(config: RerankConfig, *, console: Console | None = None, title: str = "rerank") -> Path:
    """Train as ``config`` says and return the directory of the reranker.

    The directory opens with ``CrossEncoder(path)`` and :meth:`llave.rerank.reranker.Reranker.open`; beside the model
    are ``run.json``, ``metrics.jsonl`` and ``checkpoints/``. A run that was killed goes on from its newest whole
    checkpoint; a finished one is returned as it is.

    Raises:
        UserError: an unknown data set, a directory of another run, data or a model that cannot be used.
    """
    quiet_libraries()
    config = dataclasses.replace(config, precision=with_precision(config.shared()).precision)
    prepare_tracking(config.track, config.output)
    arguments = rank_arguments(config)
    if arguments.world_size > 1:
        raise UserError("--task rerank trains in one process so far")
    console = console or Console(stderr=True)
    output = config.output
    if config.resume == "never" and (output / RUN_FILE).exists():
        shutil.rmtree(output)
    previous = previous_run(output, resolved(config), resolved(RerankConfig(data=config.data, output=output)))
    if previous is not None and previous["status"] == "finished":
        console.print(f"{title}: {output} is finished already (--resume never trains it again)")
        return output
    set_seed(config.seed)
    tables, skipped = _tables(config, console, title)
    corpus = Corpus(tables)
    weights = {name: config.shared().setting(name).weight for name in tables}
    lists = Lists(corpus, config.negatives, weights=weights, seed=config.seed)
    if not len(lists):
        raise UserError(f"{config.data}: no lists to train on")
    model = _model(config)
    if config.head_learning_rate is not None and not (isinstance(model[-1], Dense) or config.model == "nano"):
        raise UserError("head_learning_rate: this model has no head of its own; leave it out")
    network: Any = model  # what asks for a SentenceTransformer takes a CrossEncoder as well
    cache = use_feature_cache(network, config.feature_cache) if "vision_tower" in config.freeze else None
    if config.model == "nano":
        unmet = solve_projector(model, tables, cache=cache, seed=config.seed, console=console)
        if cache is not None:
            cache.save()  # the longest part of a short run
        processor: Any = model[0].processor
        processor.feature_cache = unmet
    elif cache is not None:
        standardise_features(network, cache, pictures_of(list(tables.values())), config.seed, console=console)
    record = {**run_record(config.shared(), tables, skipped, network, {}), "config": resolved(config)}
    if previous is not None:
        check_content(previous, record, output)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / RUN_FILE, {**record, "status": "running"})
    remove_leftovers(output)
    clock = Clock(config.batch_size * config.accumulate * (1 + config.negatives.own + config.negatives.random))
    errors = output / ERRORS_FILE
    trainer = RankTrainer(
        model=model,
        args=arguments,
        loss=build_rank_loss(config.loss, config.negatives, model),
        lists=ListCollator(lists, flat=config.loss.name == "pointwise", errors=RowErrors(errors)),
        clock=clock,
        only_trained=config.adapter is not None,
    )
    trainer.remove_callback(PrinterCallback)
    for callback in (
        clock,
        MetricsFile(output / "metrics.jsonl", clock),
        PairsProgress(console, title, clock),
        BrokenRows(errors, console, title),
    ):
        trainer.add_callback(callback)
    checkpoint = newest_checkpoint(output / "checkpoints")
    if checkpoint is not None:
        console.print(f"{title}: going on from {checkpoint}")
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if cache is not None:
        cache.save()
    _export(model, config)
    record |= {"status": "finished", "steps": trainer.state.global_step, "lists": len(lists)}
    record |= {"class": type(model[0].model).__name__, "texts_cut": model.cuts.texts}
    seconds = training_seconds(output / "metrics.jsonl")
    write_text(output / "README.md", reranker_card(record, name=output.name, seconds=seconds))
    write_json(output / RUN_FILE, record)
    if model.cuts.texts:
        reads = f"the {model.max_seq_length:,} tokens that the model reads"
        console.print(f"{title}: texts of {model.cuts.texts:,} pairs were longer than {reads}, and were cut")
    return output


def _tables(config: RerankConfig, console: Console, title: str) -> tuple[Tables, list[Skipped]]:
    shared = config.shared()
    tables: Tables = {}
    skipped: list[Skipped] = []
    for name, (setting, table) in open_tables(config.data, config.datasets, shared.setting, config.split).items():
        tables[name], bad = table.usable(cap=setting.cap, seed=config.seed, verify_pictures=config.verify_pictures)
        skipped += bad
        if config.negatives.own and not table.about.negatives:
            console.print(f"{title}: {name}: no row has a hard negative; random ones stand in", soft_wrap=True)
    if skipped:
        first = skipped[0]
        console.print(
            f"{title}: {len(skipped)} unusable rows left out, listed in {config.output / RUN_FILE}; "
            f"the first: {first.file} row {first.row}: {first.reason}"
        )
    return tables, skipped


def _model(config: RerankConfig) -> PairModel:
    """The model with its frozen parts, adapters and checkpointing."""
    base_fits = config.adapter is not None and config.precision != "fp32"
    model = build_reranker(config.model, seed=config.seed, dtype=None if base_fits else torch.float32)
    network: Any = model
    freeze(network, config.freeze)
    if config.adapter is not None and config.model == "nano":
        raise UserError("adapter: a nano reranker trains its weights, which are few; leave adapter out")
    if config.adapter is not None:
        add_adapter(network, config.adapter, config.freeze)
    if config.gradient_checkpointing:
        checkpoint_activations(network)
    return model


def _export(model: PairModel, config: RerankConfig) -> None:
    """A plain directory, adapters merged into a fresh copy of the base."""
    if config.adapter is None:
        model.save_pretrained(str(config.output))
        return
    fresh = build_reranker(config.model, seed=config.seed, device="cpu", dtype=torch.float32)
    state = trained_state(model)
    save_merged(model, state, fresh, config.adapter, config.freeze, config.output, base=model.source)
