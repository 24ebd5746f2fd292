"""sentence-transformers' trainer of cross-encoders, on lists that the collator draws."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from torch import nn

from llave.models.families import UNKNOWN
from llave.rerank.config import RerankConfig
from llave.rerank.lists import ListCollator
from llave.rerank.model import PairModel
from llave.training.adapters import load_saved, save_trained
from llave.training.arguments import common_arguments
from llave.training.callbacks import Clock, peak_bytes

__all__ = ["RankTrainer", "rank_arguments"]

HEAD = r"(^|\.)(\d+\.linear|joint_head)\.(weight|bias)$"
"""Parameters of a new head, by their names in the model or in a loss around it."""


def rank_arguments(config: RerankConfig) -> CrossEncoderTrainingArguments:
    """Those of an embedding model's recipe, as this trainer takes them.

    Raises:
        UserError: options that cannot be used.
    """
    shared = config.shared()
    mapping = {} if config.head_learning_rate is None else {HEAD: config.head_learning_rate}
    if config.projector_learning_rate is not None:
        mapping[UNKNOWN.parts["projector"].pattern] = config.projector_learning_rate
    common = {**common_arguments(shared), "per_device_train_batch_size": config.batch_size}
    return CrossEncoderTrainingArguments(**common, learning_rate_mapping=mapping, dataloader_pin_memory=False)


class RankTrainer(CrossEncoderTrainer):
    """Checkpoints of what is trained, and our log.

    Args:
        lists: collator of the run's lists.
        clock: what counts as training time.
        only_trained: checkpoints hold the trained parameters alone (adapters), not the whole model.
    """

    def __init__(
        self, *, model: PairModel, loss: nn.Module, lists: ListCollator, clock: Clock, only_trained: bool, **kwargs: Any
    ) -> None:
        self.clock = clock
        self.only_trained = only_trained
        numbers = Dataset(pa.table({"row": np.arange(len(lists.lists), dtype=np.int64)}))
        collator: Any = lists  # it decodes too, and is none of sentence-transformers' own
        super().__init__(model=model, loss=loss, train_dataset=numbers, data_collator=collator, **kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """With every loss also the speed and the peak memory."""
        if "loss" in logs:
            speed = {"pairs_per_second": self.clock.pairs_per_second(self.state.global_step)}
            logs = {**logs, **speed, "memory_gib": peak_bytes() / 2**30}
        super().log(logs, start_time)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None: it would describe the rows' bookkeeping; see :mod:`llave.rerank.card`."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if not self.only_trained:
            super()._save(output_dir, state_dict)
            return
        network: Any = self.model
        save_trained(network, Path(str(output_dir or self.args.output_dir)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        network: Any = self.model
        if self.only_trained:
            load_saved(network, Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint)
