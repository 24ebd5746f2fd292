"""``llave fit TABLE``: a model of one's own."""

import json
import sys
from pathlib import Path

from llave.cli.defaults import QUICKSTART
from llave.cli.parsing import parse
from llave.fit.config import FitConfig

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Fit, and say whether it has helped and what to do next."""
    config = parse(
        FitConfig,
        argv,
        command="fit",
        description="A model of your own from one table: parts that do not leak, scores before, training, scores "
        "after, and whether it has helped. Example: llave fit pairs.csv --out models/mine",
        positional=("source",),
        existing={"source": ""},
    )
    from llave.fit.run import fit

    made = QUICKSTART / "models" / "hardness"
    base = config.base or (str(made) if (made / "config.json").is_file() else "nano")
    out = config.out or Path("runs") / f"fit-{config.source.resolve().stem}"
    record = fit(config, out, base)
    if config.json:
        sys.stdout.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        return 0
    from rich.console import Console

    from llave.report.tables import before_after_table

    Console().print(before_after_table(record["scores"]))
    lines = [
        record["line"],
        *([record["advice"]] if record["advice"] else []),
        f"report: {out / 'report.html'}",
        "next:",
    ]
    sys.stdout.write("\n".join([*lines, *(f"  {line}" for line in record["next"])]) + "\n")
    return 0
