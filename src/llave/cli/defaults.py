"""What a command takes that was told nothing: an index in this folder, else the quickstart's."""

from pathlib import Path

from llave.errors import UserError
from llave.storage.location import Location

__all__ = ["INDEX", "QUICKSTART", "find_index"]

INDEX = Path("index")
QUICKSTART = Path("runs/quickstart")


def find_index(named: Location | None) -> Location:
    """The index that was named, or the first of ``index`` and ``runs/quickstart/index`` that is there.

    Raises:
        UserError: none was named and neither is there.
    """
    if named is not None:
        return named
    from llave.search.index import Index

    for path in (INDEX, QUICKSTART / "index"):
        if Index.exists(path):
            return path
    raise UserError(f"no index: name one with --index, or make one: llave index MODEL FOLDER --index {INDEX}")
