"""The report of ``llave fit``: scores before and after, the parts, the worst mistakes, and what was not used."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llave.evaluation.compare import Difference
from llave.evaluation.result import EvalResult, ScoredRow
from llave.report.gallery import PAGE_LIMIT, Thumbnails, gallery_part
from llave.report.page import versions, write_page

__all__ = ["write_fit_report"]

MISTAKES = 12
LISTED = 200
THUMBNAIL = 160


def write_fit_report(
    path: Path,
    record: Mapping[str, Any],
    differences: Sequence[Difference],
    where: Mapping[str, Sequence[str]],
    before: EvalResult,
    after: EvalResult,
    *,
    mistakes: int = MISTAKES,
) -> None:
    """Write the report, one HTML file.

    Args:
        path: the file.
        record: what ``fit.json`` holds.
        differences: of the data sets, and of their mean, which comes last.
        where: by data set, the row of the user's table that each query is of.
        before, after: evaluations of the test part.
        mistakes: shown of each data set.
    """
    thumbnails = Thumbnails(THUMBNAIL, PAGE_LIMIT)
    data, training = record["data"], record["training"]
    base = str(record["asked"]["base"])
    listed = [(each["where"], each["reason"]) for each in data["left_out_rows"]]
    write_page(
        path,
        "fit.html.j2",
        title=f"{Path(record['asked']['source']).name}: before and after",
        record=record,
        data=data,
        base=base,
        differences=differences,
        intervals=[(each["a_ci95"], each["b_ci95"]) for each in record["scores"]["datasets"]],
        reach=max([0.01, *(abs(end) for each in differences for end in each.ci95)]),
        worst={name: _mistakes(before, after, name, where[name], mistakes, thumbnails) for name in after.tasks},
        thumbnails=thumbnails,
        left_out=listed[:LISTED],
        more=sum(data["left_out"].values()) - len(listed[:LISTED]),
        training=_training(training),
        errors=list(dict.fromkeys((error.file, error.message) for error in after.errors)),
        settings={
            **{name: str(value) for name, value in record["asked"].items() if value is not None},
            "device": training["machine"]["device"],
            "seconds": f"{record['seconds']:,.0f}",
            **versions(),
        },
    )


def _mistakes(
    before: EvalResult, after: EvalResult, name: str, where: Sequence[str], count: int, thumbnails: Thumbnails
) -> dict[str, Any]:
    """The queries whose right candidate falls furthest behind, and how many are wrong now, then, and both times."""
    then = {row.row: row for row in before.tasks[name].rows}
    wrong = [row for row in after.tasks[name].rows if not row.correct]
    wrong.sort(key=_behind, reverse=True)
    entries = [
        {
            "where": where[row.row],
            "rank": f"{row.ranks.min():,.0f}",
            "candidates": len(row.scores),
            "parts": [
                ("query", gallery_part(after.items.row_item(row.query), after.items.path(row.query), None, thumbnails)),
                ("right", _candidate(after, row, int(row.scores[: len(row.gains)].argmax()), thumbnails)),
                ("first before", _first(before, then.get(row.row), thumbnails)),
                ("first after", _first(after, row, thumbnails)),
            ],
        }
        for row in wrong[:count]
    ]
    were = {row.row for row in then.values() if not row.correct}
    now = {row.row for row in wrong}
    return {"entries": entries, "wrong": len(now), "mended": len(were - now), "broken": len(now - were)}


def _behind(row: ScoredRow) -> float:
    """How far the best right candidate is behind the best wrong one."""
    return float(row.scores[len(row.gains) :].max() - row.scores[: len(row.gains)].max())


def _first(result: EvalResult, row: ScoredRow | None, thumbnails: Thumbnails) -> dict[str, Any] | None:
    if row is None:
        return None
    return {**_candidate(result, row, row.predicted, thumbnails), "is_right": row.correct}


def _candidate(result: EvalResult, row: ScoredRow, place: int, thumbnails: Thumbnails) -> dict[str, Any]:
    number = int(row.candidates[place])
    return gallery_part(result.items.row_item(number), result.items.path(number), float(row.scores[place]), thumbnails)


def _training(training: Mapping[str, Any]) -> dict[str, str]:
    kept = f"step {training['best_step']}, the best of the validation part"
    if training["kept"] == "start":
        kept = "the start model: no checkpoint was better on the validation part"
    return {
        "kept": kept,
        "P@1 of the validation part": f"{100 * training['validation_before']:.1f}% at the start, "
        f"{100 * training['validation_best']:.1f}% at the best checkpoint",
        "steps": f"{training['steps']:,} of {training['batch_size']} pairs, {training['epochs']:.3g} epochs",
        "learning rate": f"{training['learning_rate']:g}"
        + (f", of the projector {projector:g}" if (projector := training["projector_learning_rate"]) else ""),
        "trained": "low-rank adapters, merged" if training["lora"] else "all weights but the frozen ones",
        "frozen": ", ".join(training["freeze"]) or "nothing",
    }
