"""The table of docs/reranking.md, from benchmarks/results/rerank_nano.json."""

from typing import Any

__all__ = ["rerank_table"]


def rerank_table(found: dict[str, Any]) -> str:
    """P@1 before and after per data set: the reranker before its first step, after it, and others beside it."""
    lines = ["| data set | queries | first stage | projector alone | trained | gain | in reach | CPU ms a query |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|---:|"]
    for name, before in found["before"].items():
        alone = found["solved"][name]
        mean = found["means"].get(name)
        trained = gain = "not measured"
        cost = alone["cpu_ms_per_query"]
        if mean is not None:
            trained, cost = f"{100 * mean['after']:.1f}", mean["cpu_ms_per_query"]
            low_high = mean["gain_ci95"]
            half = f" ± {50 * (low_high[1] - low_high[0]):.1f}" if low_high else ""
            gain = f"{100 * mean['gain']:+.1f}{half}"
        lines.append(
            f"| `{name}` | {before['queries']:,} | {100 * before['p_at_1']:.1f} | {100 * alone['after']:.1f} "
            f"({100 * alone['difference']:+.1f}) | {trained} | {gain} | {100 * alone['in_reach']:.1f} | {cost:,.0f} |"
        )
    seeds = len(found["seeds"])
    lines += [
        "",
        f"P@1 in percent over the first stage's {found['top']} best candidates; {seeds} seed{'s' * (seeds != 1)} of "
        f"the reranker, {found['recipe']['max_steps']} steps each, one first stage; the gain's interval is 95% over "
        f"seeds. {found['machine']}, commit {found['commit'][:12]}, `{found['command']}`.",
    ]
    for name, other in found.get("also", {}).items():
        parts = (
            f"`{data}` {100 * about['before']:.1f} → {100 * about['after']:.1f} ({about['queries']:,} queries, "
            f"{about['cpu_ms_per_query']:,.0f} ms)"
            for data, about in other["datasets"].items()
        )
        lines += ["", f"{name}: {', '.join(parts)}."]
    return "\n".join(lines)
