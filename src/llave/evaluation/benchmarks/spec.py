"""A benchmark as data: one YAML table, from which data sets are made. A benchmark of one's own is such a file.

name: my-benchmark
defaults: {reader: captions, modality: video, meta: retrieval, metric: hit@1}
groups:
  - tasks:
      clips: {rows: clips.jsonl, media: films, columns: {video: file, text: caption}, query: "Find the clip:"}

Values of a task win over those of its group, these over the group's ``defaults``, these over the file's.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from llave.errors import DataError
from llave.evaluation.benchmarks.task import META_TASKS, MODALITIES, Modality, Split
from llave.evaluation.metrics import METRICS

__all__ = ["Archive", "BenchmarkSpec", "Reader", "TaskSpec", "read_spec"]

Reader = Literal["mmeb", "instructed", "labels", "questions", "captions", "moments", "clips", "beir"]
READERS = get_args(Reader)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A data set: where its rows and media are, and how they become queries and candidates.

    Args:
        name: as results name it.
        reader: the form of the rows, see ``llave.evaluation.benchmarks.readers``.
        modality: image, video or visdoc.
        meta: meta-task.
        split: ind, ood or None.
        metric: the score that counts.
        queries: their number in the published benchmark.
        rows: file, or folder of tables, under ``rows/`` of the data or under the data itself; a hub id is such a path.
        configs: only these configurations of the rows' data set.
        hub_split: split of the rows' data set.
        media: folder of pictures, videos or frames.
        columns: names of the columns that a reader asks for; ``{column}`` and ``{config}`` in one are filled in.
        query: instruction before a query's text.
        target: instruction of a candidate.
        query_with_picture: instruction of a query with a picture, where it differs.
        query_with_video: the same with a video.
        labels: number of labels that every query faces; ``labels/NAME.txt`` lists them.
        options: answers that every question has.
        ask: how a question shows its options, see the reader.
        answers: how an option becomes a candidate.
        first: only so many first rows.
        every_caption: each of a row's captions is a query, not only the first.
        pictures: ``plain`` or ``hashed`` names of a corpus's pictures.
        picture_names: see :class:`~llave.evaluation.benchmarks.task.Task`.
        ending: what an instructed query ends with, where white space is kept.
        leaderboard: name in the leaderboard's JSON, where it differs.
    """

    name: str
    reader: Reader
    modality: Modality = "image"
    meta: str = "other"
    split: Split | None = None
    metric: str = "hit@1"
    queries: int | None = None
    rows: str = ""
    configs: list[str] = field(default_factory=list)
    hub_split: str = ""
    media: str = ""
    columns: dict[str, Any] = field(default_factory=dict)
    query: str = ""
    target: str = ""
    query_with_picture: str = ""
    query_with_video: str = ""
    labels: int | None = None
    options: list[str] = field(default_factory=list)
    ask: str = "question"
    answers: str = "plain"
    first: int | None = None
    every_caption: bool = False
    pictures: str = "plain"
    picture_names: bool = False
    ending: str = "\n"
    leaderboard: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Media of the benchmark's repository, packed.

    Args:
        media: data sets whose ``media`` begins with this need it (or whose reader is called so).
        files: the archive in the repository, or its pieces in order.
        into: where it is unpacked.
        strip: a first folder of its names that is left out.
    """

    media: str
    files: list[str]
    into: str
    strip: str = ""


@dataclass(frozen=True, slots=True)
class BenchmarkSpec:
    """A table's name, its tasks, the hub's data set that holds its media, the archives there, and protocols: settings
    of published scores by family of models, see :mod:`llave.evaluation.presets`."""

    name: str
    tasks: list[TaskSpec]
    hub: str = ""
    archives: list[Archive] = field(default_factory=list)
    protocols: dict[str, dict[str, Any]] = field(default_factory=dict)


KEYS = {each.name for each in fields(TaskSpec)} - {"name"}


def read_spec(path: Path) -> BenchmarkSpec:
    """The table of a YAML file.

    Raises:
        DataError: not such a table; the message names the task and the key.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot read ({' '.join(str(error).split())})") from None
    groups = content.get("groups") if isinstance(content, dict) else None
    if not isinstance(groups, list) or not all(
        isinstance(g, dict) and isinstance(g.get("tasks"), dict) for g in groups
    ):
        raise DataError(f"{path}: expected {{name: …, groups: [{{tasks: {{NAME: {{…}}}}}}]}}")
    shared = content.get("defaults") or {}
    tasks = [
        _task(path, str(name), {**shared, **(group.get("defaults") or {}), **_own(group), **(about or {})})
        for group in groups
        for name, about in group["tasks"].items()
    ]
    twice = {task.name for task in tasks if sum(task.name == other.name for other in tasks) > 1}
    if twice:
        raise DataError(f"{path}: two data sets are called {sorted(twice)[0]!r}")
    try:
        archives = [Archive(media=str(media), **about) for media, about in (content.get("archives") or {}).items()]
    except (AttributeError, TypeError) as error:
        raise DataError(f"{path}: archives must be {{MEDIA: {{files: […], into: …}}}} ({error})") from None
    protocols = content.get("protocols") or {}
    if not isinstance(protocols, dict) or not all(isinstance(about, dict) for about in protocols.values()):
        raise DataError(f"{path}: protocols must be {{FAMILY: {{SETTING: {{…}}}}}}")
    name, hub = str(content.get("name") or path.stem), str(content.get("hub") or "")
    return BenchmarkSpec(name, tasks, hub, archives, protocols)


def _own(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in ("defaults", "tasks")}


def _task(path: Path, name: str, about: dict[str, Any]) -> TaskSpec:
    where = f"{path}: {name}"
    unknown = sorted(set(about) - KEYS)
    if unknown:
        raise DataError(f"{where}: unknown key {unknown[0]!r}; there are: {', '.join(sorted(KEYS))}")
    if "reader" not in about:
        raise DataError(f"{where}: needs a reader: {', '.join(READERS)}")
    for key, allowed in (
        ("reader", READERS),
        ("modality", MODALITIES),
        ("meta", META_TASKS),
        ("split", ("ind", "ood")),
    ):
        if about.get(key) is not None and about[key] not in allowed:
            raise DataError(f"{where}: {key} must be one of {', '.join(allowed)}, not {about[key]!r}")
    if str(about.get("metric", "hit@1")).partition("@")[0] not in METRICS:
        raise DataError(f"{where}: metric must be one of {', '.join(METRICS)} with @K, not {about['metric']!r}")
    return TaskSpec(name=name, **about)
