"""What an index remembers beside its rows: which model made it, and how."""

import dataclasses
import json
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llave.data.frames import NUM_FRAMES
from llave.errors import UserError
from llave.files import write_json
from llave.models.about import dtype_of, quantize_of
from llave.search.addresses import name_postgres
from llave.search.pipeline import Pipeline
from llave.search.store import Settings
from llave.search.trust import allowed_model
from llave.search.words import Words
from llave.storage.location import Location

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from llave.models.int8 import Quantize

__all__ = [
    "BY_USER",
    "INFO",
    "LANCE",
    "IndexInfo",
    "index_info",
    "info_exists",
    "open_model",
    "read_info",
    "write_info",
]

INFO = "index.json"
PROMPTS = ("item", "query")
LANCE = "lance"
"""Name of that store, and of its folder."""
BY_USER = -1
RANGES = {
    "dimension": (1, 65_536),
    "num_frames": (1, 10_000),
    "chunk_tokens": (1, 10**9),
    "generation": (0, 10**6),
    "probes": (1, 10**6),
    "refine": (1, 10**6),
    "prefix": (1, 65_536),
    "weighed_at": (BY_USER, 10**12),
}
FORMS = {
    "model": r"[^\0]+",
    "dtype": r"\w{1,32}",
    "quantize": "none|int8",
    "store": r"[^\0]+",
    "collection": r"[^\0/\\]{1,255}",
    "id": "[0-9a-f]{0,32}",
}


@dataclass(frozen=True, kw_only=True)
class IndexInfo:
    """What has to be known to use an index.

    Args:
        model: path or hub id of the model that embedded it.
        fingerprint: of its weights and settings.
        dimension: of the vectors.
        dtype: of the weights that made them; other ones make slightly other vectors.
        quantize: "int8" where the linear layers were that, else "none".
        prompts: before every ``"item"`` and every ``"query"``, as sentence-transformers takes them.
        num_frames: of a video.
        store: ``"lance"``, or the address of a Qdrant server or of a PostgreSQL database, without its password.
        collection: its name there.
        chunk_tokens: of a text at most; longer ones are several items.
        settings: of approximate search, found by measuring.
        measured_at: of which rows and for what they were; empty where nobody knows.
        words: what a keyword search reads of an item.
        pipeline: the stages of a search; mode and weight of the words are found by measuring.
        weighed_at: items that the index had then; :data:`BY_USER` where the user has said them.
        generation: how often the index was made anew by another model; each has its own table.
        given: fields whose values the user has set (:meth:`~llave.search.index.Index.set_field`); no source has them.
        retired: generations whose tables are still there, for readers that have them open.
        id: of this index and its copies alone; empty of older ones.
    """

    model: str
    fingerprint: str
    dimension: int
    dtype: str = "float32"
    quantize: "Quantize" = "none"
    prompts: dict[str, str] = field(default_factory=lambda: {"item": "", "query": ""})
    num_frames: int = NUM_FRAMES
    store: str = LANCE
    collection: str = "items"
    chunk_tokens: int | None = None
    settings: Settings = field(default_factory=Settings)
    words: Words = field(default_factory=Words)
    pipeline: Pipeline = field(default_factory=Pipeline)
    weighed_at: int = 0
    measured_at: str = ""
    generation: int = 0
    retired: tuple[int, ...] = ()
    given: tuple[str, ...] = ()
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def table(self) -> str:
        """Name of the table or collection that holds the rows."""
        name = "items" if self.store == LANCE else self.collection
        return f"{name}-{self.generation}" if self.generation else name

    @property
    def fields_file(self) -> str:
        """Name of the file that keeps the types of the fields, where the store does not."""
        return f"fields-{self.generation}.json" if self.generation else "fields.json"


def index_info(
    model: "SentenceTransformer",
    path: str | Path,
    *,
    item_prompt: str | None = None,
    query_prompt: str | None = None,
    num_frames: int = NUM_FRAMES,
    qdrant: str | None = None,
    postgres: str | None = None,
    collection: str = "items",
    chunk_tokens: int | None = None,
    words: Words | None = None,
) -> IndexInfo:
    """What an index of a model's vectors has to know.

    Args:
        path: where the model is: a directory, or a hub id.
        item_prompt: None is the model's own for documents.
        query_prompt: None is the model's own for queries.
        num_frames: of a video.
        qdrant: address of a server; None is LanceDB in the index's folder.
        postgres: address of a database instead.
        chunk_tokens: of a text at most; None keeps texts whole.
        words: what a keyword search reads; None is everything.

    Raises:
        UserError: two stores, or no address of PostgreSQL.
    """
    from llave.encode.cache import model_fingerprint

    if qdrant is not None and postgres is not None:
        raise UserError("--qdrant and --postgres: an index has one store; leave one of them out")
    dimension = model.get_embedding_dimension()
    assert dimension is not None  # every model that load_model opens ends in a pooling
    return IndexInfo(
        model=str(Path(path).resolve()) if Path(path).exists() else str(path),
        fingerprint=model_fingerprint(model),
        dimension=dimension,
        dtype=dtype_of(model),
        quantize=quantize_of(model) or "none",
        prompts={
            "item": (model.prompts.get("document") or "") if item_prompt is None else item_prompt,
            "query": (model.prompts.get("query") or "") if query_prompt is None else query_prompt,
        },
        num_frames=num_frames,
        store=(qdrant or LANCE) if postgres is None else name_postgres(postgres),
        collection=collection,
        chunk_tokens=chunk_tokens,
        words=words or Words(),
    )


