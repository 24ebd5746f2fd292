"""What a search finds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llave.collection.types import Scalar
from llave.report.notebook import about_html, cards_html
from llave.search.store import Row

if TYPE_CHECKING:
    import pyarrow as pa

    from llave.search.index import Index

__all__ = ["Hit", "Hits", "hit", "index_html"]


@dataclass(frozen=True, slots=True)
class Hit:
    """An item that was found.

    Args:
        score: of the last stage that scored it; by vector, the cosine; nan where there was no query.
        content: hash of what the model saw.
        scores: of each stage: ``vector`` (cosine), ``words`` (BM25), ``rerank``.
        ranks: its place, from 1, after each stage.
    """

    id: str
    score: float
    kind: str
    text: str
    path: str
    fields: dict[str, Scalar]
    content: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)


class Hits(list[Hit]):
    """The hits of a search, best first: a list, and a table where one is wanted.

    Args:
        times: milliseconds of each stage of the search.
        thumbnail: the picture of an id, for a notebook.
    """

    def __init__(
        self,
        hits: Iterable[Hit] = (),
        *,
        times: Mapping[str, float] | None = None,
        thumbnail: Callable[[str], bytes | None] | None = None,
    ) -> None:
        super().__init__(hits)
        self.times = dict(times or {})
        self._thumbnail = thumbnail

    def _repr_html_(self) -> str:
        return cards_html(self, self._thumbnail)

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


def index_html(index: "Index") -> str:
    """An index in a notebook: what it is, and its first pictures."""
    fields = ", ".join(f"{field.name} ({field.type})" for field in index.fields())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in index.kinds().items())
    about = {"items": kinds, "model": index.info.model, "dimensions": str(index.info.dimension), "fields": fields}
    return about_html(str(index.path), about) + cards_html(index.browse(limit=8), index.thumbnail)


def hit(
    row: Row, score: float, scores: Mapping[str, float] | None = None, ranks: Mapping[str, int] | None = None
) -> Hit:
    """A row of a store as a hit."""
    about = row.kind, row.text, row.path or row.key, dict(row.fields), row.content
    return Hit(row.id, score, *about, dict(scores or {}), dict(ranks or {}))


def _column(values: Sequence[Scalar]) -> Any:
    """An Arrow array; of values of several types, their texts."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    return pa.array(values if len(kinds) <= 1 else [None if value is None else str(value) for value in values])
