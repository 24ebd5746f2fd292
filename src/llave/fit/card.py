"""The model's card: what was scored, on what, before and after."""

from typing import Any

__all__ = ["fit_card"]


def fit_card(record: dict[str, Any], name: str, trained: str) -> str:
    """Markdown.

    Args:
        record: of ``fit.json``.
        name: of the model.
        trained: the card that training has written.
    """
    data, training = record["data"], record["training"]
    base = record["asked"]["base"]
    if training["kept"] == "start":
        trained = f"# {name}\n\nThe model {base}, unchanged: no checkpoint was better on the validation part.\n"
    rows = [
        f"| {each['name']} | {_percent(each['a'])} | {_percent(each['b'])} | {100 * each['difference']:+.1f} | "
        f"{100 * each['ci95'][0]:+.1f} to {100 * each['ci95'][1]:+.1f} | {each['queries']:,} |"
        for each in [*record["scores"]["datasets"], record["scores"]["overall"]]
    ]
    parts = data["rows"]
    shared = "items" if data["kind"] == "classes" else "pictures or texts"
    return "\n".join(
        [
            trained.rstrip("\n"),
            "",
            "## Before and after",
            "",
            f"Made by `llave fit` from {data['usable']:,} rows ({data['columns']}), of which {parts['train']:,} were "
            f"trained on, {parts['validation']:,} chose the checkpoint and {parts['test']:,} were kept for this test. "
            f"No two parts share {shared}.",
            "",
            f"**{record['line']}**",
            "",
            "| test part | P@1 % before | after | difference | 95% interval | queries |",
            "|---|---:|---:|---:|---:|---:|",
            *rows,
            "",
            "Intervals: bootstrap over queries; of the mean, over groups of queries that share content.",
            "",
        ]
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"
