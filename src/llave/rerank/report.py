"""What a second stage changed, as a table for a terminal and as a page of Markdown."""

from pathlib import Path

from rich.table import Table

from llave.evaluation.result import EvalResult
from llave.files import write_text
from llave.rerank.evaluation import RerankResult

__all__ = ["rerank_markdown", "rerank_table", "write_reranked"]

SHOWN = 10
"""Queries of each data set that were hurt worst."""
COLUMNS = (
    "data set", "metric", "before %", "after %", "difference", "95% interval", "helped", "hurt", "ms/query", "refused",
)  # fmt: skip


def _rows(reranked: RerankResult) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, about in reranked.to_json()["datasets"].items():
        low, high = about["difference_ci95"]
        rows.append(
            (
                name,
                "P@1" if about["metric"] == "hit@1" else about["metric"],
                f"{100 * about['before']:.1f}",
                f"{100 * about['after']:.1f}",
                f"{100 * about['difference']:+.1f}",
                f"{100 * low:+.1f} to {100 * high:+.1f}",
                f"{about['helped']:,}",
                f"{about['hurt']:,}",
                f"{about['ms_per_query']:,.0f}",
                f"{about['refused']:,}",
            )
        )
    return rows


def rerank_table(reranked: RerankResult) -> Table:
    """Before and after per data set, in percent, with what it costs."""
    caption = f"the first stage's {reranked.top} best; difference: 95% bootstrap interval over queries"
    if reranked.weight != 1:
        caption += f"; weight {reranked.weight:g} beside the first stage's score"
    table = Table(title=f"reranked by {reranked.reranker}", caption=caption)
    for number, heading in enumerate(COLUMNS):
        table.add_column(heading, justify="left" if number == 0 else "right")
    for row in _rows(reranked):
        table.add_row(*row)
    return table


def rerank_markdown(reranked: RerankResult) -> str:
    """The same table, and of each data set the queries whose right answer fell furthest."""
    lines = [f"# {reranked.result.benchmark}: reranked by {reranked.reranker}", ""]
    lines += [f"| {' | '.join(COLUMNS)} |", f"|---|{'---:|' * (len(COLUMNS) - 1)}"]
    lines += [f"| {' | '.join(row)} |" for row in _rows(reranked)]
    lines += ["", f"The reranker saw the first stage's {reranked.top} best candidates of each query."]
    for name, task in reranked.tasks.items():
        hurts = task.worst(SHOWN)
        if not hurts:
            continue
        lines += ["", f"## Hurt worst: {name}", "", "| row | query | relevant | rank before | after | first now |"]
        lines += ["|---:|---|---|---:|---:|---|"]
        for hurt in hurts:
            query, relevant, first = (
                _shown(reranked.result, number) for number in (hurt.query, hurt.relevant, hurt.first)
            )
            lines.append(f"| {hurt.row} | {query} | {relevant} | {hurt.before} | {hurt.after} | {first} |")
    if reranked.reasons:
        lines += ["", "## Pairs without a score", "", *(f"- {_cell(reason)}" for reason in reranked.reasons)]
    return "\n".join(lines) + "\n"


def write_reranked(reranked: RerankResult, out_dir: Path) -> None:
    """Write ``rerank.md``; the numbers are in ``results.json`` beside those of the first stage."""
    write_text(out_dir / "rerank.md", rerank_markdown(reranked))


def _shown(result: EvalResult, number: int) -> str:
    """An item in a few words: its file's path and its text."""
    item = result.items.row_item(number)
    return _cell(" ".join(part for part in (item.image, item.video, item.audio, item.text) if part))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
