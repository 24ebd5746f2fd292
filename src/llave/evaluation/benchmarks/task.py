"""What a benchmark is made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from llave.data.mmeb import EvalRow, MMEBFolder, PictureFolder, RowItem
from llave.errors import DataError

__all__ = [
    "META_TASKS",
    "MODALITIES",
    "Absent",
    "Benchmark",
    "Modality",
    "Split",
    "Task",
    "TaskData",
    "Unsupported",
    "folder_task",
    "mmeb_data",
]

Split = Literal["ind", "ood"]
Modality = Literal["image", "video", "visdoc", "text", "agent", "audio"]
MODALITIES: tuple[Modality, ...] = ("image", "video", "visdoc", "text", "agent", "audio")
META_TASKS = (
    "classification",
    "vqa",
    "retrieval",
    "grounding",
    "moment_retrieval",
    "vidore_v1",
    "vidore_v2",
    "visrag",
    "visdoc_ood",
    "general_text",
    "reasoning",
    "instruction_following",
    "long_context",
    "multi_condition",
    "tool",
    "gui",
    "memory",
    "other",
)
"""Meta-tasks in the order in which they are printed."""


class Absent(DataError):
    """A data set whose rows or media are not on this machine."""


class Unsupported(DataError):
    """A data set of things that the model, or this version of llave, does not take."""


@dataclass(frozen=True, slots=True)
class TaskData:
    """Rows, and the candidates that every row faces besides its own (none where candidates are local).

    ``bad``: rows of the tables that could not be read, and what is wrong with each.
    """

    rows: Sequence[EvalRow]
    corpus: Sequence[RowItem] = ()
    bad: Sequence[DataError] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A data set of a benchmark; its rows are read when asked for, and not kept.

    Args:
        name: as results name it.
        meta_task: one of :data:`META_TASKS`.
        split: in or out of distribution of MMEB's training sets, or None where that means nothing.
        folder: where pictures and videos are.
        read: reads the rows; raises ``DataError`` for a missing or malformed file.
        where: the data's place, for messages.
        modality: what the data set is about.
        metric: the score that counts, e.g. ``"hit@1"``.
        expected: queries of the published benchmark, or None; with another number a score cannot be compared.
        published_name: in the leaderboard's files, where it differs.
        source: who says that the benchmark has it, and in which form.
        query_prompt, target_prompt: of the data set; None is the model's own.
        picture_names: a scorer of old names candidates by their picture alone (see ``llave.evaluation.compat``).
    """

    name: str
    meta_task: str
    split: Split | None
    folder: PictureFolder
    read: Callable[[], TaskData]
    where: str
    modality: Modality = "image"
    metric: str = "hit@1"
    expected: int | None = None
    query_prompt: str | None = None
    target_prompt: str | None = None
    picture_names: bool = False
    published_name: str = ""
    source: str = ""

    def rows(self) -> Sequence[EvalRow]:
        """All rows, without the corpus."""
        return self.read().rows


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A name and its data sets.

    Args:
        note: what the user should know of how they were made.
        revisions: the hub's commit of each repository whose files are read, where it can be told.
    """

    name: str
    tasks: Sequence[Task]
    note: str = ""
    revisions: Mapping[str, str] = field(default_factory=dict)


def mmeb_data(folder: MMEBFolder, name: str) -> TaskData:
    """A data set of a folder in MMEB's format."""
    bad: list[DataError] = []
    return TaskData(folder.eval(name, bad), folder.corpus(name, bad), bad)


def folder_task(
    folder: MMEBFolder,
    name: str,
    *,
    meta_task: str = "other",
    split: Split | None = None,
    modality: Modality = "image",
    metric: str = "hit@1",
) -> Task:
    """A data set of a folder in MMEB's format."""
    return Task(
        name=name,
        meta_task=meta_task,
        split=split,
        folder=folder,
        read=lambda: mmeb_data(folder, name),
        where=str(folder.path("eval", name)),
        modality=modality,
        metric=metric,
    )
