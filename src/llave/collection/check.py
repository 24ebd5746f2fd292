"""What is wrong with a table, whether it is made for training, evaluation or an index."""

from pathlib import Path

from llave.collection.collection import Columns
from llave.collection.entry import BadEntry
from llave.collection.table import TableCollection
from llave.data.check import Problem, check_rows
from llave.data.mmeb import EVAL_COLUMNS, TRAIN_COLUMNS
from llave.data.pages import split_page
from llave.data.tables import read_table
from llave.encode.item import Reading

__all__ = ["check_table"]


def check_table(path: Path, columns: Columns | None = None, *, decode: bool = True) -> list[Problem]:
    """All problems of a table, in the order of its rows. What it is for is told by the columns of its first rows.

    Args:
        columns: which column holds what, where it is neither MMEB's nor of the usual names.
        decode: open every picture, page and video.

    Raises:
        DataError: a table of which nothing can be read.
        UserError: columns that nothing can be made of.
    """
    first = next((row for row in read_table(path) if isinstance(row, dict)), {})
    for names, evaluation in ((TRAIN_COLUMNS, False), (EVAL_COLUMNS, True)):
        if set(names) <= set(first):
            return check_rows(path, _images(path), evaluation=evaluation, decode=decode)
    problems = []
    for number, entry in enumerate(TableCollection(path, columns or Columns())):
        if isinstance(entry, BadEntry):
            problems.append(Problem(str(path), number, "unreadable", entry.message))
            continue
        item = entry.item
        try:
            if decode:
                item.load(Reading())
            elif item.file is not None:
                split_page(item.file)[0].stat()
        except Exception as error:  # of one row
            problems.append(Problem(str(path), number, f"broken-{item.kind}", str(error)))
    return problems


def _images(path: Path) -> Path:
    """The folder of pictures of a table with MMEB's columns: beside the table, or beside its train/ or eval/."""
    places = [path.parent.parent / "images", path.parent / "images"]
    return next((place for place in places if place.is_dir()), path.parent)
