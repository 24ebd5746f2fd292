"""What a search is for, however it was said."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llave.encode.item import Item
from llave.errors import UserError

if TYPE_CHECKING:
    from llave.search.index import Index

__all__ = ["Asked", "ask"]

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Asked:
    """A query.

    Args:
        text: that is compared by its words; empty where there is none.
        vector: its unit vector (D,), which is made when it is asked for.
        item: what a reranker compares with.
        itself: id of an item that is no answer, since its neighbours are wanted; else empty.
    """

    text: str
    vector: Callable[[], Vector]
    item: Item
    itself: str = ""


def ask(
    index: "Index",
    query: "str | Item | Vector | None",
    *,
    image: Any = None,
    audio: Any = None,
    weight: float | None = None,
    like: str | None = None,
    words: str | None = None,
) -> Asked:
    """From the arguments of :meth:`llave.search.index.Index.search`.

    Raises:
        UserError: ``like`` beside something else, or of no item; a vector of another dimension.
    """
    if like is not None:
        if query is not None or image is not None or audio is not None:
            raise UserError("`like` stands alone: an item's neighbours, without a query")
        itself = index.find(like)
        neighbour_D = None if itself is None else index.vector(itself)
        if itself is None or neighbour_D is None:
            raise UserError(f"{index.path}: no item {like!r}; paths are in the results of a search")
        return Asked("", lambda: neighbour_D, Item(), itself)
    if isinstance(query, np.ndarray):
        query_D = _unit(query, index.info.dimension)
        return Asked(words or "", lambda: query_D, Item(words or ""))
    item = query if isinstance(query, Item) else Item(query or "", _opened(image), audio=_opened(audio))

    def vector() -> Vector:
        from llave.search.query import embed_query

        what = item if isinstance(query, Item) else query or ""
        prompt = index.info.prompts["query"]
        return embed_query(index.use_model(), what, image=image, audio=audio, weight=weight, prompt=prompt)

    return Asked(item.words if words is None else words, vector, item)


def _opened(media: Any) -> Any:
    return Path(media) if isinstance(media, str) else media


def _unit(query_D: Vector, dimension: int) -> Vector:
    query_D = np.asarray(query_D, np.float32).reshape(-1)
    norm = float(np.linalg.norm(query_D))
    if len(query_D) != dimension or not np.isfinite(norm) or norm == 0:
        raise UserError(f"a query of {len(query_D)} numbers of norm {norm:g}; wanted: {dimension}, not zero")
    return query_D / np.float32(norm)
