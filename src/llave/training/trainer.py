"""sentence-transformers' trainer with what contrastive training over many data sets lacks in it."""

import itertools
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import transformers
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformerTrainer
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader

from llave.data.corpus import Corpus
from llave.data.sampler import GlobalBatchSampler
from llave.errors import DataError, UserError
from llave.losses.hardness import HardnessWeightedLoss
from llave.losses.reward import EMAReward
from llave.losses.temperature import LearnedTemperature
from llave.models.late import LateModel
from llave.models.model import EmbeddingModel
from llave.training.adapters import load_saved, save_trained
from llave.training.averaging import WeightAverage
from llave.training.callbacks import Clock, peak_bytes
from llave.training.loss import TEMPERATURE
from llave.training.pieces import PieceLoader, start_method
from llave.training.processes import shard_on_cpus
from llave.training.rows import FAILURE, ROWS, TASK, TEXTS_CUT

__all__ = ["Trainer"]

EMA_FILE = "ema_reward.safetensors"
TEMPERATURE_FILE = "temperature.safetensors"
AVERAGE_FILE = "average.safetensors"


class Trainer(SentenceTransformerTrainer):
    """sentence-transformers' trainer with global batches across all ranks, and checkpoints of what is trained.

    Args:
        corpus: the training rows; the collator gets their numbers.
        clock: what counts as training time.
        task_weights: rows per epoch by data set, as a multiple of its size.
        sub_batch: None makes every global batch of one data set; see :class:`GlobalBatchSampler`.
        clusters, cluster_size: see :class:`GlobalBatchSampler`.
        pieces: prepares the mini-batches of lazy batches; None where batches come prepared.
        only_trained: checkpoints hold the trained parameters alone (adapters), not the whole model.
        average: of the weights, which is exported instead of them.
    """

    def __init__(
        self,
        *,
        loss: HardnessWeightedLoss,
        corpus: Corpus,
        clock: Clock,
        task_weights: dict[str, float],
        sub_batch: int | None,
        clusters: Mapping[str, NDArray[np.int64]] | None = None,
        cluster_size: int = 1,
        pieces: PieceLoader | None = None,
        only_trained: bool = False,
        average: WeightAverage | None = None,
        **kwargs: Any,
    ) -> None:
        self.hardness_loss = loss
        self.corpus = corpus
        self.clock = clock
        self.task_weights = task_weights
        self.sub_batch = sub_batch
        self.clusters = clusters
        self.cluster_size = cluster_size
        self.pieces = pieces
        self.reward = loss.reward if isinstance(loss.reward, EMAReward) else None
        self.temperature = loss.temperature if isinstance(loss.temperature, LearnedTemperature) else None
        self.only_trained = only_trained
        self.average = average
        self.texts_cut = 0
        numbers = Dataset(pa.table({"row": np.arange(len(corpus), dtype=np.int32)}))
        super().__init__(loss=loss, train_dataset=numbers, **kwargs)
        if average is not None:
            self.add_callback(average)

    @property
    def sentence_model(self) -> EmbeddingModel | LateModel:
        """The model without the wrappers of several processes."""
        model = self.accelerator.unwrap_model(self.model)
        assert isinstance(model, EmbeddingModel | LateModel)
        return model

    def averaged(self) -> AbstractContextManager[None]:
        """Within it the model has its average, if it keeps one: what is exported and evaluated."""
        return nullcontext() if self.average is None else self.average.applied()

    def create_accelerator_and_postprocess(self) -> None:
        """Also FSDP on CPUs, which works (over gloo) though accelerate passes over it without a word."""
        super().create_accelerator_and_postprocess()
        if self.args.fsdp and not self.is_fsdp_enabled:
            shard_on_cpus(self.accelerator, self.args.fsdp_plugin_args)
            self.is_fsdp_enabled = True

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """With every loss also the similarities within the batch, the speed, and the peak memory."""
        if "loss" in logs:
            speed = {"pairs_per_second": self.clock.pairs_per_second(self.state.global_step)}
            memory = {"memory_gib": peak_bytes() / 2**30}
            logs = {**logs, **self.hardness_loss.last_similarity(), **speed, **memory}
            if self.temperature is not None:
                learned = self.temperature.values()
                logs |= {f"temperature_{name}".removesuffix("_"): value for name, value in learned.items()}
        super().log(logs, start_time)

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        """Without the temperature: decay would draw it to 1."""
        return [name for name in super().get_decay_parameter_names(model) if not name.startswith(TEMPERATURE)]

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None: it would describe the rows' bookkeeping columns as if they were texts; see ``card``."""

    def get_batch_sampler(self, dataset: Dataset, batch_size: int, *args: Any, **kwargs: Any) -> BatchSampler:
        """The sampler of global batches."""
        assert batch_size == self.args.train_batch_size
        return self.sampler

    @cached_property
    def sampler(self) -> GlobalBatchSampler:
        """Which rows are seen together.

        Raises:
            UserError: too few rows for one batch.
        """
        try:
            return GlobalBatchSampler(
                self.corpus.ids(),
                batch_size=self.args.train_batch_size,
                world_size=self.args.world_size,
                seed=self.args.seed,
                weights=self.task_weights,
                sub_batch=self.sub_batch,
                clusters=self.clusters,
                cluster_size=self.cluster_size,
            )
        except ValueError as error:
            raise UserError(str(error)) from None

    def rows_seen(self) -> dict[str, int]:
        """How many different rows of each data set the steps so far have shown, in all processes and all epochs."""
        sampler, steps = self.sampler, self.state.global_step
        seen: list[Any] = []
        for epoch in itertools.count():
            sampler.set_epoch(epoch)
            batches = sampler.global_batches()
            seen.append(np.unique(batches[: steps * self.args.gradient_accumulation_steps]))
            steps -= -(-len(batches) // self.args.gradient_accumulation_steps)
            if steps <= 0:
                break
        place = np.searchsorted(list(sampler.first.values()), np.unique(np.concatenate(seen)), side="right") - 1
        counts = np.bincount(place, minlength=len(sampler.first)).tolist()
        return {name: count for name, count in zip(sampler.first, counts, strict=True) if count}

    def _prepare_inputs(self, inputs: Any) -> Any:
        if FAILURE in inputs:
            raise DataError(inputs[FAILURE])
        self.texts_cut += inputs.pop(TEXTS_CUT, 0)
        task = inputs.pop(TASK, 0)
        if self.temperature is not None:
            self.temperature.current = task
        return super()._prepare_inputs(inputs)

    def collect_features(self, inputs: dict[str, Any]) -> tuple[list[dict[str, Any]], Tensor | None]:
        """Columns and labels; of a lazy batch, columns whose mini-batches come when they are embedded."""
        if ROWS not in inputs:
            return super().collect_features(inputs)
        assert self.pieces is not None
        return self.pieces.columns(inputs, self._prepare_input), inputs["label"]

    def get_train_dataloader(self) -> DataLoader[Any]:
        """With several ranks, epochs that reach the sampler also in a resumed run.

        The trainer tells the epoch to a sampler one wrapper deep; skipping the batches of a resumed epoch adds a
        second one.
        """
        if self.pieces is not None:
            self.pieces.start()
        loader = super().get_train_dataloader()
        shard = loader.batch_sampler
        if isinstance(shard, BatchSamplerShard):
            shard.set_epoch = shard.batch_sampler.set_epoch
        return loader

    def _build_dataloader(self, *args: Any, **kwargs: Any) -> DataLoader[Any]:
        """With a generator of its own for the workers' seeds, and forked workers.

        They would be drawn from the global one, once per process start: a resumed run would then drop out other
        units than an uninterrupted one whose workers persist.
        """
        loader = super()._build_dataloader(*args, **kwargs)
        loader.generator = torch.Generator().manual_seed(self.args.seed)
        loader.multiprocessing_context = start_method(loader.num_workers)
        return loader

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Also what we keep, on disk before the trainer's state makes the checkpoint whole."""
        super().save_model(output_dir, _internal_call)
        if output_dir is None or not self.is_world_process_zero():
            return
        if self.reward is not None:
            self.reward.follow()  # as of the last optimiser step; the next forward would call it otherwise
        for name, part in self._kept().items():
            save_file(part.state_dict(), Path(output_dir) / name)

    def _kept(self) -> dict[str, EMAReward | LearnedTemperature | WeightAverage]:
        """What a checkpoint holds beside the trainer's own, by file."""
        parts = {EMA_FILE: self.reward, TEMPERATURE_FILE: self.temperature, AVERAGE_FILE: self.average}
        return {name: part for name, part in parts.items() if part is not None}

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if not self.args.should_save:
            return
        if not self.only_trained:
            super()._save(output_dir, state_dict)
            return
        save_trained(self.sentence_model, Path(str(output_dir or self.args.output_dir)))

    def _save_rng_state(self, output_dir: str) -> None:
        """On every process before the trainer's state, which makes the checkpoint whole."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.is_fsdp_enabled:
            transformers.Trainer._load_from_checkpoint(self, resume_from_checkpoint, model)
        elif self.only_trained:
            load_saved(self.sentence_model, Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint)
        for name, part in self._kept().items():
            part.load_state_dict(load_file(Path(resume_from_checkpoint) / name))
