"""Fields keep the names that users gave them; a store's columns have these names, as far as they can."""

import re
from collections.abc import Mapping

from llave.collection.types import FieldType

__all__ = ["OWN_FIELDS", "column_of", "field_of"]

OWN_FIELDS: Mapping[str, FieldType] = {"kind": "string", "path": "string", "key": "string", "source": "string"}
"""Of every row; conditions may use them, where no field of the user's has that name."""
RESERVED = {"id", "text", "file", "stamp", "content", "digest", "thumbnail", "vector", *OWN_FIELDS}
ESCAPE = re.compile(r"\$([0-9a-f]*)\$")


def column_of(field: str) -> str:
    """The column of a field: its name, and ``$``, its number and ``$`` for a letter that none may have.

    A name that is a store's own, or might be as it begins with ``_``, has its first letter so.
    """
    column = re.sub(r"\W", lambda letter: _escaped(letter[0]), field)
    reserved = field.lower() in RESERVED or field[:1] == "_"
    return _escaped(field[0]) + column[1:] if reserved else column or "$$"


def field_of(column: str) -> str:
    """The field of a column."""
    return ESCAPE.sub(lambda letter: chr(int(letter[1], 16)) if letter[1] else "", column)


def _escaped(letter: str) -> str:
    return f"${ord(letter):x}$"
