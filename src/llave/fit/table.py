"""A table of one's own where a folder in MMEB's format is asked for."""

from itertools import islice
from pathlib import Path

from llave.data.tables import read_table
from llave.errors import UserError
from llave.fit.columns import Asked, Chosen, choose_columns
from llave.fit.rows import FIRST_ROWS, picture_folder
from llave.training.config import DataSetConfig

__all__ = ["table_as_data"]


def table_as_data(path: Path) -> tuple[dict[str, DataSetConfig], Chosen]:
    """The data set that a table is, of its folder, by columns that are guessed as ``llave fit`` guesses them.

    Raises:
        UserError: no rows, no guess, or pairs told apart by a column of truth values.
    """
    first = [row for row in islice(read_table(path), FIRST_ROWS) if isinstance(row, dict)]
    if not first:
        raise UserError(f"{path}: no rows")
    chosen = choose_columns(path, first, Asked())
    if chosen.pairs_are_1:
        raise UserError(f"{path}: `{chosen.pairs_are_1}` says which rows are pairs; leave only those in the table")
    names = {
        "qry": chosen.query.text,
        "qry_image_path": chosen.query.picture,
        "pos_text": chosen.positive.text,
        "pos_image_path": chosen.positive.picture,
    }
    columns = {ours: own for ours, own in names.items() if own is not None}
    images = picture_folder(path, chosen, first).resolve()
    return {path.stem: DataSetConfig(file=path.name, images=str(images), columns=columns)}, chosen
