"""What docs/late_interaction.md shows of benchmarks/results/late_nano.json."""

import statistics
from typing import Any

from benchmarks.sheet import Sheet

__all__ = ["answer", "models_sheet", "pages_line", "tiled_sheet"]


def models_sheet(found: dict[str, Any]) -> Sheet:
    """Scores of each model, means over seeds."""
    names = list(found["models"][0]["queries"])
    factors = sorted({cell["factor"] for cell in found["models"]})
    rows = []
    for model, factor in (("embed", 1), *(("late", factor) for factor in factors)):
        cells = [cell for cell in found["models"] if (cell["model"], cell["factor"]) == (model, factor)]
        what = "one vector" if model == "embed" else f"tokens, pooling {factor}"
        scores = [_spread([100 * cell["p_at_1"][name] for cell in cells]) for name in names]
        mean = {key: statistics.mean(cell[key] for cell in cells) for key in ("tokens", "bytes", "ms")}
        rows.append([what, *scores, f"{mean['tokens']:.1f}", f"{mean['bytes']:,.0f}", f"{mean['ms']:.2f}"])
    queries = ", ".join(f"{name} {number:,}" for name, number in found["models"][0]["queries"].items())
    several = f"mean of seeds {' and '.join(map(str, found['seeds']))} (each in brackets), pooled tokens of seed 0"
    return Sheet(
        title=f"P@1 in per cent, {several if len(found['seeds']) > 1 else 'one seed'}; bytes in float16; milliseconds "
        f"to score all {found['models'][0]['candidates']} candidates of t2i_ood; {found['threads']} thread of "
        f"{found['machine']}, commit {found['commit'][:7]}. Queries: {queries}.",
        caption="",
        columns=("nano model", *names, "vectors an item", "bytes an item", "ms a query"),
        rows=rows,
        words=frozenset({"nano model"}),
    )


def _spread(values: list[float]) -> str:
    each = f" ({', '.join(f'{value:.1f}' for value in values)})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{each}"


def tiled_sheet(found: dict[str, Any]) -> Sheet:
    """Time and memory of MaxSim with its gradient, as ratios to the tiled form."""
    rows = []
    for cell in found["maxsim"]:
        queries, tokens, documents, theirs = cell["shape"]
        seconds, peaks = cell["seconds"], cell["peak_bytes"]
        ratios = [f"{seconds[name] / seconds['tiled']:.2f}" for name in ("plain", "sentence-transformers")]
        mib = [f"{peaks[name] / 2**20:,.0f}" for name in ("tiled", "plain", "sentence-transformers")]
        rows.append(
            [
                cell["name"],
                f"{queries} × {tokens}",
                f"{documents} × {theirs}",
                f"{1000 * seconds['tiled']:,.0f}",
                *ratios,
                *mib,
            ]
        )
    return Sheet(
        title=f"Forward and backward, 128 dimensions, median of {found['rounds']} interleaved rounds, "
        f"{found['threads']} thread of {found['machine']}; MiB at the peak beyond the inputs, in a process of its own:",
        caption="",
        columns=(
            "shape", "queries × tokens", "documents × tokens", "tiled, ms", "plain, times as long",
            "sentence-transformers, times as long", "tiled, MiB", "plain, MiB", "sentence-transformers, MiB",
        ),
        rows=rows,
        words=frozenset({"shape"}),
    )  # fmt: skip


def answer(found: dict[str, Any]) -> str:
    """How far the tokens' scores are from the vector's, in a sentence per set, by seed."""
    parts = []
    for name in found["models"][0]["queries"]:
        by_seed = []
        for seed in found["seeds"]:
            cells = {(cell["model"], cell["factor"]): cell for cell in found["models"] if cell["seed"] == seed}
            by_seed.append(100 * (cells["late", 1]["p_at_1"][name] - cells["embed", 1]["p_at_1"][name]))
        each = ", ".join(f"{value:+.1f}" for value in by_seed)
        parts.append(f"{name} {statistics.mean(by_seed):+.1f} ({each})")
    seeds = len(found["seeds"])
    return (
        f"Tokens against one vector, in points of P@1, mean and each of {seeds} seed{'s' if seeds > 1 else ''}: "
        f"{'; '.join(parts)}. So few seeds leave a few points open either way."
    )


def pages_line(found: dict[str, Any]) -> str:
    """What scoring pages takes, in a sentence."""
    first = found["pages"][0]
    each = ", ".join(
        f"{cell['ms']:.0f} ms at factor {cell['factor']} ({cell['bytes'] / 1000:.0f} kB a page)"
        for cell in found["pages"]
    )
    return (
        f"To score {first['documents']} stored pages of 700 tokens for a query of {first['tokens']} takes {each}: "
        f"random tokens of {first['dimensions']} numbers, {found['threads']} thread of the same machine."
    )
