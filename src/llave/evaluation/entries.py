"""Entries of a collection to vectors, a few hundred at a time, in batches of like cost."""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llave.collection.entry import Entry, Measured
from llave.data.video import NUM_FRAMES
from llave.errors import UserError
from llave.evaluation.batches import Estimate, TokenCounter, plan_batches
from llave.evaluation.encoder import Encoder
from llave.evaluation.encoding import TOKENS_PER_BATCH
from llave.models.prompts import ModelInput

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Embedded", "EntryEncoder"]

DECODERS = 4
THUMBNAIL_SIDE = 256


@dataclass(frozen=True, slots=True)
class Embedded:
    """What became of an entry: a unit vector (D,) in float32 and a small WebP of its picture, or an error."""

    vector_D: NDArray[np.float32] | None = None
    thumbnail: bytes = b""
    error: str = ""


class EntryEncoder:
    """A model for entries.

    Args:
        prompt: before every item, as ``SentenceTransformer.encode`` takes it.
        num_frames: of a video.
        batch_size: items of a forward pass at most.
        tokens_per_batch: tokens of one at most; None fits the device.
        thumbnails: also make one of each picture, page and first frame.
    """

    def __init__(
        self,
        model: "SentenceTransformer",
        *,
        prompt: str = "",
        num_frames: int = NUM_FRAMES,
        batch_size: int = 64,
        tokens_per_batch: int | None = None,
        thumbnails: bool = False,
    ) -> None:
        self._encoder = Encoder(model, prompt=prompt)
        self._counter = TokenCounter(model, num_frames)
        self._takes_video = model.supports("video")
        self._num_frames = num_frames
        self._batch_size = batch_size
        default = TOKENS_PER_BATCH.get(model.device.type, TOKENS_PER_BATCH["cuda"])
        self._tokens_per_batch = tokens_per_batch or default
        self._thumbnails = thumbnails
        self._pool = ThreadPoolExecutor(DECODERS)
        self._worked = False

    def __call__(
        self,
        entries: Sequence[Entry],
        measured: Sequence[Measured],
        advance: Callable[[int], object] = lambda items: None,
    ) -> list[Embedded]:
        """One result per entry; a bad one costs no other.

        Args:
            entries: a few hundred, since their pictures are in memory a batch at a time but their results all.
            measured: ``entry.measure(num_frames)`` of each.
            advance: called with the number of items of every batch that is done.

        Raises:
            UserError: see :class:`~llave.evaluation.encoder.Encoder`.
        """
        results = [Embedded()] * len(entries)
        ahead: tuple[list[int], list[Future[_Loaded]]] | None = None
        for batch in [*plan_batches(self._estimate(entries, measured), **self._limits()), []]:
            loading = [self._pool.submit(self._load, entries[place]) for place in batch]
            if ahead is not None:
                self._encode(*ahead, results)
                advance(len(ahead[0]))
            ahead = (batch, loading)
        return results

    def measure(self, entries: Sequence[Entry]) -> list[Measured | OSError]:
        """Hash and size of each, read in threads."""

        def one(entry: Entry) -> Measured | OSError:
            try:
                return entry.measure(self._num_frames)
            except OSError as error:
                return error

        return list(self._pool.map(one, entries))

    def _limits(self) -> dict[str, int]:
        return {"max_items": self._batch_size, "max_tokens": self._tokens_per_batch}

    def _estimate(self, entries: Sequence[Entry], measured: Sequence[Measured]) -> list[Estimate]:
        texts = self._counter.texts([entry.text for entry in entries])
        kinds = ["picture" if entry.kind in ("image", "page") else entry.kind for entry in entries]
        return [
            Estimate(kind, self._counter.media(kind, about.size), text, about.media)
            for kind, about, text in zip(kinds, measured, texts, strict=True)
        ]

    def _load(self, entry: Entry) -> "_Loaded":
        if entry.video is not None and not self._takes_video:
            return _Loaded(error="a video, and this model takes none")
        try:
            loaded = entry.load(self._num_frames)
        except UserError as error:
            return _Loaded(error=str(error))
        return _Loaded(loaded, _thumbnail(loaded) if self._thumbnails else b"")

    def _encode(self, batch: list[int], loading: "list[Future[_Loaded]]", results: list[Embedded]) -> None:
        loaded = [future.result() for future in loading]
        good = [(place, entry) for place, entry in zip(batch, loaded, strict=True) if entry.value is not None]
        for place, entry in zip(batch, loaded, strict=True):
            results[place] = Embedded(thumbnail=entry.thumbnail, error=entry.error)
        try:
            vectors = self._encoder([entry.value for _, entry in good if entry.value is not None])
        except UserError as error:
            if not self._worked:
                raise  # it is the model, not these items
            vectors = [str(error)] * len(good)
        for (place, _), vector in zip(good, vectors, strict=True):
            if isinstance(vector, str):
                results[place] = Embedded(error=vector)
            else:
                self._worked = True
                results[place] = replace(results[place], vector_D=vector)


@dataclass(frozen=True, slots=True)
class _Loaded:
    value: ModelInput | None = None
    thumbnail: bytes = b""
    error: str = ""


def _thumbnail(loaded: ModelInput) -> bytes:
    """A WebP of a model input's picture or of its video's first frame; nothing of a text."""
    media: Any = loaded
    if isinstance(loaded, dict):
        media = loaded.get("image")
        if media is None and loaded.get("video") is not None:
            media = Image.fromarray(loaded["video"][0])
    if not isinstance(media, Image.Image):
        return b""
    small = media.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()
