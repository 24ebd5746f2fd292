"""Tables and plot of docs/loss.md: of `llave bench loss --out DIR` on a CPU, and of `make gpu`."""

from pathlib import Path
from typing import Any

from benchmarks.loss import Measurement
from benchmarks.tables import loss_plot

DIM = 896
DETAIL = 4096
"""Size for which memory and errors are shown too."""


def wide(content: dict[str, Any]) -> list[Measurement]:
    """What was measured at :data:`DIM` dimensions."""
    return [measurement for measurement in measurements(content) if measurement.dim == DIM]


def measurements(content: dict[str, Any]) -> list[Measurement]:
    return [Measurement(**{k: v for k, v in m.items() if k != "dtype"}) for m in content["measurements"]]


def draw(content: dict[str, Any], path: Path) -> None:
    """The plot of docs/loss.md, as a PNG."""
    loss_plot(wide(content), f"D={DIM}, {content['title']}", path)
    path.with_suffix(".svg").unlink()


def sizes_table(content: dict[str, Any]) -> str:
    """Milliseconds by variant and N; memory and errors at one size."""
    found = wide(content)
    sizes = sorted({m.size for m in found})
    head = ["ms", *(f"N={size:,}" for size in sizes), f"MiB, N={DETAIL:,}", "error, easy", "error, hard"]
    lines = [line(head), line(["---", *["---:"] * (len(head) - 1)])]
    for variant in dict.fromkeys(m.variant for m in found):
        cells = [milliseconds(found, variant, size) for size in sizes]
        detail = next(m for m in found if m.variant == variant and m.size == DETAIL)
        errors = ["" if error is None else f"{error:.0e}" for error in (detail.error_easy, detail.error_hard)]
        lines.append(line([variant, *cells, f"{(detail.peak_bytes or 0) / 2**20:,.0f}", *errors]))
    return "\n".join(lines)


def dims_table(content: dict[str, Any]) -> str:
    """Milliseconds by variant and D at N=2,048."""
    found = [m for m in measurements(content) if m.size == 2048]
    dims = sorted({m.dim for m in found})
    lines = [line(["ms, N=2,048", *(f"D={dim:,}" for dim in dims)]), line(["---", *["---:"] * len(dims)])]
    for variant in dict.fromkeys(m.variant for m in found if m.dim == dims[0]):
        cells = [milliseconds([m for m in found if m.dim == dim], variant, 2048) for dim in dims]
        lines.append(line([variant, *cells]))
    return "\n".join(lines)


def gpu_table(content: dict[str, Any]) -> str:
    """Milliseconds by variant and N of one device, with the least that four products take at its own speed."""
    loss = content["parts"]["loss"]
    found = measurements(loss)
    sizes = sorted({m.size for m in found})
    rate, largest = content["parts"]["ceilings"]["flops_bfloat16"], sizes[-1]
    floors = [f"{1000 * 4 * 2 * size**2 * DIM / rate:.2g}" for size in sizes]
    libraries = ", ".join(f"{name} {version}" for name, version in content["libraries"].items())
    lines = [
        f"{content['device']}, driver {content['driver']}, {libraries}; commit {loss['commit']}",
        "",
        line([f"ms, bfloat16, D={DIM}", *(f"N={size:,}" for size in sizes), f"MiB, N={largest:,}", "error, easy",
              "error, hard"]),
        line(["---", *["---:"] * (len(sizes) + 3)]),
        line([f"floor: four products at {rate / 1e12:.0f} TFLOP/s", *floors, "", "", ""]),
    ]  # fmt: skip
    for variant in dict.fromkeys(m.variant for m in found):
        last = [m for m in found if m.variant == variant][-1]
        errors = ["" if error is None else f"{error:.0e}" for error in (last.error_easy, last.error_hard)]
        memory = f"{(last.peak_bytes or 0) / 2**20:,.0f}" if last.size == largest else ""
        lines.append(line([variant, *(milliseconds(found, variant, size) for size in sizes), memory, *errors]))
    return "\n".join(lines)


def milliseconds(found: list[Measurement], variant: str, size: int) -> str:
    seconds = next((m.seconds for m in found if m.variant == variant and m.size == size), None)
    if seconds is None:
        return ""
    return f"{1000 * seconds:,.3g}" if seconds < 0.1 else f"{1000 * seconds:,.0f}"


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
