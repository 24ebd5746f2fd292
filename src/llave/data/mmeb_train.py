"""The 20 data sets of MMEB-train, and how the hub lays them out.

    SUBSET/SPLIT-00000-of-00001.parquet   SPLIT is original or diverse_instruction; train is an older copy
    images_zip/FOLDER.zip                 unpacked into images/; rows say "images/FOLDER/Train/…"

So paths in the rows are relative to the folder itself, not to its ``images/``. Source: VLM2Vec, arXiv 2410.05160,
and the repository TIGER-Lab/MMEB-train.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from llave.errors import UserError

__all__ = ["REPOSITORY", "SPLITS", "TASKS", "MetaTask", "TrainTask", "check_subsets", "suggestion"]

REPOSITORY = "TIGER-Lab/MMEB-train"
SPLITS = ("original", "diverse_instruction")
MetaTask = Literal["classification", "vqa", "retrieval", "grounding"]


@dataclass(frozen=True, slots=True)
class TrainTask:
    """A data set of MMEB-train: its meta-task and about how many rows it has."""

    name: str
    meta: MetaTask
    rows: int


TASKS = (
    TrainTask("ImageNet_1K", "classification", 100_000),
    TrainTask("N24News", "classification", 49_000),
    TrainTask("HatefulMemes", "classification", 8_000),
    TrainTask("VOC2007", "classification", 8_000),
    TrainTask("SUN397", "classification", 20_000),
    TrainTask("OK-VQA", "vqa", 9_000),
    TrainTask("A-OKVQA", "vqa", 17_000),
    TrainTask("DocVQA", "vqa", 40_000),
    TrainTask("InfographicsVQA", "vqa", 24_000),
    TrainTask("ChartQA", "vqa", 28_000),
    TrainTask("Visual7W", "vqa", 70_000),
    TrainTask("VisDial", "retrieval", 123_000),
    TrainTask("CIRR", "retrieval", 26_000),
    TrainTask("VisualNews_t2i", "retrieval", 100_000),
    TrainTask("VisualNews_i2t", "retrieval", 100_000),
    TrainTask("MSCOCO_t2i", "retrieval", 100_000),
    TrainTask("MSCOCO_i2t", "retrieval", 113_000),
    TrainTask("NIGHTS", "retrieval", 16_000),
    TrainTask("WebQA", "retrieval", 17_000),
    TrainTask("MSCOCO", "grounding", 100_000),
)


def check_subsets(names: Iterable[str]) -> list[str]:
    """The names, each once.

    Raises:
        UserError: a name that is not one of MMEB-train's.
    """
    known = [task.name for task in TASKS]
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in known:
            raise UserError(f"MMEB-train has no data set {name!r}{suggestion(name, known)}; it has {', '.join(known)}")
    return chosen


def suggestion(name: str, known: Iterable[str]) -> str:
    """``", did you mean 'NAME'?"``, or nothing where no name is near."""
    folded = {other.lower().replace("_", "-"): other for other in known}
    near = difflib.get_close_matches(name.lower().replace("_", "-"), folded, n=1, cutoff=0.75)
    return f", did you mean {folded[near[0]]!r}?" if near else ""
