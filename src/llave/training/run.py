"""Train a model from a recipe, on ``SentenceTransformerTrainer``."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from rich.console import Console
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from transformers import PrinterCallback, set_seed

from llave.data.mmeb import MMEBFolder, TrainRow
from llave.errors import UserError
from llave.losses.functional import check_matryoshka
from llave.losses.hardness import HardnessWeightedLoss
from llave.losses.reward import EMAReward
from llave.models.load import load_model, standardise_features, use_feature_cache
from llave.models.parts import matching
from llave.models.vision_reuse import FeatureCache
from llave.terminal import quiet_libraries
from llave.training.adapters import add_adapter
from llave.training.arguments import training_arguments
from llave.training.callbacks import Clock, MetricsFile, PairsProgress, Warnings
from llave.training.card import model_card
from llave.training.config import DataSetConfig, TrainConfig
from llave.training.evaluation import BEST, Evaluation, check_evaluation, read_score
from llave.training.export import export_model, recover_directory
from llave.training.processes import every_parameter_takes_part, layer_class
from llave.training.record import RUN_FILE, newest_checkpoint, previous_run, run_record, training_seconds, write_json
from llave.training.rows import Collator, Skipped, Use, load_training_rows
from llave.training.tracking import prepare_tracking
from llave.training.trainer import Trainer

__all__ = ["Prepared", "data_sets", "prepare", "train"]


def train(config: TrainConfig, *, console: Console | None = None, title: str = "train") -> Path:
    """Train as ``config`` says and return the directory of the model.

    The directory is a sentence-transformers model, with ``run.json`` (resolved configuration, versions, seed,
    skipped rows), ``metrics.jsonl`` and ``checkpoints/``. A run that was killed goes on from its newest whole
    checkpoint to the weights of an uninterrupted one; a finished run is returned as it is.

    Raises:
        UserError: unknown data set, a directory of another run, data that cannot be used.
    """
    quiet_libraries()
    prepare_tracking(config.track, config.output)
    benchmark = None if config.evaluate is None else check_evaluation(config.evaluate)
    arguments = training_arguments(config)
    first = arguments.process_index == 0
    console = console or Console(stderr=True)
    if not first:
        console = Console(quiet=True)
    output = config.output
    if config.resume == "never" and (output / RUN_FILE).exists() and first:
        shutil.rmtree(output)
    _wait()
    previous = previous_run(config)
    _wait()  # or the first process would write into the directory while another looks at it
    if previous is not None and previous["status"] == "finished":
        console.print(f"{title}: {output} is finished already (--resume never trains it again)")
        return output

    prepared = prepare(config, console, title, arguments)
    trainer = prepared.trainer
    if first:
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / RUN_FILE, {**prepared.record, "status": "running"})
        checkpoint = newest_checkpoint(output / "checkpoints")
        recover_directory(output / BEST)
    _wait()
    if not first:
        checkpoint = newest_checkpoint(output / "checkpoints")
    trainer.add_callback(MetricsFile(output / "metrics.jsonl", trainer.clock))
    if first:
        trainer.add_callback(PairsProgress(console, title, trainer.clock))
        trainer.add_callback(Warnings(console, title))
    evaluation = None if benchmark is None else Evaluation(trainer, config, benchmark, trainer.clock)
    if evaluation is not None:
        trainer.add_callback(evaluation)
    if checkpoint is not None:
        console.print(f"{title}: going on from {checkpoint}")
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if first and prepared.cache is not None:
        prepared.cache.save()
    _finish(config, prepared, evaluation)
    return output


def _finish(config: TrainConfig, prepared: "Prepared", evaluation: Evaluation | None) -> None:
    """The final model, its card, and the end of run.json."""
    trainer, output = prepared.trainer, config.output
    _wait()  # the first process may still be writing best/, and all must agree on whether it is there
    best = read_score(output / BEST) if config.evaluate is not None and config.evaluate.keep_best else None
    if best is None:
        export_model(trainer, config, output)
    if not trainer.is_world_process_zero():
        return
    steps = trainer.state.global_step
    record = {**prepared.record, "status": "finished", "steps": steps, "class": type(prepared.model[0].model).__name__}
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
    (output / "README.md").write_text(card, "utf-8")
    write_json(output / RUN_FILE, record)


def _wait() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run before its first step. ``record`` is what run.json holds."""

    trainer: Trainer
    model: SentenceTransformer
    cache: FeatureCache | None
    record: dict[str, Any]


