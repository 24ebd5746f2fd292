"""sentence-transformers' trainer with what contrastive training over many data sets lacks in it."""

from pathlib import Path
from typing import Any

from datasets import Dataset
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformerTrainer
from torch.utils.data import BatchSampler

from llave.data.sampler import OneTaskBatchSampler
from llave.errors import UserError
from llave.losses.hardness import HardnessWeightedLoss
from llave.losses.reward import EMAReward

__all__ = ["Trainer"]

EMA_FILE = "ema_reward.safetensors"


class Trainer(SentenceTransformerTrainer):
    """sentence-transformers' trainer with batches of one task across all ranks, and checkpoints of an EMA reward."""

    def __init__(
        self,
        *,
        loss: HardnessWeightedLoss,
        task_weights: dict[str, float],
        **kwargs: Any,
    ) -> None:
        self.hardness_loss = loss
        self.task_weights = task_weights
        self.reward = loss.reward if isinstance(loss.reward, EMAReward) else None
        super().__init__(loss=loss, **kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """With every loss also the similarities within the batch."""
        if "loss" in logs:
            logs = {**logs, **self.hardness_loss.last_similarity()}
        super().log(logs, start_time)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None: it would describe the rows' bookkeeping columns as if they were texts."""

    def get_batch_sampler(self, dataset: Dataset, batch_size: int, *args: Any, **kwargs: Any) -> BatchSampler:
        """The sampler of one data set per global batch."""
        try:
            return OneTaskBatchSampler(
                dataset["dataset"],
                batch_size=batch_size,
                world_size=self.args.world_size,
                seed=self.args.seed,
                weights=self.task_weights,
            )
        except ValueError as error:
            raise UserError(str(error)) from None

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Also the EMA reward, here so that it is on disk before the trainer's state makes the checkpoint whole."""
        super().save_model(output_dir, _internal_call)
        if self.reward is not None and output_dir is not None and self.is_world_process_zero():
            self.reward.follow()  # as of the last optimiser step; the next forward would call it otherwise
            save_file(self.reward.state_dict(), Path(output_dir) / EMA_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint)
        if self.reward is not None:
            self.reward.load_state_dict(load_file(Path(resume_from_checkpoint) / EMA_FILE))
