"""Any folder in MMEB's format as a benchmark."""

import json
from pathlib import Path
from typing import Any, cast

from llave.data.mmeb import MMEBFolder
from llave.errors import DataError
from llave.evaluation.benchmarks.task import META_TASKS, MODALITIES, Benchmark, Split, Task, folder_task
from llave.evaluation.metrics import METRICS

__all__ = ["folder_benchmark"]


def folder_benchmark(root: Path) -> Benchmark:
    """The data sets in ``eval/``, described by ``benchmark.json`` where there is one.

    ``benchmark.json`` is ``{"name": …, "tasks": {NAME: {"meta": "vqa", "split": "ind"}}}``; ``modality`` (image, video
    or visdoc) and ``metric`` may follow. A data set that it does not describe is of meta-task ``other``, of pictures,
    and out of distribution if its name ends in ``_ood``; in distribution if another is called so with ``_ood``. What
    training saw of the rest nobody knows: they are of neither.

    Raises:
        DataError: nothing in ``eval/``, or a ``benchmark.json`` that is malformed or names a missing data set.
    """
    folder = MMEBFolder(root)
    names = folder.names("eval")
    if not names:
        raise DataError(f"{root / 'eval'}: no data set here (NAME.parquet, .json or .jsonl)")
    path = root / "benchmark.json"
    title, described = _read(path) if path.is_file() else (root.resolve().name, {})
    missing = [name for name in described if name not in names]
    if missing:
        raise DataError(f"{path}: no data set {missing[0]!r} in {root / 'eval'}; there are: {', '.join(names)}")
    order = [*described, *(name for name in names if name not in described)]
    pairs = {name: "ind" for name in names if f"{name}_ood" in names}
    splits = {name: "ood" if name.endswith("_ood") else pairs.get(name) for name in names}
    return Benchmark(
        title, [_task(folder, name, {"split": splits[name], **described.get(name, {})}, path) for name in order]
    )


def _task(folder: MMEBFolder, name: str, about: dict[str, Any], path: Path) -> Task:
    meta, split = about.get("meta", "other"), about["split"]
    if meta not in META_TASKS:
        raise DataError(f"{path}: {name}: meta must be one of {', '.join(META_TASKS)}, not {meta!r}")
    if split not in ("ind", "ood", None):
        raise DataError(f"{path}: {name}: split must be ind or ood, not {split!r}")
    modality, metric = about.get("modality", "image"), about.get("metric", "hit@1")
    if modality not in MODALITIES:
        raise DataError(f"{path}: {name}: modality must be one of {', '.join(MODALITIES)}, not {modality!r}")
    if str(metric).partition("@")[0] not in METRICS:
        raise DataError(f"{path}: {name}: metric must be one of {', '.join(METRICS)} with @K, not {metric!r}")
    return folder_task(
        folder, name, meta_task=meta, split=cast("Split | None", split), modality=modality, metric=metric
    )


def _read(path: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read ({error})") from None
    tasks = content.get("tasks", {}) if isinstance(content, dict) else None
    if not isinstance(tasks, dict) or not all(isinstance(about, dict) for about in tasks.values()):
        raise DataError(f'{path}: expected {{"name": …, "tasks": {{NAME: {{"meta": …, "split": …}}}}}}')
    return str(content.get("name") or path.parent.resolve().name), tasks
