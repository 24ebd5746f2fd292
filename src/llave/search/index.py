"""An index on disk: what was embedded, by which model, and how to search it.

index, _ = build_index("photos.index", "runs/quickstart/models/hardness", "photos")
hits = index.search("a red umbrella", filter="year >= 2000")
"""

import dataclasses
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llave.data.door import named
from llave.data.pages import split_page
from llave.encode.item import Item
from llave.errors import UserError
from llave.search.asked import ask
from llave.search.browsing import Browsing, Folder
from llave.search.fields import Field, describe
from llave.search.filters import EVERYTHING, Filter, as_filter
from llave.search.hits import Hits, hit, index_html
from llave.search.info import INFO, LANCE, IndexInfo, info_exists, open_model, read_info, write_info
from llave.search.kept import KeptFew
from llave.search.maker import check_model, maker_of
from llave.search.open_store import check_empty, open_store
from llave.search.pipeline import Mode, Pipeline, Reranking, Scorer, item_of, run_pipeline
from llave.search.projection import FILE as MAP
from llave.search.projection import Map, read_map
from llave.search.sorting import classify, cluster, duplicates, set_field
from llave.search.sources import read_sources, root_of
from llave.search.store import Row, VectorStore
from llave.search.trust import check_address, file_of, named_roots
from llave.storage.changes import mark
from llave.storage.location import Location, is_below, location
from llave.storage.locks import creating

if TYPE_CHECKING:
    from PIL import Image
    from sentence_transformers import SentenceTransformer

__all__ = ["Index"]

MANY = 10_000
"""From so many hits on, comparing all items is not slower."""
SAMPLES = 4  # of vectors that are kept, one per filter


