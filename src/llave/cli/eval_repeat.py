"""``llave eval repeat results.json``."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from llave.cli.parsing import as_argv, parse

__all__ = ["RepeatConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class RepeatConfig:
    """An evaluation again.

    Args:
        results: the results.json of llave eval --out, or its folder.
        out: the new results go here; null writes nothing.
        json: print the findings as JSON.
    """

    results: Path
    out: Path | None = None
    json: bool = False


def run(argv: list[str]) -> int:
    """Name what is not as it was, evaluate again, compare; 0 if scores and vectors are equal, 1 if not."""
    config = parse(
        RepeatConfig,
        argv,
        command="eval repeat",
        description="The same evaluation again, without a cache: what of machine, versions, model and data is not as "
        "it was, and whether scores and vectors come out equal, bit for bit. Exit code 0: equal; 1: not. "
        "Example: llave eval repeat runs/eval/results.json",
        positional=("results",),
    )
    import torch

    from llave.cli.eval import EvalConfig, evaluate_config
    from llave.evaluation.record import differences
    from llave.evaluation.repeat import changed_revisions, compare_outcome, read_results
    from llave.report.outputs import write_results
    from llave.terminal import printable

    then = read_results(config.results)
    options = {**then.run.options, "cache": None, "out": None, "json": False}
    asked = parse(EvalConfig, as_argv(options), command=f"eval repeat {config.results}: run: options", description="")
    threads = then.run.machine.get("threads")
    if isinstance(threads, int) and threads > 0:
        torch.set_num_threads(threads)  # sums are split among them
    evaluation = evaluate_config(asked)
    record = evaluation.record()
    now = evaluation.result.to_json()
    changed = [*differences(then.run, record), *changed_revisions(then.outcome, now)]
    outcome, equal = compare_outcome(then.outcome, now)
    if config.out is not None:
        write_results(evaluation.result, config.out, evaluation.about(), record)
    if config.json:
        findings = {"equal": equal, "changed": changed, "outcome": outcome}
        sys.stdout.write(json.dumps(findings, indent=2, ensure_ascii=False) + "\n")
    else:
        for line in [*changed, *outcome, "equal" if equal else "not equal"]:
            sys.stdout.write(f"{printable(line)}\n")
    return 0 if equal else 1
