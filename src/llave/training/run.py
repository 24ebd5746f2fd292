"""Train a model from a recipe, on ``SentenceTransformerTrainer``."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from llave.files import recover_folder, remove_leftovers, write_json, write_text
from llave.terminal import quiet_libraries
from llave.training.arguments import training_arguments
from llave.training.callbacks import BrokenRows, MetricsFile, PairsProgress, Saved, Warnings
from llave.training.card import model_card
from llave.training.clusters import keep_clusters
from llave.training.config import TrainConfig
from llave.training.evaluation import BEST, Evaluation, check_evaluation, read_score
from llave.training.export import export_model
from llave.training.precision import with_precision
from llave.training.prepare import ERRORS_FILE, Prepared, prepare
from llave.training.processes import with_share
from llave.training.record import (
    RUN_FILE,
    check_content,
    newest_checkpoint,
    previous_run,
    resolved,
    resolved_recipe,
    training_seconds,
)
from llave.training.tracking import prepare_tracking

__all__ = ["train"]


def train(
    config: TrainConfig,
    *,
    console: Console | None = None,
    title: str = "train",
    on_save: Callable[[], None] | None = None,
) -> Path:
    """Train as ``config`` says and return the directory of the model.

    The directory is a sentence-transformers model, with ``run.json`` (resolved configuration, versions, seed,
    skipped rows), ``metrics.jsonl`` and ``checkpoints/``. A run that was killed goes on from its newest whole
    checkpoint to the weights of an uninterrupted one; a finished run is returned as it is.

    Args:
        on_save: called by every process after every checkpoint.

    Raises:
        UserError: unknown data set, a directory of another run, data that cannot be used.
    """
    quiet_libraries()
    config = with_precision(config)
    prepare_tracking(config.track, config.output)
    if config.evaluate is not None and config.evaluate.benchmark is not None and not config.val_fraction:
        check_evaluation(config.evaluate)  # before the data is read
    arguments = training_arguments(config)
    if config.global_batch_size is not None:
        config = with_share(config, arguments.world_size)
        arguments = training_arguments(config)
    first = arguments.process_index == 0
    console = console or Console(stderr=True)
    if not first:
        console = Console(quiet=True)
    output = config.output
    if config.resume == "never" and (output / RUN_FILE).exists() and first:
        shutil.rmtree(output)
    _wait()
    defaults = resolved(TrainConfig(data=config.data, output=output))
    previous = previous_run(output, resolved_recipe(config), defaults, processes=arguments.world_size)
    _wait()  # or the first process would write into the directory while another looks at it
    if previous is not None and previous["status"] == "finished":
        console.print(f"{title}: {output} is finished already (--resume never trains it again)")
        return output

    prepared = prepare(config, console, title, arguments)
    trainer = prepared.trainer
    if previous is not None:
        check_content(previous, prepared.record, output)
    if first:
        output.mkdir(parents=True, exist_ok=True)
        if trainer.clusters is not None:
            keep_clusters(output, trainer.clusters)
        write_json(output / RUN_FILE, {**prepared.record, "status": "running", "processes": arguments.world_size})
        checkpoint = newest_checkpoint(output / "checkpoints")
        recover_folder(output / BEST)
        remove_leftovers(output)
    _wait()
    if not first:
        checkpoint = newest_checkpoint(output / "checkpoints")
    trainer.add_callback(MetricsFile(output / "metrics.jsonl", trainer.clock))
    if first:
        trainer.add_callback(PairsProgress(console, title, trainer.clock))
        trainer.add_callback(Warnings(console, title))
        trainer.add_callback(BrokenRows(output / ERRORS_FILE, console, title))
    if on_save is not None:
        trainer.add_callback(Saved(on_save))
    evaluation = None
    if config.evaluate is not None:
        benchmark = check_evaluation(config.evaluate, prepared.held_out)
        evaluation = Evaluation(trainer, config, benchmark, trainer.clock)
        trainer.add_callback(evaluation)
    if checkpoint is not None:
        console.print(f"{title}: going on from {checkpoint}")
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if first and prepared.cache is not None:
        prepared.cache.save()
    _finish(config, prepared, evaluation, console, title)
    return output


def _finish(
    config: TrainConfig, prepared: Prepared, evaluation: Evaluation | None, console: Console, title: str
) -> None:
    """The final model, its card, the end of run.json, and a word on what was left out."""
    trainer, output = prepared.trainer, config.output
    _wait()  # the first process may still be writing best/, and all must agree on whether it is there
    best = read_score(output / BEST) if config.evaluate is not None and config.evaluate.keep_best else None
    if best is None:
        export_model(trainer, config, output)
    texts_cut = int(trainer.accelerator.reduce(torch.tensor(trainer.texts_cut, device=trainer.args.device)))
    if not trainer.is_world_process_zero():
        return
    steps = trainer.state.global_step
    record = {**prepared.record, "status": "finished", "steps": steps, "class": type(prepared.model[0].model).__name__}
    record["processes"] = trainer.args.world_size
    record["fusion"] = (prepared.model.fusion or "mean") if prepared.model.is_dual else None
    record |= {"seen": trainer.rows_seen(), "texts_cut": texts_cut}
    record["temperatures"] = None if trainer.temperature is None else trainer.temperature.values()
    score = best
    if best is not None:
        shutil.copytree(output / BEST, output, dirs_exist_ok=True)
        record["best"] = {key: best[key] for key in ("step", "metric", "score")}
    elif evaluation is not None and evaluation.last is not None and evaluation.last["step"] == steps:
        score = evaluation.last
    card = model_card(
        record,
        name=output.name,
        dimensions=prepared.model.get_embedding_dimension() or 0,
        processes=trainer.args.world_size,
        seconds=training_seconds(output / "metrics.jsonl"),
        citation=trainer.hardness_loss.citation,
        score=score,
    )
    write_text(output / "README.md", card)
    write_json(output / RUN_FILE, record)
    for line in _left_out(record, prepared.model.max_seq_length):
        console.print(f"{title}: {line}", soft_wrap=True)


def _left_out(record: dict[str, Any], max_seq_length: int | None) -> list[str]:
    """What a run has not used; replaced rows are told of by :class:`BrokenRows`."""
    never = {name: rows - record["seen"].get(name, 0) for name, rows in record["rows"].items()}
    lines = []
    if any(never.values()):
        counts = ", ".join(f"{name} {number:,} of {record['rows'][name]:,}" for name, number in never.items() if number)
        lines.append(f"rows never drawn in {record['steps']:,} steps of whole batches: {counts}")
    if record["skipped"]:
        lines.append(f"{len(record['skipped']):,} unusable rows were left out; {RUN_FILE} lists them")
    if record["texts_cut"]:
        reads = f"the {max_seq_length:,} tokens that the model reads"
        lines.append(f"{record['texts_cut']:,} texts were longer than {reads}, and were cut")
    return lines


def _wait() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
