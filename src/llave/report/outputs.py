"""Files of an evaluation: results, scores in the leaderboard's layout, and predictions."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from llave.evaluation.record import RunRecord
from llave.evaluation.result import EvalResult, ScoredRow, TaskResult
from llave.files import remove_leftovers, write_json, write_jsonl, write_text
from llave.report.evaluation import write_eval_report
from llave.report.titles import group_title, metric_title

__all__ = ["leaderboard", "markdown", "write_results"]

METADATA = (
    "model_name",
    "model_backbone",
    "model_size",
    "embedding_dimension",
    "max_length_tokens",
    "model_release_date",
    "url",
)
SHOWN = 3
"""Candidates that a prediction lists, best first."""


def write_results(
    result: EvalResult,
    out_dir: Path,
    about: Mapping[str, Any] | None = None,
    record: RunRecord | None = None,
    *,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write what follows, and nothing else, to a folder; the path of the report.

    - ``results.json``, ``results.md``: scores, intervals, errors;
    - ``report.html``: the same as a page, with the worst queries and published figures;
    - ``leaderboard.json``: MMEB's leaderboard's layout;
    - ``MODALITY/NAME_score.json``: every metric of a data set, where VLM2Vec's report script looks for it (an agent's
      are under ``tool``, ``gui`` and ``memory``);
    - ``predictions/NAME.jsonl``: per row the query, its relevant candidates with ranks, and the best candidates.

    Args:
        about: the model, for leaderboard and report: ``model_name``, ``embedding_dimension`` and the like.
        record: how it was run, so that ``llave eval repeat`` can do it again.
        more: keys of ``results.json`` besides these, such as those of a second stage.
    """
    remove_leftovers(out_dir)
    run = {} if record is None else {"run": record.to_json()}
    write_json(out_dir / "results.json", {**result.to_json(), **(more or {}), "model": dict(about or {}), **run})
    write_text(out_dir / "results.md", markdown(result))
    write_json(out_dir / "leaderboard.json", leaderboard(result, about or {}))
    for task in result.tasks.values():
        write_json(out_dir / _board(task) / f"{task.leaderboard}_score.json", _scores(task))
        predictions = (_prediction(result, task, row) for row in task.rows)
        write_jsonl(out_dir / "predictions" / f"{task.name}.jsonl", predictions)
    report = out_dir / "report.html"
    write_eval_report(report, result, about, preset=None if record is None else record.preset)
    return report


def leaderboard(result: EvalResult, about: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON that MMEB's leaderboard takes: metadata, and metrics by modality and data set."""
    metrics: dict[str, dict[str, Any]] = {"image": {}, "video": {}, "visdoc": {}}
    for task in result.tasks.values():
        metrics.setdefault(_board(task), {})[task.leaderboard] = _scores(task)
    return {
        "metadata": {
            **{key: about.get(key) for key in METADATA},
            "data_source": "Self-Reported",
            "report_generated_date": datetime.now(UTC).isoformat(timespec="seconds"),
            "scoring": f"llave, {result.compat}",
        },
        "metrics": metrics,
    }


def markdown(result: EvalResult) -> str:
    """Two tables: data sets, and groups. Percentages."""
    title = "P@1" if result.metric == "hit@1" else "scores"
    lines = [f"# {result.benchmark}: {title}", ""]
    lines += ["| data set | meta-task | split | metric | score % | 95% interval | queries | skipped |"]
    lines += ["|---|---|---|---|---:|---:|---:|---:|"]
    for task in result.tasks.values():
        low, high = task.ci95
        lines.append(
            f"| {_cell(task.name)} | {task.meta_task} | {task.split or ''} | {metric_title(task.metric)} "
            f"| {100 * task.score:.1f} | {100 * low:.1f} to {100 * high:.1f} | {task.queries} | {task.skipped} |"
        )
    lines += ["", "| group | data sets | score % | 95% interval |", "|---|---:|---:|---:|"]
    members, intervals = result.members(), result.group_intervals()
    for group, value in result.groups().items():
        low, high = intervals[group]
        interval = f"{100 * low:.1f} to {100 * high:.1f}"
        lines.append(f"| {group_title(group)} | {len(members[group])} | {100 * value:.1f} | {interval} |")
    lines += ["", f"Ties: {result.ties}. Intervals: bootstrap over queries. Groups: plain mean over data sets."]
    if result.compat != "strict":
        lines[-1] += f" Scored as {result.compat} does."
    if result.incomparable():
        lines += ["", "Not comparable with published scores:", "", *(f"- {line}" for line in result.incomparable())]
    if result.errors:
        cost = f"{result.skipped} rows were skipped, {result.reduced} scored with fewer negatives"
        lines += ["", f"{len(result.errors)} items could not be embedded; {cost}:", ""]
        lines += [f"- {_cell(error.file)}: {_cell(error.message)}" for error in result.errors]
    return "\n".join(lines) + "\n"


def _board(task: TaskResult) -> str:
    """Where the leaderboard has a data set."""
    return task.meta_task if task.modality == "agent" else task.modality


def _scores(task: TaskResult) -> dict[str, Any]:
    return {**task.metrics(), "num_pred": task.queries, "num_data": task.queries + task.skipped}


def _prediction(result: EvalResult, task: TaskResult, row: ScoredRow) -> dict[str, Any]:
    def shown(number: int) -> dict[str, str]:
        item = result.items.row_item(number)
        return {key: value for key in ("text", "image", "video", "audio") if (value := getattr(item, key))}

    count = min(SHOWN, len(row.scores))
    top = np.argpartition(-row.scores, count - 1)[:count]
    top = top[np.argsort(-row.scores[top], kind="stable")]
    best = [row.predicted, *(int(place) for place in top if place != row.predicted)]
    return {
        "row": row.row,
        "correct": row.correct,
        "query": shown(row.query),
        "relevant": [
            {**shown(int(row.candidates[place])), "rank": rank, "gain": gain, "score": float(row.scores[place])}
            for place, (rank, gain) in enumerate(zip(row.ranks.tolist(), row.gains.tolist(), strict=True))
        ],
        "best": [{**shown(int(row.candidates[place])), "score": float(row.scores[place])} for place in best[:SHOWN]],
    }


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
