"""Presets, and their settings beside those of an evaluation, for terminal, results and report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from llave.evaluation.presets import Preset
from llave.report.published import published_rows

__all__ = ["about_preset", "preset_list", "preset_markdown", "preset_summary", "settings_table"]


def about_preset(preset: Preset, benchmark: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What ``results.json`` says of the preset: the published score, and every setting beside the one that was used.

    Args:
        preset: with the settings of the benchmark.
        benchmark: the name of the one that was evaluated.
        options: of the evaluation.
    """
    rows = [row for row in published_rows(benchmark) if preset.published and row.model == preset.published]
    about: dict[str, Any] = {"name": preset.name, "model": preset.model, "code": preset.code}
    about["of_benchmark"] = benchmark in preset.benchmarks
    if rows:
        about["published"] = {"overall": rows[0].groups.get("overall"), "source": rows[0].source, "row": rows[0].model}
    return {**about, "settings": [asdict(used) for used in preset.used(options)]}


def preset_summary(about: Mapping[str, Any]) -> list[str]:
    """Of a preset in ``results.json``: sentences on the published score and on what is not as it was measured."""
    settings = about["settings"]
    words = {
        "same": "As published",
        "asked": "Set otherwise by you",
        "differs": "Done otherwise by llave",
        "not stated": "Not stated anywhere",
    }
    named = {state: [each["name"] for each in settings if each["state"] == state] for state in words}
    published = about.get("published")
    score = ""
    if published and published["overall"] is not None:
        score = f"; published: {100 * published['overall']:.1f} overall ({published['source']})"
    sentences = [f"Preset {about['name']}, of {about['model']}{score}."]
    if not about["of_benchmark"]:
        sentences.append("The published scores that it is of are of another benchmark.")
    return sentences + [f"{words[state]}: {', '.join(names)}." for state, names in named.items() if names]


def preset_list(presets: Sequence[Preset]) -> Table:
    """Every preset with its model and benchmarks."""
    table = Table(title="presets", caption="llave eval presets NAME: the settings and their sources")
    for heading in ("preset", "model", "benchmarks"):
        table.add_column(heading, overflow="fold")
    for preset in presets:
        table.add_row(preset.name, preset.model, ", ".join(preset.benchmarks) or "a table of your own")
    return table


def preset_markdown(presets: Sequence[Preset]) -> str:
    """A row for each family and benchmark, for docs/evaluation.md."""
    lines = ["| presets | benchmark | options | llave does otherwise | no source tells |", "|---|---|---|---|---|"]
    for family in dict.fromkeys(preset.family for preset in presets):
        members = [preset for preset in presets if preset.family == family]
        for benchmark in members[0].benchmarks or ("a table of pairs",):
            preset = members[0].on(benchmark)
            settings = preset.used(preset.options)
            cells = (
                ", ".join(f"`{each.name}`" for each in members),
                benchmark,
                " ".join(f"`{key}={value}`" for key, value in preset.options.items()),
                ", ".join(each.name for each in settings if each.state == "differs"),
                ", ".join(each.name for each in settings if each.state == "not stated") or "-",
            )
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def settings_table(about: Mapping[str, Any], *, same: bool = True) -> Table:
    """What is done here, what the published score used, and where that is said.

    Args:
        about: of :func:`about_preset`, or of ``results.json``.
        same: with the settings that are as published.
    """
    settings = [each for each in about["settings"] if same or each["state"] != "same"]
    table = Table(title=f"settings of {about['name']}", caption=f"sources: {about['code']}")
    for heading in ("setting", "here", "published", "", "source"):
        table.add_column(heading, overflow="fold")
    for each in settings:
        table.add_row(*(each[key] for key in ("name", "here", "published", "state", "source")))
    return table