def open_model(
    path: Location, info: IndexInfo, model: str | Path | None, *, device: str | None, dtype: str | None
) -> "SentenceTransformer":
    """A model for an index's queries; None is the one that it was made with.

    Raises:
        UserError: it is not where it was.
    """
    from llave.models.open import load_model

    if info.quantize == "int8":
        device = device or "cpu"
    try:
        return load_model(
            model or allowed_model(path, info.model), device=device, dtype=dtype or info.dtype, quantize=info.quantize
        )
    except UserError as error:
        moved = "" if model else f"; {path} was made with it; say --model, if it has moved"
        raise UserError(f"{error}{moved}") from None


def info_exists(folder: Location) -> bool:
    """Whether there is an index in a folder."""
    return (folder / INFO).is_file()


def read_info(folder: Location, name: str = INFO) -> IndexInfo:
    """What the index in a folder remembers.

    Args:
        name: of the file.

    Raises:
        UserError: none there, or it cannot be read.
    """
    file = folder / name
    if not file.is_file():
        raise UserError(f"{folder}: no index here; make one with: llave index MODEL FOLDER --index {folder}")
    try:
        loaded = json.loads(file.read_text("utf-8"))
        retired = tuple(loaded.get("retired", ()))
        words = loaded.get("words", {})
        info = IndexInfo(
            **{
                **loaded,
                "settings": Settings(**loaded["settings"]),
                "retired": retired,
                "id": loaded.get("id", ""),
                "given": tuple(loaded.get("given", ())),
                "words": Words(**{**words, "sources": tuple(words["sources"])}) if words else Words(),
                "pipeline": Pipeline(**loaded.get("pipeline", {})),
            }
        )
        _check(info)
        return info
    except Exception as error:  # whatever stands in it
        raise UserError(f"{file}: damaged, or of another version of llave ({error}); index again") from None


def _check(info: IndexInfo) -> None:
    """Types and ranges, which a dataclass does not look at: the file may be anybody's.

    Raises:
        TypeError: of a value that is of another type.
        ValueError: of one that cannot be.
    """
    texts: list[str | None] = [
        info.model,
        info.fingerprint,
        info.dtype,
        info.quantize,
        info.measured_at,
        info.store,
        info.collection,
        info.id,
    ]
    texts += [info.prompts.get(name) for name in PROMPTS]
    texts += [info.pipeline.rerank, info.pipeline.one_per, *info.words.sources, *info.given]
    numbers = {**vars(info), **dataclasses.asdict(info.settings)}
    if not isinstance(info.settings.target, int | float) or isinstance(info.settings.target, bool):
        raise TypeError(f"target {info.settings.target!r:.60}")
    for name in ("chunk_tokens", "prefix"):
        if numbers[name] is None:
            del numbers[name]
    for values, kind in (([*(numbers[name] for name in RANGES if name in numbers), *info.retired], int), (texts, str)):
        for value in values:
            if not isinstance(value, kind) or isinstance(value, bool):
                raise TypeError(f"{value!r:.60} where a {kind.__name__} belongs")
    for name, (low, high) in RANGES.items():
        if name in numbers and not low <= numbers[name] <= high:
            raise ValueError(f"{name} is not from {low:,} to {high:,}")
    if info.settings.prefix is not None and info.settings.prefix > info.dimension:
        raise ValueError(f"prefix is {info.settings.prefix}, of {info.dimension} dimensions")
    for name, form in FORMS.items():
        if not re.fullmatch(form, getattr(info, name)):
            raise ValueError(f"{name} is {getattr(info, name)!r:.60}")


def write_info(folder: Location, info: IndexInfo, name: str = INFO) -> None:
    """Whole or not at all."""
    write_json(folder / name, dataclasses.asdict(info))
