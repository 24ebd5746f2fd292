"""An index on a Qdrant server, for those who outgrow one machine."""

import json
import uuid
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llave.collection.types import FieldType, Scalar, cast
from llave.data.door import named
from llave.errors import UserError
from llave.files import write_json, write_text
from llave.search.fields import cast_all, changed_types, check_filter, check_sort, in_order
from llave.search.filters import EVERYTHING, Condition, Filter, Not
from llave.search.names import OWN_FIELDS, column_of
from llave.search.store import Known, Row, Settings, StoreStats
from llave.search.words import Words
from llave.storage.location import Location

try:
    from qdrant_client import models

    from llave.search.qdrant_connect import connect
    from llave.search.qdrant_filter import SCHEMA, as_qdrant, payload_path
    from llave.search.qdrant_points import TEXTS, WORDED, id_of, known_point, payload_of, point_of, row_of, vector_of
    from llave.search.qdrant_words import WORDS, both_vectors, fill, has_words, match_words
except ImportError:
    raise UserError("an index on Qdrant needs the package qdrant-client: pip install 'llave[qdrant]'") from None

__all__ = ["QdrantStore"]

ROWS_AT_ONCE = 256
SCROLL = 4096
EF_PER_PROBE = 8
"""Qdrant's index is a graph: its measure of effort, ``hnsw_ef``, is taken to be so many times our probes."""


