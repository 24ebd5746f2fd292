"""What a run says of its parts, its plan and its outcome."""

from pathlib import Path
from shlex import quote
from typing import Any

from llave.evaluation.result import EvalResult, TaskResult
from llave.fit.verdict import Verdict
from llave.training.config import TrainConfig

__all__ = ["advice", "data_lines", "next_lines", "plan_line", "scores_line"]


def data_lines(data: dict[str, Any]) -> list[str]:
    lines = [data["columns"]]
    if data["left_out"]:
        parts = ", ".join(f"{number:,} {what}" for what, number in data["left_out"].items())
        first = data["left_out_rows"][0]
        lines.append(f"left out: {parts}; the first: {first['where']}: {first['reason']}; fit.json lists them")
    parts = ", ".join(f"{number:,} {name}" for name, number in data["rows"].items())
    shared = "items" if data["kind"] == "classes" else "pictures or texts"
    lines.append(f"{data['usable']:,} rows: {parts}; no two parts share {shared}")
    if data["negatives_dropped"]:
        lines.append(f"{data['negatives_dropped']:,} negatives left out, which stand in another part")
    return lines


def scores_line(result: EvalResult) -> str:
    """P@1 of each data set with its interval, in a line."""

    def said(task: TaskResult) -> str:
        low, high = task.ci95
        return f"{task.name} {100 * task.score:.1f}% ({100 * low:.1f} to {100 * high:.1f}, {task.queries:,} queries)"

    return "; ".join(map(said, result.tasks.values()))


def plan_line(recipe: TrainConfig, plan: dict[str, Any]) -> str:
    """What training will take, and do."""
    seconds = plan["seconds"]
    length = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
    if seconds > 7200:
        length = f"{seconds / 3600:.1f} hours"
    what = "all weights but the frozen ones" if recipe.adapter is None else f"adapters of rank {recipe.adapter.rank}"
    a_step, looking = plan["seconds_per_step"], plan["seconds_looking"]
    return (
        f"training takes about {length}: {recipe.max_steps:,} steps of {recipe.batch_size} pairs ({recipe.epochs:.3g} "
        f"epochs) at {a_step:.2f} s, measured on the second of two, and {looking:.0f} s "
        f"for scores of held-out rows; {what}, learning rate {recipe.learning_rate:g}"
    )


def advice(record: dict[str, Any], verdict: Verdict, base: str) -> str:
    """What to do when it is not better; empty when it is."""
    if verdict.word == "better":
        return ""
    rows, word = record["data"]["rows"]["train"], verdict.word
    said = []
    if record["training"]["kept"] == "start":
        said.append("no checkpoint was better than the start model on the validation part, so that is what is kept")
    elif word == "worse":
        said.append(f"use {base}")
    width = 50 * (verdict.overall.ci95[1] - verdict.overall.ci95[0])
    if word == "undecided" and width >= 1:
        said.append(
            f"{verdict.groups:,} independent queries tell differences of about {width:.0f} points at best; "
            "more rows tell smaller ones"
        )
    if rows < 1000:
        said.append(f"{rows:,} rows to train on are few: more of them help most")
    said.append("look at the worst mistakes in report.html: rows that are wrong teach what is wrong")
    said.append("a larger --base may know more of this from the start")
    return "; ".join(said)


def next_lines(record: dict[str, Any], out: Path) -> list[str]:
    """What to do with the model."""
    model, index = quote(str(out)), quote(f"{out}.index")
    return [
        f"llave index {model} {quote(record['data']['pictures'] or record['asked']['source'])} --index {index}",
        f"llave serve {model} --index {index}",
        f"llave eval {model} --benchmark {quote(str(out / 'data'))}",
    ]
