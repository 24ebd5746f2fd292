"""An index as the routes use it: in a few threads, in JSON, and with what takes long kept until the index changes."""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from llave.errors import UserError
from llave.serving.errors import ApiError, bad_request

if TYPE_CHECKING:
    from llave.search.fields import Field
    from llave.search.hits import Hit
    from llave.search.index import Index

__all__ = ["Catalogue"]

THREADS = 4
BINS = 40
MAP_VALUES = 50
"""Fields with more values have no colours on a map."""
Result = TypeVar("Result")


class Catalogue:
    """A search index.

    Args:
        gallery: whether ``/gallery`` is there.
    """

    def __init__(self, index: "Index", *, gallery: bool) -> None:
        self.index = index
        self._gallery = gallery
        self._threads = asyncio.Semaphore(THREADS)
        self._kept: dict[str, tuple[object, bytes]] = {}

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run what blocks in a thread, a few at a time."""
        async with self._threads:
            return await asyncio.to_thread(work)

    async def description(self) -> bytes:
        """``/v1/index``."""
        return await self.run(lambda: self._keep("index", self._describe))

    async def map(self) -> bytes:
        """``/v1/map``.

        Raises:
            ApiError: 404, there is none.
        """
        return await self.run(lambda: self._keep("map", self._draw))

    def search(
        self, query_D: NDArray[np.float32], filter: Any, *, limit: int, offset: int, exclude: list[str], histogram: bool
    ) -> dict[str, Any]:
        """The nearest items.

        Raises:
            ApiError: a filter that cannot be read, or on a field that is not there.
        """
        from llave.search.filters import filter_from_json

        with _filter_errors():
            conditions = filter_from_json(filter)
            hits = self.index.search(query_D, limit=limit, offset=offset, filter=conditions, exclude=exclude)
            count = self.index.count(conditions)
            spread = _histogram(self.index.scores(query_D, filter=conditions)) if histogram else None
        return {"results": [item(hit) for hit in hits], "histogram": spread, "count": count}

    def _keep(self, name: str, make: Callable[[], dict[str, Any]]) -> bytes:
        """What was made for the index as it is now."""
        state = self._state()
        kept = self._kept.get(name)
        if kept is None or kept[0] != state:
            kept = self._kept[name] = (state, to_json(make()))
        return kept[1]

    def _state(self) -> object:
        """Changes when the index does."""
        files = [path for path in (self.index.path / "index.json", self.index.path / "map.arrow") if path.is_file()]
        return self.index.count(), tuple((path.name, path.stat().st_mtime_ns) for path in files)

    def _describe(self) -> dict[str, Any]:
        index = self.index
        return {
            "object": "index",
            "model": Path(index.info.model).name,  # not where it lies on this machine
            "count": index.count(),
            "dimension": index.info.dimension,
            "kinds": index.kinds(),
            "fields": [_field(field) for field in index.fields()],
            "map": index.map() is not None,
            "gallery": self._gallery,
        }

    def _draw(self) -> dict[str, Any]:
        found = self.index.map()
        if found is None:
            raise ApiError(404, "this index has no map; make one with `llave index --map`", code="no_map")
        names = [field.name for field in self.index.fields() if field.type == "string"]
        columns = self.index.store.column(["id", "kind", *names])
        place = {row_id: number for number, row_id in enumerate(columns["id"])}
        shown = [number for number, row_id in enumerate(found.ids) if row_id in place]  # the rest was removed since
        rows = [place[found.ids[number]] for number in shown]
        xy_N2 = found.xy_N2[shown].astype(float).round(5)
        kind = _coded([columns["kind"][row] for row in rows])
        fields = {name: _coded([columns[name][row] for row in rows]) for name in names}
        return {
            "ids": [found.ids[number] for number in shown],
            "x": xy_N2[:, 0].tolist(),
            "y": xy_N2[:, 1].tolist(),
            "kinds": kind["values"],
            "kind": kind["codes"],
            "fields": {name: coded for name, coded in fields.items() if 0 < len(coded["values"]) <= MAP_VALUES},
        }


def item(hit: "Hit") -> dict[str, Any]:
    """An item as JSON."""
    return {
        "id": hit.id,
        "score": None if math.isnan(hit.score) else hit.score,
        "kind": hit.kind,
        "text": hit.text,
        "path": hit.path,
        "fields": hit.fields,
        "thumbnail": None if hit.kind == "text" else f"/v1/items/{hit.id}/thumbnail",
    }


@contextmanager
def _filter_errors() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise bad_request(str(error), "filter", "invalid_filter") from None


def _histogram(score_N: NDArray[np.float32]) -> dict[str, Any] | None:
    if not len(score_N):
        return None
    counts, edges = np.histogram(score_N, bins=BINS)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _field(field: "Field") -> dict[str, Any]:
    if field.type == "number":
        return {"name": field.name, "type": field.type, "low": field.low, "high": field.high}
    values = [{"value": value, "count": count} for value, count in field.values]
    return {"name": field.name, "type": field.type, "values": values}


def _coded(column: Sequence[str | None]) -> dict[str, Any]:
    """The values of a column, and each row's place among them; -1 where it has none."""
    values = sorted({value for value in column if value is not None})
    place = {value: number for number, value in enumerate(values)}
    return {"values": values, "codes": [-1 if value is None else place[value] for value in column]}
