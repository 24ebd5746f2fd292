"""What an index asks of a vector database; LanceDB, PostgreSQL and Qdrant stand behind it."""

import hashlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from llave.collection.types import FieldType, Scalar
from llave.errors import UserError
from llave.search.filters import EVERYTHING, Filter
from llave.search.words import Words

__all__ = ["Known", "Row", "Settings", "SmallPrecision", "StoreStats", "VectorStore", "row_id"]

SmallPrecision = Literal["int8", "binary"]
"""Of the numbers in an approximate index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An item of an index.

    Args:
        id: unique in the index.
        source: the folder or table it comes from.
        key: its name there.
        kind: text, image, video, audio or page.
        text: of the item.
        path: shown to people; of a table without files it is empty.
        file: path of the picture, page, video or sound relative to the source's folder; empty where there is none.
        stamp: equal as long as the file surely has not changed.
        content: hash of what the model saw.
        digest: hash of name and fields.
        thumbnail: a small WebP, or empty.
        words: what a keyword search reads; they are written, and not read back.
        fields: metadata.
        vector_D: unit length, float32; None where it was not asked for.
    """

    id: str
    source: str
    key: str
    kind: str
    text: str
    path: str
    file: str
    stamp: str
    content: str
    digest: str
    thumbnail: bytes = b""
    words: str = ""
    fields: Mapping[str, Scalar] = field(default_factory=dict)
    vector_D: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is asked of a row to see whether it is still true."""

    stamp: str
    content: str
    digest: str


@dataclass(frozen=True, slots=True)
class Settings:
    """How an approximate search is done. Stores take what they know of it.

    Args:
        probes: parts of the index that are visited.
        refine: candidates per hit of the first stage that are scored exactly, by the full vectors.
        precision: of the numbers that the first stage compares, ``"int8"`` or ``"binary"``.
        prefix: dimensions that it compares, the first ones, at unit length; None is all.
        target: recall of the ten best that probes and refine are found for.

    Raises:
        UserError: another precision, or a target that is no share.
    """

    probes: int = 20
    refine: int = 8
    precision: SmallPrecision = "int8"
    prefix: int | None = None
    target: float = 0.98

    def __post_init__(self) -> None:
        if not 0 < self.target <= 1:
            raise UserError(f"target {self.target!r}: a share of the best hits, above 0 and at most 1")
        if self.precision not in get_args(SmallPrecision):
            raise UserError(f"precision {self.precision!r}: one of {', '.join(get_args(SmallPrecision))}")


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Rows, whether there is an approximate index, and rows that it does not hold yet."""

    rows: int
    approximate: bool
    unindexed: int


class VectorStore(Protocol):
    """Rows by id. What a method has done when it returns survives a kill; writing the same again changes nothing."""

    def upsert(self, rows: Sequence[Row], *, new: bool = False) -> None:
        """Insert rows, or replace those of the same id. A field that is new, or whose type does not hold the values, is
        given a type that does.

        Args:
            new: the caller knows that no row has one of these ids: nobody looks for them, which takes longer the more
                rows there are.
        """

    def retype(self, types: Mapping[str, FieldType | None]) -> None:
        """Give fields these types, their values converted; None removes a field. One that has a value which would not
        be written back the same becomes a string."""

    def set_field(self, name: str, values: Mapping[str, Scalar]) -> None:
        """Give rows, by id, a value of a field, of its type or one that holds it too; other rows and unknown ids stay
        as they are."""

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows; unknown ids are ignored."""

    def relocate(self, old: str, new: str) -> None:
        """Every row of a source says another path of it from now on, all at once."""

    def known(self, source: str) -> Iterator[tuple[str, Known]]:
        """Ids of every row of a source, with what is known of it; millions are not in memory at once."""

    def count(self, conditions: Filter = EVERYTHING) -> int:
        """Rows that pass."""

    def nearest(
        self, query_D: NDArray[np.float32], *, limit: int, conditions: Filter = EVERYTHING, exact: bool = False
    ) -> list[tuple[Row, float]]:
        """The rows of the highest cosines with a unit vector, best first, without their vectors.

        Args:
            exact: compare all rows, whatever index there is.

        Raises:
            UserError: a condition on a field that is not there, or of another type.
        """

    def match(
        self,
        text: str,
        *,
        limit: int,
        conditions: Filter = EVERYTHING,
        ids: Sequence[str] | None = None,
        every: bool = False,
    ) -> list[tuple[Row, float]]:
        """The rows whose words are most like those of a text, best first, with their BM25 scores; those that share no
        word are left out.

        Args:
            ids: compare only these rows; scores are as without.
            every: only rows that have every word, as it is written or with another ending; scores are as without.

        Raises:
            UserError: the rows' words are not kept, or as :meth:`nearest`.
        """

    def best(self, texts: Sequence[str], *, every: bool = False) -> list[float]:
        """For each text, the BM25 score of the row that is most like it; 0 where there is none.

        Args:
            texts: words, if not ``every``.
            every: of the rows that have every word of a text.

        Raises:
            UserError: the rows' words are not kept.
        """

    def keep_words(self, words: Words) -> None:
        """From now on words are found; rows that have none yet are given theirs."""

    def forget_words(self) -> None:
        """No row has words any more, all at once."""

    def has_words(self) -> bool:
        """Whether every row's words are kept."""

    def ordered(
        self, *, conditions: Filter = EVERYTHING, sort: str | None = None, descending: bool = False
    ) -> list[str]:
        """Ids of the rows that pass, in the order of a field, those without it last; of equals, by their keys.

        Args:
            sort: a field, ``modified`` for the time of the files, or None for the order of the keys.

        Raises:
            UserError: no such field, or as :meth:`nearest`.
        """

    def get(self, ids: Sequence[str], *, vectors: bool = False, thumbnails: bool = False) -> dict[str, Row]:
        """The rows of these ids; unknown ids are left out."""

    def vectors(self, *, limit: int | None, conditions: Filter = EVERYTHING) -> tuple[list[str], NDArray[np.float32]]:
        """Ids and vectors (N, D), of at most ``limit`` rows: always the same ones, spread over the whole."""

    def fields(self) -> dict[str, FieldType]:
        """Metadata fields and their types."""

    def column(self, names: Sequence[str], fields: Sequence[str] = ()) -> Mapping[str, list[Any]]:
        """Whole columns (``id``, ``kind`` and the like, else a field), in one order.

        Args:
            fields: fields, also of names that a row has itself.
        """

    def optimize(self, *, exact_below: int, settings: Settings) -> None:
        """Compact, drop old versions, and index for approximate search from ``exact_below`` rows on, in the precision
        and of the first dimensions that the settings say.

        Raises:
            UserError: a precision or a prefix that this store does not have.
        """

    def stats(self) -> StoreStats:
        """Size and state."""

    def version(self) -> Hashable:
        """Another one after every change of rows or fields, also by another process. Cheap; what is read from now on
        is of this version or a later one.

        Raises:
            UserError: the rows are gone.
        """

    def use(self, settings: Settings) -> None:
        """Search with these settings from now on."""


def row_id(source: str, key: str) -> str:
    """The id of an item: 32 hexadecimal digits."""
    return hashlib.sha256(f"{source}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