class QdrantStore:
    """Rows as points of a Qdrant collection.

    Args:
        url: of a server, or a folder: then qdrant-client's local mode, which compares every row and is for tests.
        collection: its name; made if it is not there.
        dimension: of the vectors.
        types: a file that keeps the types of the fields, which Qdrant does not.
        api_key: of the server.

    Raises:
        UserError: no server there, or a collection of another dimension.
    """

    def __init__(
        self, url: str | Path, collection: str, dimension: int, types: Location, *, api_key: str | None = None
    ) -> None:
        self._collection = collection
        self._settings = Settings()
        self._types = types
        self._local = "://" not in str(url)
        self._client: Any = connect(url, api_key)
        try:
            self._create(dimension)
        except UserError:
            raise
        except Exception as error:  # of httpx, of grpc, of the client, by what is wrong
            raise UserError(
                f"{url}: no Qdrant server that answers ({str(error).strip() or type(error).__name__})"
            ) from None

    def upsert(self, rows: Sequence[Row], *, new: bool = False) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        types, vectors = self._grow([row.fields for row in rows]), both_vectors if self._sparse else vector_of
        for start in range(0, len(rows), ROWS_AT_ONCE):
            points = [
                models.PointStruct(id=point_of(row.id), vector=vectors(row), payload=payload_of(row, types))
                for row in rows[start : start + ROWS_AT_ONCE]
            ]
            self._client.upsert(self._collection, points, wait=True)
        self._changed()

    def delete(self, ids: Sequence[str]) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        if ids:
            self._client.delete(self._collection, models.PointIdsList(points=[point_of(i) for i in ids]), wait=True)
            self._changed()

    def set_field(self, name: str, values: Mapping[str, Scalar]) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        types = self._grow([{name: value} for value in values.values()])
        if name in types:
            ids = set(values) & {id_of(point.id) for point in self._scroll(None, [])}
            self._set(column_of(name), {point_of(each): cast(values[each], types[name]) for each in ids})
            self._changed()

    def relocate(self, old: str, new: str) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        rows: Any = as_qdrant(Condition("source", "=", old))
        self._client.set_payload(self._collection, {"source": new}, points=rows, wait=True)
        self._changed()

    def known(self, source: str) -> Iterator[tuple[str, Known]]:
        """See :class:`~llave.search.store.VectorStore`."""
        names = ["stamp", "content", "digest"]
        for point in self._scroll(as_qdrant(Condition("source", "=", source)), names):
            yield id_of(point.id), Known(*(point.payload[name] for name in names))

    def count(self, conditions: Filter = EVERYTHING) -> int:
        """See :class:`~llave.search.store.VectorStore`."""
        return int(self._client.count(self._collection, count_filter=self._checked(conditions), exact=True).count)

    def nearest(
        self, query_D: NDArray[np.float32], *, limit: int, conditions: Filter = EVERYTHING, exact: bool = False
    ) -> list[tuple[Row, float]]:
        """See :class:`~llave.search.store.VectorStore`."""
        effort = max(limit, EF_PER_PROBE * self._settings.probes)
        found = self._client.query_points(
            self._collection,
            query=query_D.tolist(),
            limit=limit,
            query_filter=self._checked(conditions),
            search_params=models.SearchParams(exact=exact, hnsw_ef=effort),
            with_payload=models.PayloadSelectorExclude(exclude=["thumbnail"]),
        )
        return [(row_of(point), float(point.score)) for point in found.points]

    def match(
        self,
        text: str,
        *,
        limit: int,
        conditions: Filter = EVERYTHING,
        ids: Sequence[str] | None = None,
        every: bool = False,
    ) -> list[tuple[Row, float]]:
        """See :class:`~llave.search.store.VectorStore`. Words are whole and as they are written."""
        if not self._sparse:
            raise UserError(
                f"the Qdrant collection {self._collection!r} was made without words; index anew, with another --index "
                "and --collection"
            )
        return match_words(self._client, self._collection, text, limit, self._checked(conditions), ids, every)

    def best(self, texts: Sequence[str], *, every: bool = False) -> list[float]:
        """See :class:`~llave.search.store.VectorStore`."""
        return [next((score for _, score in self.match(text, limit=1, every=every)), 0.0) for text in texts]

    def keep_words(self, words: Words) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        if not self._sparse:
            return
        missing: Any = models.Filter(must_not=[models.FieldCondition(key=WORDED, match=models.MatchValue(value=True))])
        points = list(self._scroll(missing, [*TEXTS, "fields"]))
        fill(self._client, self._collection, {str(point.id): row_of(point) for point in points}, words)

    def forget_words(self) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        if self._sparse:
            self._client.set_payload(self._collection, {WORDED: False}, points=models.Filter(), wait=True)

    def has_words(self) -> bool:
        """See :class:`~llave.search.store.VectorStore`."""
        return self._sparse

    def ordered(
        self, *, conditions: Filter = EVERYTHING, sort: str | None = None, descending: bool = False
    ) -> list[str]:
        """See :class:`~llave.search.store.VectorStore`."""
        column, kind = check_sort(sort, self.fields())
        return in_order(self._columns(list({"id", "key", column}), self._checked(conditions)), column, kind, descending)

    def get(self, ids: Sequence[str], *, vectors: bool = False, thumbnails: bool = False) -> dict[str, Row]:
        """See :class:`~llave.search.store.VectorStore`."""
        points = self._client.retrieve(
            self._collection,
            [point for i in ids if (point := known_point(i)) is not None],
            with_payload=True if thumbnails else models.PayloadSelectorExclude(exclude=["thumbnail"]),
            with_vectors=vectors,
        )
        rows = [row_of(point) for point in points]
        return {row.id: row for row in rows}

    def vectors(self, *, limit: int | None, conditions: Filter = EVERYTHING) -> tuple[list[str], NDArray[np.float32]]:
        """See :class:`~llave.search.store.VectorStore`."""
        ids = sorted(id_of(point.id) for point in self._scroll(self._checked(conditions), []))
        if limit is not None and len(ids) > limit:
            ids = [ids[place] for place in np.linspace(0, len(ids) - 1, limit).astype(int)]
        rows: dict[str, Row] = {}
        for start in range(0, len(ids), ROWS_AT_ONCE):
            rows |= self.get(ids[start : start + ROWS_AT_ONCE], vectors=True)
        ids = [i for i in ids if i in rows]  # one may have been removed meanwhile
        vectors = [vector for i in ids if (vector := rows[i].vector_D) is not None]
        return ids, np.stack(vectors) if vectors else np.zeros((0, 1), np.float32)

    def fields(self) -> dict[str, FieldType]:
        """See :class:`~llave.search.store.VectorStore`."""
        found: dict[str, FieldType] = json.loads(self._types.read_text("utf-8")) if self._types.is_file() else {}
        return found

    def column(self, names: Sequence[str], fields: Sequence[str] = ()) -> Mapping[str, list[Any]]:
        """See :class:`~llave.search.store.VectorStore`."""
        columns = {name: name if name in ("id", *TEXTS) else column_of(name) for name in names}
        columns |= {name: column_of(name) for name in fields}
        found = self._columns(list(columns.values()), None)
        return {name: found[column] for name, column in columns.items()}

    def _columns(self, names: Sequence[str], condition: models.Filter | None) -> Mapping[str, list[Any]]:
        columns: dict[str, list[Any]] = {name: [] for name in names}
        keys = [name if name in TEXTS else payload_path(name) for name in names if name != "id"]
        for point in self._scroll(condition, keys):
            payload = point.payload or {}  # None where only ids are asked for
            for name in names:
                value = payload.get(name) if name in TEXTS else payload.get("fields", {}).get(name)
                columns[name].append(id_of(point.id) if name == "id" else value)
        return columns

    def optimize(self, *, exact_below: int, settings: Settings) -> None:
        """Qdrant compacts and indexes by itself, by full vectors; this says from how many vectors on."""
        if settings.precision != "int8" or settings.prefix is not None:
            raise UserError("an index on Qdrant compares full vectors; binary ones and prefixes are LanceDB's alone")
        self.use(settings)
        if not self._local:
            size = self._dimension * 4 * exact_below // 1024  # the threshold is in KiB of vectors
            self._client.update_collection(
                self._collection, optimizers_config=models.OptimizersConfigDiff(indexing_threshold=max(1, size))
            )

    def stats(self) -> StoreStats:
        """See :class:`~llave.search.store.VectorStore`."""
        rows = self.count()
        indexed = int(self._client.get_collection(self._collection).indexed_vectors_count or 0)
        if self._sparse and has_words(self._client, self._collection):
            indexed -= rows  # words are counted as well, and are always indexed
        return StoreStats(rows, indexed > 0, max(0, rows - max(0, indexed)))

    def version(self) -> Hashable:
        """See :class:`~llave.search.store.VectorStore`. Qdrant counts no changes; the writers of this folder do."""
        changes = self._types.with_suffix(".changes")
        with named(f"the Qdrant collection {self._collection!r}", "gone"):
            rows = self._client.count(self._collection, exact=True).count
            return rows, changes.read_text("utf-8") if changes.is_file() else ""

    def use(self, settings: Settings) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        self._settings = settings

    def close(self) -> None:
        """Let go of the folder of local mode, which one client at a time may have open."""
        self._client.close()

    def _create(self, dimension: int) -> None:
        self._dimension = dimension
        if self._client.collection_exists(self._collection):
            about: Any = self._client.get_collection(self._collection).config.params.vectors
            if about.size != dimension:
                raise UserError(
                    f"the Qdrant collection {self._collection!r} has vectors of {about.size} dimensions, not "
                    f"{dimension}; name another one"
                )
            self._sparse = WORDS in (self._client.get_collection(self._collection).config.params.sparse_vectors or {})
            return
        self._client.create_collection(
            self._collection,
            vectors_config=models.VectorParams(size=dimension, distance=models.Distance.COSINE),
            sparse_vectors_config={WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
        )
        self._sparse = True
        for name, kind in OWN_FIELDS.items():
            self._index(name, kind)

    def _unindex(self, key: str) -> None:
        if not self._local:
            self._client.delete_payload_index(self._collection, key, wait=True)

    def _index(self, key: str, kind: FieldType) -> None:
        if not self._local:  # local mode has none, and warns
            self._client.create_payload_index(self._collection, key, SCHEMA[kind], wait=True)

    def retype(self, types: Mapping[str, FieldType | None]) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        known = self.fields()
        for name, kind in types.items():
            if kind == known.get(name):
                continue
            known = {each: found for each, found in known.items() if each != name}
            write_json(self._types, known)  # whoever is killed from here on finds a new field, and converts its values
            found = self._convert(column_of(name), kind)
            if found is not None:
                known = {**known, name: found}
                write_json(self._types, known)
            self._changed()

    def _convert(self, column: str, kind: FieldType | None) -> FieldType | None:
        """Give all values another type, or remove them; the type that they have in the end."""
        there = as_qdrant(Not(Condition(column, "null")))
        old = [(point.id, point.payload["fields"][column]) for point in self._scroll(there, [payload_path(column)])]
        self._unindex(payload_path(column))
        if kind is None:
            if old:
                self._client.delete_payload(
                    self._collection, [payload_path(column)], [point for point, _ in old], wait=True
                )
            return None
        values, kind = cast_all([value for _, value in old], kind)
        pairs = zip(old, values, strict=True)
        self._set(column, {point: value for (point, before), value in pairs if type(value) is not type(before)})
        self._index(payload_path(column), kind)
        return kind

    def _set(self, column: str, values: Mapping[str, Scalar]) -> None:
        """A field's values of points, those of one value together."""
        of_value: dict[Scalar, list[Any]] = {}
        for point, value in values.items():
            of_value.setdefault(value, []).append(point)
        for value, points in of_value.items():
            self._client.set_payload(self._collection, {column: value}, points, key="fields", wait=True)

    def _grow(self, fields: Sequence[Mapping[str, Scalar]]) -> Mapping[str, FieldType]:
        """All fields with their types, after changing those that do not hold what rows have."""
        self.retype(changed_types(self.fields(), fields))
        return self.fields()

    def _changed(self) -> None:
        write_text(self._types.with_suffix(".changes"), uuid.uuid4().hex)

    def _checked(self, conditions: Filter) -> models.Filter | None:
        return as_qdrant(check_filter(conditions, self.fields()))

    def _scroll(self, condition: models.Filter | None, keys: Sequence[str]) -> Iterator[Any]:
        offset = None
        while True:
            points, offset = self._client.scroll(
                self._collection,
                scroll_filter=condition,
                limit=SCROLL,
                offset=offset,
                with_payload=models.PayloadSelectorInclude(include=list(keys)) if keys else False,
            )
            yield from points
            if offset is None:
                return
