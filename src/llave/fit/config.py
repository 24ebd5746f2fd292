"""What ``llave fit`` can be told. Every field is a ``--flag``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llave.errors import UserError
from llave.fit.columns import Asked

__all__ = ["FitConfig"]


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """A model of one's own.

    Args:
        source: a table (.csv, .tsv, .jsonl, .json, .parquet), or a folder whose folders are labels.
        out: the model goes here, with report.html and fit.json; null is runs/fit-NAME.
        base: model to start from: a directory, a hub id or "nano"; null is the quickstart's, or else "nano".
        picture: column of pictures, of a pair or of what has a label; null guesses, as do the others.
        text: column of texts, likewise.
        label: column of labels: the rows are classes.
        query: column of queries, of pairs or triplets; pictures or texts.
        positive: column of what belongs to the query.
        negative: column of what does not.
        images: folder that paths of pictures are relative to; null is the table's, or images/ there.
        epochs: passes over the training part; null suits its size.
        learning_rate: the peak; null suits the model.
        lora: train low-rank adapters instead of the weights: "auto" for a model that is large, or too large for the
            memory.
        minutes: budget of the training, by the time that its first steps take; null is none.
        seed: of the parts and of the training.
        json: print fit.json instead of lines.
    """

    source: Path
    out: Path | None = None
    base: str | None = None
    picture: str | None = None
    text: str | None = None
    label: str | None = None
    query: str | None = None
    positive: str | None = None
    negative: str | None = None
    images: Path | None = None
    epochs: float | None = None
    learning_rate: float | None = None
    lora: Literal["auto", "yes", "no"] = "auto"
    minutes: float | None = None
    seed: int = 0
    json: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate", "minutes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UserError(f"--{name} must be above 0, got {value:g}")

    @property
    def asked(self) -> Asked:
        """The columns that are named."""
        return Asked(
            picture=self.picture,
            text=self.text,
            label=self.label,
            query=self.query,
            positive=self.positive,
            negative=self.negative,
        )
