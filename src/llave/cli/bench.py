"""``llave bench``: the door to ``benchmarks/`` of the repository, which is no part of the installed package."""

import importlib
import os
import sys
from pathlib import Path

from llave.errors import UserError

__all__ = ["run"]

HOME = "LLAVE_BENCHMARKS"


def run(argv: list[str]) -> int:
    """Hand the words over.

    Raises:
        UserError: no repository here.
    """
    named = os.environ.get(HOME)
    home = Path(named) if named else Path(__file__).resolve().parents[3] / "benchmarks"
    if not (home / "commands.py").is_file():
        raise UserError(
            f"{home}: no measurements here; they are not in the installed package. Clone llave's repository and say "
            f"{HOME}=CLONE/benchmarks llave bench, or install the clone (pip install -e CLONE)"
        )
    sys.path.insert(0, str(home.resolve().parent))
    code: int = importlib.import_module("benchmarks.commands").run(argv)
    return code
