"""What a training step sends over the network: counted on paper, and checked against an interface's own counter.

Each process runs in a network namespace of its own (root, on Linux), so that the counter is of that process alone; the
paper counts bytes of ring all-reduce (2(W-1)/W of a buffer), all-gather and its backward (W-1 times a process's part).
Run: python -m benchmarks.network --out benchmarks/results/network.json
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.provenance import provenance
from benchmarks.sheet import Sheet
from llave.errors import UserError
from llave.files import write_json
from tests.nodes import cluster

__all__ = ["Step", "loss_bytes", "measured_sheet", "paper_sheet", "reduce_bytes", "sharded_bytes"]

PROCESSES = (2, 4)
PAIRS, DIM, PARAMETERS = 256, 896, 10_000_000
"""Of a process; of the vectors (LLaVE-0.5B's); and of the gradients whose sum is checked."""
GBIT = 1e9 / 8
WAIT = 600


@dataclass(frozen=True, kw_only=True)
class Step:
    """A training step whose traffic is counted on paper.

    Args:
        name: of the model.
        parameters: that are trained.
        dim: of the vectors.
        pairs: of a process.
    """

    name: str
    parameters: float
    dim: int
    pairs: int


STEPS = (
    Step(name="LLaVE-0.5B", parameters=0.5e9, dim=896, pairs=32),
    Step(name="LLaVE-2B", parameters=1.5e9, dim=1536, pairs=32),
    Step(name="LLaVE-7B", parameters=7.6e9, dim=3584, pairs=32),
)


def reduce_bytes(processes: int, size: float) -> float:
    """That each process sends to add up a buffer of ``size`` bytes over all (ring all-reduce)."""
    return 2 * (processes - 1) / processes * size


def sharded_bytes(processes: int, size: float) -> float:
    """The same of weights of ``size`` bytes that are spread (FSDP): gathered twice, and gradients reduced to owners."""
    return 3 * (processes - 1) / processes * size


def loss_bytes(processes: int, pairs: int, dim: int, *, negatives: int = 0, tiled: bool = True) -> float:
    """That each process sends for the loss: vectors in float32 to all others, their gradients back, and sums.

    Args:
        pairs: of a process.
        negatives: columns of a row's own ones.
        tiled: queries stay, and sums of the columns' exponentials and positives' logits are exchanged; else queries are
            gathered as targets are, and nothing else.
    """
    column = pairs * dim * 4 * (processes - 1)
    numbers = 4 * pairs * processes
    sums = reduce_bytes(processes, numbers) + (processes - 1) * 4 * pairs if tiled else 0
    return 2 * column * (1 + negatives + (not tiled)) + sums


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="*", default=list(PROCESSES))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = {str(number): measure(number) for number in args.processes}
    result = {**provenance(), "pairs": PAIRS, "dim": DIM, "parameters": PARAMETERS, "sent": found}
    if args.out is None:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    else:
        write_json(args.out, result, indent=1)


def measure(processes: int) -> dict[str, float]:
    """Bytes that a process sends in a step, the median of all of them, by part.

    Raises:
        UserError: a process fails.
    """
    with tempfile.TemporaryDirectory() as folder, cluster(processes) as nodes:
        outs = [Path(folder) / f"{rank}.json" for rank in range(processes)]
        words = [sys.executable, "-m", "benchmarks.network_part", nodes[0].address, str(processes)]
        shape = [str(PAIRS), str(DIM), str(PARAMETERS)]
        running = [
            node.start(*words, str(rank), *shape, str(out), stderr=subprocess.PIPE)
            for rank, (node, out) in enumerate(zip(nodes, outs, strict=True))
        ]
        for process in running:
            _, said = process.communicate(timeout=WAIT)
            if process.returncode:
                raise UserError(f"a process of {processes} ended with {process.returncode}: {said[-2000:]}")
        counted = [json.loads(out.read_text("utf-8")) for out in outs]
    return {name: statistics.median(each[name] for each in counted) for name in counted[0]}


def measured_sheet(found: Mapping[str, Any]) -> Sheet:
    """Counted by the interface, beside the paper."""
    pairs, dim = found["pairs"], found["dim"]
    rows = []
    for number, sent in found["sent"].items():
        processes = int(number)
        for name, title, expected in (
            (
                "reduce",
                f"gradients of {found['parameters']:,} weights",
                reduce_bytes(processes, 4 * found["parameters"]),
            ),
            ("tiled", f"loss, {pairs} pairs each of {dim}", loss_bytes(processes, pairs, dim)),
            ("reference", "the same by impl: reference", loss_bytes(processes, pairs, dim, tiled=False)),
        ):
            ratio = sent[name] / expected
            rows.append((number, title, f"{expected / 1e6:,.2f}", f"{sent[name] / 1e6:,.2f}", f"{ratio:.2f}"))
    return Sheet(
        title=f"Megabytes that each process sends in a step, over gloo and TCP, headers included; "
        f"{found['machine']}, commit {found['commit'][:7]}:",
        caption="",
        columns=("processes", "what", "on paper", "counted", "ratio"),
        rows=rows,
        words=frozenset({"what"}),
        apart=1,
    )


def paper_sheet(_: Mapping[str, Any]) -> Sheet:
    """What 8, 64 and 512 GPUs would send."""
    rows = []
    for step in STEPS:
        for processes in (8, 64, 512):
            loss = loss_bytes(processes, step.pairs, step.dim)
            whole, spread = (count(processes, 2 * step.parameters) for count in (reduce_bytes, sharded_bytes))
            rows.append(
                (
                    step.name,
                    f"{processes}",
                    f"{processes * step.pairs:,}",
                    f"{loss / 1e6:,.0f}",
                    f"{whole / 1e9:,.1f}",
                    f"{spread / 1e9:,.1f}",
                    f"{1000 * loss / (400 * GBIT):,.1f}",
                    f"{1000 * whole / (400 * GBIT):,.0f}",
                )
            )
    return Sheet(
        title="On paper, sent by each GPU in a step of 32 pairs each; gradients and weights in bfloat16, all trained:",
        caption="",
        columns=(
            "model", "GPUs", "pairs a step", "loss, MB", "gradients, GB", "FSDP, GB", "loss at 400 Gbit/s, ms",
            "gradients, ms",
        ),
        rows=rows,
        words=frozenset({"model"}),
        apart=1,
    )  # fmt: skip


if __name__ == "__main__":
    main()
