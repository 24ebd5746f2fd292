"""An index as the routes use it: in a few threads, in JSON, and with what takes long kept until the index changes."""

import asyncio
import contextlib
import dataclasses
import math
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from llave.errors import UserError
from llave.search.kept import Kept, keep
from llave.serving.drawing import draw
from llave.serving.errors import ApiError, bad_request
from llave.serving.schema_search import MAX_FOLDERS, SearchRequest
from llave.serving.watch import Watched

if TYPE_CHECKING:
    from llave.search.fields import Field
    from llave.search.hits import Hit
    from llave.search.index import Index
    from llave.search.pipeline import Mode, Scorer

__all__ = ["Catalogue", "item", "version_of"]

THREADS, WAITING = 4, 16
BINS = 40
Result = TypeVar("Result")


class Catalogue:
    """A search index.

    Args:
        gallery: whether ``/gallery`` is there.
        number: 1, or 2 of one that is shown beside another one.
        beside: the other one.
    """

    def __init__(
        self, index: "Index", *, gallery: bool = False, number: int = 1, beside: "Catalogue | None" = None
    ) -> None:
        self.watched = Watched(index)
        self._gallery = gallery
        self._number = number
        self._beside = beside
        self._searching = ThreadPoolExecutor(THREADS, "index")
        self._waiting = ThreadPoolExecutor(WAITING, "index-rerank")
        self._making = ThreadPoolExecutor(1, "index-whole")  # what reads all items: once, whoever else waits for it
        self._kept: dict[str, Kept[bytes]] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Follow the index until the end of the block."""
        watching = asyncio.create_task(self.watched.watch(), name="watch the index")
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            for threads in (self._searching, self._waiting, self._making):
                threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Callable[["Index"], Result], *, waits: bool = False) -> Result:
        """Run what blocks in a thread, a few at a time.

        Args:
            waits: for a model, and takes no processor meanwhile; the others do not wait for it.

        Raises:
            ApiError: 503, the index is gone.
        """
        return await self._run(self._waiting if waits else self._searching, work)

    async def description(self) -> Kept[bytes]:
        """``/v1/index``."""
        return await self._whole("index", self._describe)

    async def map(self) -> Kept[bytes]:
        """``/v1/map``.

        Raises:
            ApiError: 404, there is none.
        """
        return await self._whole("map", draw)

    def mode(self, wanted: SearchRequest) -> "Mode":
        """How a query is compared: as was asked; else a text alone as the index says, and all others by vector."""
        if wanted.mode is not None:
            return wanted.mode
        alone = bool((wanted.text or "").strip()) and not wanted.has_media
        return self.watched.index.info.pipeline.mode if alone else "vector"

    def search(
        self,
        index: "Index",
        wanted: SearchRequest,
        query_D: NDArray[np.float32] | None,
        rerank: "Scorer | None" = None,
    ) -> dict[str, Any]:
        """The best items, or without a query those that pass the filter.

        Args:
            query_D: the query's vector; None where there is no query, or one by words alone.
            rerank: of the best hits.

        Raises:
            ApiError: a filter that cannot be read, or a filter or an order by a field that is not there.
        """
        from llave.search.fields import check_filter, check_sort
        from llave.search.filters import filter_from_json
        from llave.search.near import suggest

        version, fields = self.watched.version_of(index), index.store.fields()
        with _param("filter", "invalid_filter"):
            conditions = filter_from_json(wanted.filter)
            check_filter(conditions, fields)
        with _param("sort", "invalid_sort"):
            check_sort(wanted.order and wanted.order.removeprefix("-"), fields)
        count, spread = index.count(conditions), None
        if not wanted.has_query:
            hits = index.browse(
                filter=conditions, sort=wanted.order, seed=wanted.seed, limit=wanted.limit, offset=wanted.offset
            )
        else:
            exclude = [wanted.id] if wanted.id else []
            with _param("one_per", "invalid_one_per"):
                hits = index.search(
                    query_D,
                    words=wanted.text or "",
                    filter=conditions,
                    exclude=exclude,
                    limit=wanted.limit,
                    offset=wanted.offset,
                    mode=self.mode(wanted),
                    rerank=rerank,
                    top=wanted.top,
                    mmr=wanted.mmr,
                    one_per=wanted.one_per,
                )
            if wanted.histogram and query_D is not None:
                spread = _histogram(index.scores(query_D, filter=conditions))
        return {
            "results": [self.item(hit) for hit in hits],
            "histogram": spread,
            "count": count,
            "version": version,
            "stages": {stage: round(ms, 1) for stage, ms in hits.times.items()},
            "hint": None if count else "; ".join(suggest(index.store, conditions)) or None,
        }

    def item(self, hit: "Hit") -> dict[str, Any]:
        """An item as JSON; its addresses lead to this index."""
        return item(hit, "" if self._number == 1 else f"&index={self._number}")

    def folders(self, index: "Index", under: str) -> dict[str, Any]:
        """``/v1/folders``."""
        version, found = self.watched.version_of(index), index.folders(under)
        data = [{**dataclasses.asdict(folder), "name": folder.name} for folder in found[:MAX_FOLDERS]]
        return {"object": "list", "data": data, "left_out": max(0, len(found) - MAX_FOLDERS), "version": version}

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[["Index"], Result]) -> Result:
        """Work on the index as it was or as it is, if it was replaced meanwhile, and not on some of both."""
        loop, index = asyncio.get_running_loop(), self.watched.index
        try:
            found = await loop.run_in_executor(threads, work, index)
        except ApiError:
            raise
        except Exception:  # maybe the index has gone since the last look, or is another one
            await asyncio.to_thread(self.watched.look)
            if self.watched.index is index:
                raise
        else:
            if self.watched.is_still(index):
                return found
            await asyncio.to_thread(self.watched.look)
        return await loop.run_in_executor(threads, work, self.watched.index)

    async def _whole(self, name: str, make: Callable[["Index"], dict[str, Any]]) -> Kept[bytes]:
        """What was made of the index as it is now; whoever comes meanwhile waits for the same."""

        def work(index: "Index") -> Kept[bytes]:
            known, version = self._kept.get(name), self.watched.version_of(index)
            if known is None or not known.serves(version):
                known = self._kept[name] = keep(version, lambda: to_json({**make(index), "version": version}))
            return known

        known = self._kept.get(name)
        if self.watched.is_there and known is not None and known.serves(self.watched.version):
            return known
        return await self._run(self._making, work)

    def _describe(self, index: "Index") -> dict[str, Any]:
        from llave.search.suggestions import suggestions

        return {
            "object": "index",
            "model": Path(index.info.model).name,  # not where it lies on this machine
            "count": index.count(),
            "dimension": index.info.dimension,
            "kinds": index.kinds(),
            "fields": [_field(field) for field in index.fields()],
            "suggestions": suggestions(index.store),
            "map": index.map() is not None,
            "gallery": self._gallery,
            "beside": None if self._beside is None else Path(self._beside.watched.index.info.model).name,
            "words": bool(index.info.words.sources) and index.store.has_words(),
            "pipeline": {**dataclasses.asdict(index.info.pipeline), "rerank": bool(index.info.pipeline.rerank)},
        }


def item(hit: "Hit", query: str = "") -> dict[str, Any]:
    """An item as JSON.

    Args:
        query: more of the addresses' query.
    """
    return {
        "id": hit.id,
        "score": None if math.isnan(hit.score) else hit.score,
        "kind": hit.kind,
        "text": hit.text,
        "path": hit.path,
        "fields": hit.fields,
        "scores": dict(hit.scores),
        "ranks": dict(hit.ranks),
        "seen": hit.content,
        "thumbnail": None if hit.kind in ("text", "audio") else _address(hit, "thumbnail", query),
        "content": _address(hit, "content", query) if hit.kind in ("image", "audio") else None,
    }


def version_of(content: str) -> str:
    """The part of a content's hash that is in the addresses of its pictures, so that another content has others."""
    return content[:16]


def _address(hit: "Hit", what: str, query: str) -> str:
    return f"/v1/items/{hit.id}/{what}?v={version_of(hit.content)}{query}"


@contextmanager
def _param(name: str, code: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise bad_request(str(error), name, code) from None


def _histogram(score_N: NDArray[np.float32]) -> dict[str, Any] | None:
    if not len(score_N):
        return None
    counts, edges = np.histogram(score_N, bins=BINS)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _field(field: "Field") -> dict[str, Any]:
    if field.type in ("integer", "number", "date"):
        return {"name": field.name, "type": field.type, "low": field.low, "high": field.high}
    values = [{"value": value, "count": count} for value, count in field.values]
    return {"name": field.name, "type": field.type, "values": values}
