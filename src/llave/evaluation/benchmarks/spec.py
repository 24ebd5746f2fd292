"""A benchmark as data: one YAML table, from which data sets are made. A benchmark of one's own is such a file.

name: my-benchmark
defaults: {reader: captions, modality: video, meta: retrieval, metric: hit@1}
groups:
  - tasks:
      clips: {rows: clips.jsonl, media: films, columns: {video: file, text: caption}, query: "Find the clip:"}

Values of a task win over those of its group, these over the group's ``defaults``, these over the file's. In ``rows``,
``media`` and ``tables``, ``{task}`` is the task's name, or its ``leaderboard`` where that differs. ``include`` takes
the tasks and archives of a table that comes with llave before one's own; ``also: {FOLDER: [OTHER, …]}`` says what a
folder is called in another release of the same data; ``prefix`` of a group begins its tasks' names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from llave.errors import DataError
from llave.evaluation.benchmarks.task import META_TASKS, MODALITIES, Modality, Split
from llave.evaluation.metrics import METRICS

__all__ = ["Archive", "BenchmarkSpec", "Reader", "TaskSpec", "read_spec"]

Reader = Literal[
    "mmeb",
    "instructed",
    "labels",
    "questions",
    "captions",
    "moments",
    "clips",
    "beir",
    "memory",
    "gui",
    "audio_video",
    "audio_events",
]
READERS = get_args(Reader)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A data set: where its rows and media are, and how they become queries and candidates.

    Args:
        name: as results name it.
        reader: the form of the rows, see ``llave.evaluation.benchmarks.readers``.
        modality: image, video, visdoc, text, agent or audio.
        meta: meta-task.
        split: ind, ood or None.
        metric: the score that counts.
        queries: their number in the published benchmark.
        rows: file, or folder of tables, under ``rows/`` of the data or under the data itself; a hub id is such a path.
        hub: the repository in which ``rows`` is a folder; where it is none, ``rows`` is the repository.
        configs: only these configurations of the rows' data set.
        hub_split: split of the rows' data set.
        tables: of a collection: the configurations that its queries, corpus and qrels are, where they are called
            otherwise; ``FOLDER/CONFIG`` is one in a folder.
        media: folder of pictures, videos, frames or sounds.
        columns: names of the columns that a reader asks for; ``{column}`` and ``{config}`` in one are filled in.
        query: instruction before a query's text.
        target: instruction of a candidate.
        query_with_picture: instruction of a query with a picture, where it differs.
        query_with_video: the same with a video.
        labels: number of labels that every query faces; ``labels/NAME.txt`` lists them, under the data or in llave.
        options: answers that every question has.
        ask: how a question shows its options, see the reader.
        answers: how an option becomes a candidate.
        first: only so many first rows.
        every_caption: each of a row's captions is a query, not only the first.
        pictures: ``plain`` or ``hashed`` names of a corpus's pictures.
        picture_names: see :class:`~llave.evaluation.benchmarks.task.Task`.
        judged: only documents that some query has as relevant are candidates.
        itself: a query's own document is a candidate like others, see ``llave.evaluation.benchmarks.beir``.
        title: what stands between a document's title and text.
        strict: of sound events: only the very event that is asked for is right, and no other of its kind.
        ending: what an instructed query ends with, where white space is kept.
        leaderboard: name in the leaderboard's JSON, where it differs.
        source: who says that the benchmark has it, and in which form.
    """

    name: str
    reader: Reader
    modality: Modality = "image"
    meta: str = "other"
    split: Split | None = None
    metric: str = "hit@1"
    queries: int | None = None
    rows: str = ""
    hub: str = ""
    configs: list[str] = field(default_factory=list)
    hub_split: str = ""
    tables: dict[str, str] = field(default_factory=dict)
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
    judged: bool = False
    itself: bool = False
    title: str = " "
    strict: bool = False
    ending: str = "\n"
    leaderboard: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Media of a repository, or rows too, packed.

    Args:
        media: data sets whose ``media`` or ``rows`` begin with this need it (or whose reader is called so).
        files: the archive in the repository, or its pieces in order; a pattern (``*``) is all that fit, in order.
        into: where it is unpacked.
        strip: a first folder of its names that is left out.
        each: the files are archives, and not pieces of one.
        inner: an archive within it, which is unpacked beside itself.
        hub: the repository.
    """

    media: str
    files: list[str]
    into: str
    strip: str = ""
    each: bool = False
    inner: str = ""
    hub: str = ""


@dataclass(frozen=True, slots=True)
class BenchmarkSpec:
    """A table's name, its tasks, the hub's data set that holds its media, the archives, other names of folders, and
    protocols: settings of published scores by family of models, see :mod:`llave.evaluation.presets`."""

    name: str
    tasks: list[TaskSpec]
    hub: str = ""
    archives: list[Archive] = field(default_factory=list)
    also: Mapping[str, Sequence[str]] = field(default_factory=dict)
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def archives_of(self, task: TaskSpec) -> list[Archive]:
        """What must be unpacked for a data set's media and rows; of several that hold them, the first."""
        found = {}
        for name in (task.media, task.rows, task.reader):
            archive = next((a for a in self.archives if f"{name}/".startswith(f"{a.media}/")), None)
            if archive is not None:
                found[archive.media] = archive
        return list(found.values())

    def packed(self, task: TaskSpec) -> bool:
        """Whether a data set's rows come with an archive."""
        return any(f"{task.rows}/".startswith(f"{archive.media}/") for archive in self.archives)


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
    base = BenchmarkSpec("", [])
    if content.get("include"):
        base = read_spec(Path(__file__).parent / "tables" / f"{content['include']}.yaml")
    shared = content.get("defaults") or {}
    tasks = base.tasks + [
        _task(path, f"{group.get('prefix', '')}{name}", {**shared, **_group(group, str(name)), **(about or {})})
        for group in groups
        for name, about in group["tasks"].items()
    ]
    twice = {task.name for task in tasks if sum(task.name == other.name for other in tasks) > 1}
    if twice:
        raise DataError(f"{path}: two data sets are called {sorted(twice)[0]!r}")
    hub = str(content.get("hub") or "")
    try:
        own = [
            Archive(media=str(media), **{"hub": hub, **about})
            for media, about in (content.get("archives") or {}).items()
        ]
        also = {
            name: [others] if isinstance(others, str) else others
            for name, others in (content.get("also") or {}).items()
        }
    except (AttributeError, TypeError) as error:
        raise DataError(f"{path}: archives must be {{MEDIA: {{files: […], into: …}}}} ({error})") from None
    protocols = content.get("protocols") or {}
    if not isinstance(protocols, dict) or not all(isinstance(about, dict) for about in protocols.values()):
        raise DataError(f"{path}: protocols must be {{FAMILY: {{SETTING: {{…}}}}}}")
    source = str(content.get("source") or "")
    return BenchmarkSpec(
        name=str(content.get("name") or path.stem),
        tasks=[replace(task, source=task.source or source) for task in tasks],
        hub=hub,
        archives=[*own, *base.archives],
        also={**base.also, **also},
        protocols={**base.protocols, **protocols},
    )


def _group(group: dict[str, Any], name: str) -> dict[str, Any]:
    """What a group says of a task of its; the leaderboard knows it without the prefix."""
    own = {key: value for key, value in group.items() if key not in ("defaults", "tasks", "prefix")}
    return {**({"leaderboard": name} if "prefix" in group else {}), **(group.get("defaults") or {}), **own}


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
    task = TaskSpec(name=name, **about)
    called = task.leaderboard or name
    return replace(
        task,
        rows=task.rows.replace("{task}", called),
        media=task.media.replace("{task}", called),
        tables={role: table.replace("{task}", called) for role, table in task.tables.items()},
    )