def prepare(
    config: TrainConfig, console: Console, title: str, arguments: SentenceTransformerTrainingArguments | None = None
) -> Prepared:
    """Everything up to the first step: data and model read and checked."""
    arguments = arguments or training_arguments(config)
    set_seed(config.seed)
    folder = MMEBFolder(config.data)
    settings = data_sets(config, folder)
    rows: dict[str, list[TrainRow]] = {}
    skipped: list[Skipped] = []
    for name, setting in settings.items():
        rows[name], bad = load_training_rows(
            folder, name, cap=setting.cap, seed=config.seed, verify_pictures=config.verify_pictures
        )
        skipped += bad
    if skipped:
        first = skipped[0]
        console.print(
            f"{title}: {len(skipped)} unusable rows left out, listed in {config.output / RUN_FILE}; "
            f"the first: {first.file} row {first.row}: {first.reason}"
        )
    # Weights that are trained are kept in 32 bits whatever the arithmetic: a step of 1e-5 is lost in 16.
    base_fits = config.adapter is not None and config.precision != "fp32"
    model = load_model(config.model, dtype=None if base_fits else torch.float32)
    _check_loss(config, model)
    _freeze(model, config.freeze)
    if config.adapter is not None:
        add_adapter(model, config.adapter, config.freeze)
    if config.gradient_checkpointing:
        _checkpoint_activations(model)
    cache = use_feature_cache(model, config.feature_cache) if "vision_tower" in config.freeze else None
    if cache is not None:
        items = (item for data in rows.values() for row in data for item in (row.query, row.positive))
        pictures = {path for path in map(folder.image, items) if path is not None}
        standardise_features(model, cache, sorted(pictures), config.seed)
    reward = EMAReward(model, decay=config.loss.ema_decay) if config.loss.reward == "ema" else None
    loss = HardnessWeightedLoss(
        model,
        temperature=config.loss.temperature,
        alpha=config.loss.alpha,
        mini_batch_size=config.loss.mini_batch_size,
        mini_batch_num_tokens=config.loss.mini_batch_num_tokens,
        reward=reward or "self",
        matryoshka_dims=config.loss.matryoshka_dims,
        matryoshka_weights=config.loss.matryoshka_weights,
        impl=config.loss.impl,
    )
    if arguments.world_size > 1:
        every_parameter_takes_part(model)
    if arguments.fsdp:
        if arguments.world_size == 1:
            raise UserError("sharding needs several processes: torchrun --nproc_per_node N -m llave.cli.main train …")
        # accelerate looks for the last norm in what this names; in the whole model it would take Normalize for one.
        vars(model)["base_model_prefix"] = "0"
        arguments.fsdp_plugin_args.setdefault("transformer_cls_names_to_wrap", layer_class(model))
    trainer = _trainer(config, arguments, model, loss, reward, folder, rows, settings)
    trainer.remove_callback(PrinterCallback)  # it prints dictionaries; what a run reports are our callbacks
    return Prepared(trainer, model, cache, run_record(config, rows, skipped))


def _check_loss(config: TrainConfig, model: SentenceTransformer) -> None:
    """What the loss would refuse at the first step, before the data is read."""
    width = model.get_embedding_dimension()
    try:
        check_matryoshka(width or 0, config.loss.matryoshka_dims, config.loss.matryoshka_weights)
    except ValueError as error:
        raise UserError(f"loss: {error}") from None
    if config.loss.impl == "triton" and model.device.type != "cuda":
        raise UserError(f"loss.impl triton needs a GPU, and the model is on {model.device}; use auto")


def data_sets(config: TrainConfig, folder: MMEBFolder) -> dict[str, DataSetConfig]:
    """The data sets to train on; all of the folder's where the recipe names none."""
    known = folder.names("train")
    if not known:
        raise UserError(f"{folder.root}: no training data (train/ is empty)")
    unknown = sorted(set(config.datasets) - set(known))
    if unknown:
        raise UserError(f"no data set {', '.join(unknown)} in {folder.root / 'train'}; there are: {', '.join(known)}")
    return config.datasets or {name: DataSetConfig() for name in known}


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


def _trainer(
    config: TrainConfig,
    arguments: SentenceTransformerTrainingArguments,
    model: SentenceTransformer,
    loss: HardnessWeightedLoss,
    reward: EMAReward | None,
    folder: MMEBFolder,
    rows: dict[str, list[TrainRow]],
    settings: dict[str, DataSetConfig],
) -> Trainer:
    index = [(name, row) for name, data in rows.items() for row in range(len(data))]
    dataset = Dataset.from_dict({"dataset": [name for name, _ in index], "row": [row for _, row in index]})
    collator = Collator(
        model.preprocess,
        folder,
        rows,
        uses={
            name: Use(setting.query_prompt, setting.target_prompt, setting.hard_negatives)
            for name, setting in settings.items()
        },
    )
    return Trainer(
        model=model,
        args=arguments,
        train_dataset=dataset,
        loss=loss,
        data_collator=collator,
        clock=Clock(config.batch_size * arguments.world_size),
        only_trained=config.adapter is not None,
        task_weights={name: setting.weight for name, setting in settings.items()},
        reward=reward,
    )
