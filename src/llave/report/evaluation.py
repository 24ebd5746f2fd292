"""The report of one evaluation: scores with intervals, published figures beside them, and the worst queries."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llave.evaluation.result import EvalResult, TaskResult
from llave.evaluation.similarity_gap import hardest_negatives
from llave.report.gallery import PAGE_LIMIT, Thumbnails, gallery_entry
from llave.report.page import versions, write_page
from llave.report.presets import preset_summary
from llave.report.published import PublishedRow, not_comparable, published_groups, published_rows
from llave.report.titles import group_title, metric_title

__all__ = ["write_eval_report"]

SHOWN_METRICS = ("hit@1", "hit@5", "hit@10", "mrr@10", "ndcg_linear@5")
THUMBNAIL = 192
REASONS = 2
"""Reasons against a comparison that are shown at once; the others unfold."""


def write_eval_report(
    path: Path,
    result: EvalResult,
    about: Mapping[str, Any] | None = None,
    *,
    preset: Mapping[str, Any] | None = None,
    per_task: int = 4,
    limit: int = PAGE_LIMIT,
) -> None:
    """Write the report, one HTML file.

    Args:
        path: the file.
        result: the evaluation.
        about: the model, see ``llave.models.about``; ``model_name`` is in the headline.
        preset: settings of a published score beside those used, see :func:`llave.report.presets.about_preset`.
        per_task: worst queries shown per data set.
        limit: characters of all thumbnails together; what is beyond is named only.
    """
    about = dict(about or {})
    rows = published_rows(result.benchmark)
    thumbnails = Thumbnails(THUMBNAIL, limit)
    reasons = not_comparable(result) if rows else result.incomparable()
    references = [row for row in rows if row.groups and any(_figure(row, task) for task in result.tasks.values())]
    write_page(
        path,
        "eval.html.j2",
        title=f"{result.benchmark}: {about.get('model_name', 'evaluation')}",
        result=result,
        summary=_summary(result),
        groups=_groups(result),
        published=_published(result, rows, str(about.get("model_name", "this evaluation"))),
        preset=preset or None,
        preset_summary=preset_summary(preset) if preset else [],
        reasons=(reasons[:REASONS], reasons[REASONS:]),
        metrics=SHOWN_METRICS,
        references=[row.model for row in references],
        datasets=[_dataset(task, references) for task in result.tasks.values()],
        worst={
            name: [gallery_entry(entry, thumbnails) for entry in entries]
            for name, entries in hardest_negatives(result, per_task).items()
        },
        thumbnails=thumbnails,
        errors=list(dict.fromkeys((error.file, error.message) for error in result.errors)),
        settings=_settings(result, about),
    )


def _summary(result: EvalResult) -> list[str]:
    count, queries = len(result.tasks), sum(task.queries for task in result.tasks.values())
    metrics = ", ".join(dict.fromkeys(metric_title(task.metric) for task in result.tasks.values()))
    over = f"plain mean over {count} data sets" if count > 1 else "one data set"
    sentences = [f"{metrics} in percent, {over}; {queries:,} queries."]
    scores = {name: task.score for name, task in result.tasks.items()}
    best, worst = max(scores, key=scores.__getitem__), min(scores, key=scores.__getitem__)
    if scores[best] > scores[worst]:
        sentences.append(f"Best on {best} ({100 * scores[best]:.1f}), worst on {worst} ({100 * scores[worst]:.1f}).")
    if result.errors:
        cost = f"{result.skipped:,} rows were skipped, {result.reduced:,} scored against fewer candidates"
        sentences.append(f"{len(result.errors):,} items could not be embedded: {cost}.")
    return sentences


def _groups(result: EvalResult) -> list[dict[str, Any]]:
    members, intervals = result.members(), result.group_intervals()
    return [
        {
            "name": group,
            "score": score,
            "ci95": intervals[group],
            "datasets": len(members[group]),
            "queries": sum(result.tasks[name].queries for name in members[group]),
        }
        for group, score in result.groups().items()
    ]


def _published(result: EvalResult, rows: list[PublishedRow], model: str) -> dict[str, Any] | None:
    """A table, this evaluation first: a column per group that was published, or per data set where no group was.

    None where nothing published covers what this evaluation does.
    """
    scores, whole = result.groups(), published_groups(result)
    groups = sorted(whole, key=lambda group: group != "overall")
    columns = [(group_title(ours), scores[ours], [row.groups.get(whole[ours]) for row in rows]) for ours in groups]
    columns += [
        (
            f"{name} {metric_title(metric)}",
            float(task.values(metric).mean()),
            [None if row.groups else row.datasets.get(metric, {}).get(name) for row in rows],
        )
        for name, task in result.tasks.items()
        for metric in SHOWN_METRICS
    ]
    columns = [column for column in columns if any(score is not None for score in column[2])]
    if not columns:
        return None
    table = [(row, [theirs[place] for _, _, theirs in columns]) for place, row in enumerate(rows)]
    return {
        "titles": [title for title, _, _ in columns],
        "model": model,
        "scores": [ours for _, ours, _ in columns],
        "rows": [(row, figures) for row, figures in table if any(figure is not None for figure in figures)],
    }


def _figure(row: PublishedRow, task: TaskResult) -> float | None:
    return row.datasets.get(task.metric, {}).get(task.name)


def _dataset(task: TaskResult, references: list[PublishedRow]) -> dict[str, Any]:
    return {
        "task": task,
        "score": task.score,
        "ci95": task.ci95,
        "metrics": [float(task.values(metric).mean()) for metric in SHOWN_METRICS],
        "published": [_figure(row, task) for row in references],
    }


def _settings(result: EvalResult, about: Mapping[str, Any]) -> dict[str, str]:
    model = {key.replace("_", " "): str(value) for key, value in about.items() if value is not None}
    return {
        **model,
        "benchmark": result.benchmark,
        **{f"note {number}": note for number, note in enumerate(result.notes, 1)},
        "scored as": result.compat,
        "ties": result.ties,
        "items": f"{len(result.items):,}, of which {result.encoded:,} were encoded, the others cached",
        "seconds": f"{result.seconds:,.1f}",
        **versions(),
    }
