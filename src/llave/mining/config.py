"""What ``llave data mine`` can be told."""

from dataclasses import dataclass, field
from pathlib import Path

from llave.errors import UserError
from llave.training.config import DataSetConfig

__all__ = ["MineConfig"]


@dataclass(frozen=True, kw_only=True)
class MineConfig:
    """A search for hard negatives.

    Args:
        model: a model directory, a hub id, or "nano".
        data: as in a training recipe; or a table, whose columns are guessed.
        out: folder to make, in MMEB's format, with the negatives in it.
        datasets: as in a training recipe: file, columns, prompts, cap; empty is all of the folder.
        negatives: how many per row; a row with several stands as often in the result.
        relative_margin: drop a candidate that scores above this share of the positive's score; null drops none.
        margin: drop a candidate that scores above the positive's score less this; null drops none.
        min_rank: leave out so many of the hardest candidates, which are often unmarked positives.
        max_rank: look no further than this rank.
        judge: a second model; the margins then apply to its scores of positive and candidate.
        seed: of the cap.
        batch_size: items per forward pass.
        device: e.g. cpu or cuda; null is the best there is.
        cache: folder for embeddings, so that a second search encodes nothing again; null is ~/.cache/llave/embeddings.
    """

    model: str
    data: Path
    out: Path
    datasets: dict[str, DataSetConfig] = field(default_factory=dict)
    negatives: int = 1
    relative_margin: float | None = 0.95
    margin: float | None = None
    min_rank: int = 0
    max_rank: int = 100
    judge: str | None = None
    seed: int = 0
    batch_size: int = 64
    device: str | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.negatives < 1 or self.batch_size < 1:
            raise UserError("negatives and batch_size must be at least 1")
        if not 0 <= self.min_rank < self.max_rank:
            raise UserError(f"min_rank must be at least 0 and below max_rank, got {self.min_rank} and {self.max_rank}")
        if self.relative_margin is not None and not 0 < self.relative_margin <= 1:
            raise UserError(f"relative_margin must be above 0 and at most 1, got {self.relative_margin}")
        if self.margin is not None and self.margin < 0:
            raise UserError(f"margin must be at least 0, got {self.margin}")
        if self.judge is not None and self.margin is None and self.relative_margin is None:
            raise UserError("judge: give margin or relative_margin, by which it judges")