class Index:
    """Search by vector. Safe to call from several threads."""

    def __init__(self, path: Location, info: IndexInfo, store: VectorStore, allowed: Sequence[Location] = ()) -> None:
        self.path = path
        self._allowed = [source.resolve() for source in allowed]
        self.info = info
        self.store = store
        self._samples = KeptFew[NDArray[np.float32]](SAMPLES)
        self._browsing = Browsing(store)
        self._model: SentenceTransformer | None = None

    @classmethod
    def open(
        cls, path: str | Location, *, qdrant: str | None = None, allow_sources: Sequence[str | Location] = ()
    ) -> "Index":
        """The index in a folder, or in one of object storage (``s3://bucket/photos.index``).

        Args:
            qdrant: address of its server, if the user names it; else he must have done so before.
            allow_sources: folders whose files may be given out, beside those that were indexed on this machine.

        Raises:
            UserError: none there, or its store cannot be reached, or is at an address that the user has not named.
        """
        path = location(path)
        info = read_info(path)
        if info.store == LANCE and not (path / LANCE).is_dir():
            raise UserError(f"{path / LANCE}: gone: nothing of the index is left; remove {path}, and index again")
        if info.store != LANCE:
            check_address(info.store, index=path, name=qdrant)
        index = cls(path, info, open_store(path, info), [location(source) for source in allow_sources])
        index.store.use(info.settings)
        return index

    @classmethod
    def create(cls, path: str | Location, info: IndexInfo) -> "Index":
        """A new index in a folder.

        Raises:
            UserError: its store has rows already, and nobody knows of which model; or there is one by now.
        """
        path = location(path)
        path.mkdir(parents=True, exist_ok=True)
        with creating(path):
            if cls.exists(path):
                raise UserError(f"{path}: another process has begun an index there; wait until it is done")
            index = cls(path, info, open_store(path, info))
            check_empty(path, info, index.count())
            index.save()
        return index

    @staticmethod
    def exists(path: str | Location) -> bool:
        """Whether there is one."""
        return info_exists(location(path))

    def save(self) -> None:
        """Write what is known of the index, whole or not at all."""
        write_info(self.path, self.info)

    def version(self) -> Hashable:
        """Another one whenever rows, fields, map, settings or model have changed, also by another process. Cheap.

        Raises:
            UserError: the index is gone.
        """
        with named(str(self.path), "gone"):
            drawn = mark(file) if (file := self.path / MAP).is_file() else None
            return self.store.version(), mark(self.path / INFO), drawn

    def refreshed(self, *, anew: bool = False, path: Location | None = None) -> "Index":
        """This index, or another one where its model or settings are others by now; an opened model goes along, if it
        is still the one.

        Args:
            anew: another one in any case, since its files are others.
            path: where it is by now.

        Raises:
            UserError: the index is gone.
        """
        info = read_info(path or self.path)
        if info == self.info and not anew:
            return self
        index = Index.open(path or self.path, allow_sources=self._allowed)
        if info.fingerprint == self.info.fingerprint:
            index._model = self._model
        return index

    def check_model(self, model: "SentenceTransformer") -> None:
        """Refuse a model that did not make the index's vectors, with a UserError."""
        check_model(self.path, self.info, maker_of(model))

    def use_model(
        self,
        model: "SentenceTransformer | str | Path | None" = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
    ) -> "SentenceTransformer":
        """The model for queries; None opens the one that the index was made with, once.

        Raises:
            UserError: it is not where it was, or has other weights.
        """
        if model is None and self._model is not None:
            return self._model
        if model is None or isinstance(model, str | Path):
            model = open_model(self.path, self.info, model, device=device, dtype=dtype)
        self.check_model(model)
        self._model = model
        return model

    def count(self, filter: Filter | str = EVERYTHING) -> int:
        """Items that pass."""
        return self.store.count(as_filter(filter))

    def search(
        self,
        query: str | Item | NDArray[np.float32] | None = None,
        *,
        image: "str | Path | bytes | Image.Image | None" = None,
        audio: str | Path | bytes | None = None,
        weight: float | None = None,
        like: str | None = None,
        limit: int = 24,
        offset: int = 0,
        filter: Filter | str = EVERYTHING,
        exclude: Sequence[str] = (),
        exact: bool = False,
        mode: Mode | None = None,
        words: str | None = None,
        rerank: Scorer | None = None,
        top: int | None = None,
        mmr: float | None = None,
        one_per: str | None = None,
    ) -> Hits:
        """The best items, best first, by the stages of the index's pipeline (:class:`~llave.search.pipeline.Pipeline`).

        Args:
            query: a text, an item, or a vector (D,) of any length above 0.
            image: a picture to look for, with or without a text ("this, but in red"); ``audio`` is a sound.
            weight: share of the picture or sound beside the text's vector; None lets the model fuse them.
            like: the id, path or key of an item whose neighbours are wanted, instead of all these.
            offset: leave out so many of the best; ``exclude``: ids that are no answer.
            filter: such as ``"artist = noto and year >= 2000"``.
            exact: compare all items.
            mode: ``"vector"``, ``"words"`` (the model is not needed) or ``"hybrid"``; None is the index's own. Scores
                by vector are cosines. What has no words (a picture, a vector, ``like``) is searched for by vector, and
                so is a text beside a picture or sound, unless you say otherwise.
            words: the text that is compared by its words; None is the query's own.
            rerank: a reranker (:class:`llave.rerank.reranker.Reranker`) for the best of them; ``top``, ``mmr`` and
                ``one_per`` are those of the pipeline. None is the index's own.

        Raises:
            UserError: nothing to search for, a vector of another dimension, a filter on a field that is not there, or a
                mode that this query or index does not have.
        """
        conditions = as_filter(filter)
        asked = ask(self, query, image=image, audio=audio, weight=weight, like=like, words=words)
        spoken = bool(asked.text.strip())
        if mode in ("words", "hybrid") and not (spoken and self.info.words.sources):
            why = (
                f"{self.path} keeps no words; index again with --words all" if spoken else "there is no text to compare"
            )
            raise UserError(f"mode {mode}: {why}")
        if mode is None and (not spoken or asked.item.modality != "text"):  # beside a picture, words change it
            mode = "vector"
        pipeline = self._pipeline(mode=mode, top=top, mmr=mmr, one_per=one_per)
        exclude = [*exclude, asked.itself] if asked.itself else exclude
        wanted = limit + offset
        if wanted + len(exclude) > MANY:  # a store makes room for all that are asked for, several times over
            wanted, exact = min(wanted, self.store.count(conditions)), True
        if wanted < 1:
            return Hits()
        found, times = run_pipeline(
            self.store,
            pipeline,
            wanted=wanted,
            vector=asked.vector,
            text=asked.text,
            conditions=conditions,
            exclude=exclude,
            exact=exact,
            reranking=None if rerank is None else Reranking(rerank, asked.item, self.item),
        )
        hits = (hit(each.row, each.score, each.scores, each.ranks) for each in found[offset : offset + limit])
        return Hits(hits, times=times, thumbnail=self.thumbnail)

    def _pipeline(self, **said: Any) -> Pipeline:
        """The index's own, but for what was said."""
        return dataclasses.replace(
            self.info.pipeline, **{key: value for key, value in said.items() if value is not None}
        )

    def item(self, row: Row) -> Item:
        """What the model sees of a row: its text and its file, if that still is where it was and may be given out."""
        file = file_of(row, self.given_out())
        page = split_page(row.file)[1]
        return item_of(row, file if file is None or page is None else Path(f"{file}#page={page}"))

    def browse(
        self,
        *,
        filter: Filter | str = EVERYTHING,
        sort: str | None = None,
        seed: int | None = None,
        limit: int = 24,
        offset: int = 0,
    ) -> Hits:
        """Items without a query; their score is nan.

        Args:
            filter: as of :meth:`search`.
            sort: a field, such as ``"year"``, or ``"-year"`` for the highest first; items without it come last.
                ``"-modified"`` has the newest files first. None is the order of their keys.
            seed: of a random order, instead of a field's.
            offset: leave out so many of the first.

        Raises:
            UserError: a filter or an order by a field that is not there.
        """
        ids = self._browsing.ids(self.version(), as_filter(filter), sort, seed)
        return self.get(ids[offset : offset + limit])

    def folders(self, under: str = "") -> list[Folder]:
        """The folders of items right under another one, such as ``"pets/"``, with their counts."""
        return self._browsing.folders(self.version(), under)

    def scores(
        self, query_D: NDArray[np.float32], *, filter: Filter | str = EVERYTHING, sample: int = 20_000
    ) -> NDArray[np.float32]:
        """Cosines of a unit vector with every item, or with a fixed sample of so many, for a histogram."""
        conditions = as_filter(filter)
        vector_ND = self._samples.get(
            self.version(), (conditions, sample), lambda: self.store.vectors(limit=sample, conditions=conditions)[1]
        )
        scores_N: NDArray[np.float32] = vector_ND @ query_D if len(vector_ND) else np.zeros(0, np.float32)
        return scores_N

    def get(self, ids: Sequence[str]) -> Hits:
        """Items in the order asked for; unknown ids are left out."""
        rows = self.store.get(ids)
        found = (hit(rows[row_id], float("nan")) for row_id in ids if row_id in rows)
        return Hits(found, thumbnail=self.thumbnail)

    def find(self, name: str) -> str | None:
        """The id of the item of this id, path or key; None if there is none."""
        if name in self.store.get([name]):
            return name
        columns = self.store.column(["id", "path", "key"])
        named = zip(columns["id"], columns["path"], columns["key"], strict=True)
        return next((row_id for row_id, path, key in named if name in (path, key)), None)

    def vector(self, row_id: str) -> NDArray[np.float32] | None:
        """The vector (D,) of an item."""
        return None if (row := self.store.get([row_id], vectors=True).get(row_id)) is None else row.vector_D

    def thumbnail(self, row_id: str) -> bytes | None:
        """A WebP of at most 256 pixels, or None."""
        row = self.store.get([row_id], thumbnails=True).get(row_id)
        return None if row is None else row.thumbnail or None

    def file(self, row_id: str) -> Path | None:
        """The item's file, if it still lies below the source, links followed; one in object storage is fetched.

        Raises:
            Withheld: below no folder that this user has indexed here, or allowed.
        """
        row = self.store.get([row_id]).get(row_id)
        return None if row is None else file_of(row, self.given_out())

    def withheld(self) -> list[str]:
        """Sources whose files are not given out: this user has neither indexed them here nor allowed them."""
        allowed = self.given_out()
        return [path for path in read_sources(self) if not any(is_below(root_of(path), each) for each in allowed)]

    def given_out(self) -> list[Location]:
        """Folders whose files may be shown to others."""
        return [*named_roots(self.path).values(), *self._allowed]

    def fields(self) -> list[Field]:
        """What can be filtered by."""
        types = self.store.fields()
        columns = self.store.column([], list(types)) if types else {}
        return [describe(name, kind, columns[name]) for name, kind in types.items()]

    def kinds(self) -> dict[str, int]:
        """Items of each kind."""
        return dict(Counter(self.store.column(["kind"])["kind"]).most_common())

    def map(self) -> Map | None:
        """Places of the items in two dimensions, as far as they were computed."""
        return read_map(self.path)

    def _repr_html_(self) -> str:
        return index_html(self)

    set_field, duplicates, classify, cluster = set_field, duplicates, classify, cluster
