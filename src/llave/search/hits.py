"""What a search finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llave.collection.types import Scalar
from llave.search.store import Row

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Hit", "Hits", "hit"]


@dataclass(frozen=True, slots=True)
class Hit:
    """An item, its cosine with the query (nan where there was none), and the hash of what the model saw of it."""

    id: str
    score: float
    kind: str
    text: str
    path: str
    fields: dict[str, Scalar]
    content: str = ""


class Hits(list[Hit]):
    """The hits of a search, best first: a list, and a table where one is wanted."""

    def to_arrow(self) -> "pa.Table":
        """A column for each attribute of a hit and for each field; a field that a hit does not have is null."""
        import pyarrow as pa

        own = ("id", "score", "kind", "text", "path")
        names = list(dict.fromkeys(name for found in self for name in found.fields))
        columns: dict[str, Any] = {name: pa.array([getattr(found, name) for found in self]) for name in own}
        for name in names:
            column = name if name not in own else f"fields.{name}"
            columns[column] = _column([found.fields.get(name) for found in self])
        return pa.table(columns)

    def to_pandas(self) -> Any:
        """The same as a data frame."""
        return self.to_arrow().to_pandas()


def hit(row: Row, score: float) -> Hit:
    """A row of a store as a hit."""
    return Hit(row.id, score, row.kind, row.text, row.path or row.key, dict(row.fields), row.content)


def _column(values: Sequence[Scalar]) -> Any:
    """An Arrow array; of values of several types, their texts."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    return pa.array(values if len(kinds) <= 1 else [None if value is None else str(value) for value in values])
