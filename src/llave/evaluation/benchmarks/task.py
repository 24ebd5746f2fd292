"""What a benchmark is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llave.data.mmeb import EvalRow, MMEBFolder

__all__ = ["META_TASKS", "Benchmark", "Split", "Task"]

Split = Literal["ind", "ood"]
META_TASKS = ("classification", "vqa", "retrieval", "grounding", "other")
"""Meta-tasks in the order in which they are printed."""


@dataclass(frozen=True, slots=True)
class Task:
    """A data set of a benchmark; its rows are read when asked for, and not kept."""

    name: str
    meta_task: str
    split: Split
    folder: MMEBFolder

    def rows(self) -> list[EvalRow]:
        """All rows.

        Raises:
            DataError: missing or malformed file.
        """
        return self.folder.eval(self.name)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A name and its data sets."""

    name: str
    tasks: Sequence[Task]
