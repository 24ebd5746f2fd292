"""One part of the input to one shard of vectors."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from llave.bulk.manifest import Manifest
from llave.bulk.precision import columns, truncate
from llave.collection.entry import BadEntry, Entry, chunks
from llave.collection.long_texts import in_parts
from llave.collection.open import open_collection
from llave.encode.encoder import Encoder
from llave.encode.forward import Refused
from llave.encode.item import Reading
from llave.files import whole_file, write_jsonl

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Batches", "Counts", "ShardWriter"]

CHUNK = 512
"""Items whose sizes are known at once, to make batches of like cost."""
Bad = dict[str, str]


class Counts(NamedTuple):
    """Of a shard that was written: vectors, errors, texts that are longer than the model reads, and sounds that are
    longer than it hears."""

    vectors: int
    errors: int
    cut: int
    cut_sounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Items, and tokens with padding, of a forward pass at most; None fits the device."""

    batch_size: int = 64
    tokens_per_batch: int | None = None


class ShardWriter:
    """A model that writes shards. The same part gives the same shard, wherever and whenever it is written.

    Args:
        manifest: of the run.
        model: of the manifest.
    """

    def __init__(
        self,
        manifest: Manifest,
        model: "SentenceTransformer",
        batches: Batches,
    ) -> None:
        settings = manifest.settings
        self._manifest = manifest
        self._collection = open_collection(settings.input, settings.columns, sounds=settings.sounds)
        self._width = settings.dimensions
        self._encoder = Encoder(
            model,
            prompt=settings.prompt,
            reading=Reading(num_frames=settings.num_frames, max_pixels=settings.max_pixels),
            batch_size=batches.batch_size,
            tokens_per_batch=batches.tokens_per_batch,
        )

    def __call__(self, number: int, advance: Callable[[int], object] = lambda items: None) -> Counts:
        """Write a part's shard; returns the numbers of its vectors and of its errors.

        Raises:
            UserError: the model takes no item at all.
        """
        entries: list[Entry] = []
        vectors: list[Any] = []
        errors: list[Bad] = []
        cut, cut_sounds = self._encoder.cut, self._encoder.cut_sounds
        read = self._collection.read(self._manifest.parts[number])
        for chunk in chunks(in_parts(read, self._encoder.tokens, self._manifest.settings.chunk_tokens), CHUNK):
            for entry, vector_D in self._embed(chunk, errors, advance):
                entries.append(entry)
                vectors.append(vector_D)
        table = self._table(entries, vectors)
        if errors:
            write_jsonl(self._manifest.errors(number), errors)
        else:
            self._manifest.errors(number).unlink(missing_ok=True)  # of a run that was killed before the vectors
        with whole_file(self._manifest.shard(number)) as partial:
            pq.write_table(table, partial, compression="zstd")
        return Counts(len(entries), len(errors), self._encoder.cut - cut, self._encoder.cut_sounds - cut_sounds)

    def _embed(
        self, chunk: Sequence[Entry | BadEntry], errors: list[Bad], advance: Callable[[int], object]
    ) -> Iterator[tuple[Entry, Any]]:
        entries = [entry for entry in chunk if isinstance(entry, Entry)]
        errors += [self._bad(entry.key, entry.message) for entry in chunk if isinstance(entry, BadEntry)]
        outcomes = self._encoder.encode([entry.item for entry in entries], advance=lambda items, _: advance(items))
        for entry, outcome in zip(entries, outcomes, strict=True):
            if isinstance(outcome, Refused):
                errors.append(self._bad(entry.key, outcome.reason))
            else:
                yield entry, outcome

    def _bad(self, key: str, reason: str) -> Bad:
        """The same wherever a file was read."""
        return {"id": key, "error": reason.replace(str(self._collection.root), self._collection.address)}

    def _table(self, entries: Sequence[Entry], vectors: Sequence[Any]) -> pa.Table:
        settings = self._manifest.settings
        vector_ND = np.stack(vectors) if vectors else np.zeros((0, self._width), np.float32)
        arrays = {
            "id": pa.array([entry.key for entry in entries], pa.string()),
            **columns(truncate(vector_ND, settings.dimensions), settings.precision),
        }
        if settings.keep:
            fields = [json.dumps(dict(entry.fields), ensure_ascii=False) for entry in entries]
            arrays["kind"] = pa.array([entry.item.kind for entry in entries], pa.string())
            arrays["text"] = pa.array([entry.item.text for entry in entries], pa.string())
            arrays["path"] = pa.array([entry.name for entry in entries], pa.string())
            arrays["fields"] = pa.array(fields, pa.string())
        return pa.table(arrays)
