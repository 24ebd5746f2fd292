"""One score for a query and a document that are read together: batches of like cost, errors by the pair."""

import math
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from llave.data.door import named
from llave.encode.batches import Estimate, plan_batches
from llave.encode.encoder import TOKENS_PER_BATCH
from llave.encode.forward import Halving, Refused, pictures_once
from llave.encode.item import Item, Measured, Modality, Reading
from llave.encode.tokens import Tokens
from llave.errors import UserError
from llave.models.prompts import ModelInput, kinds_of, num_frames_of
from llave.models.sounds import hearing_of

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder

__all__ = ["Reranker", "Score"]

DECODERS = 4
KEPT = 2048
"""Decoded items that are kept, since every query meets the same documents; those of a batch at least."""
KEPT_PIXELS = 100_000_000
"""Of all their pictures together, at 3 bytes."""
GIVE_UP = 64
"""Pairs that the model refuses, with none before that it took: it is the model then, and not these pairs."""
HEAVIEST: tuple[Modality, ...] = ("video", "audio", "image", "text")
WORDS = {"image": "a picture", "video": "a video", "audio": "a sound"}

Score = Union[float, Refused]  # noqa: UP007 — a string of types at run time
"""Of a pair; higher is better."""
Pair = tuple[ModelInput, ModelInput]


@dataclass(frozen=True, slots=True)
class _Part:
    """A query or a document before it is loaded."""

    item: Item
    measured: Measured | Refused
    text: int


class Reranker:
    """A cross-encoder: one score for a pair of a query and a document (any of text, image, text+image).

    Args:
        model: an open model of one label; :meth:`open` opens one.
        reading: how pictures, videos and sounds are read.
        batch_size: pairs of a forward pass at most.
        tokens_per_batch: tokens of one at most, estimated, padding included; None is
            :data:`llave.encode.encoder.TOKENS_PER_BATCH`.

    Attributes:
        name: of the model: its directory's name or hub id.
        modalities: what a query or a document may be, of text, image, video and audio.

    Raises:
        UserError: a model with more than one score.
    """

    def __init__(
        self,
        model: "CrossEncoder",
        *,
        reading: Reading = Reading(),  # noqa: B008 — frozen
        batch_size: int = 32,
        tokens_per_batch: int | None = None,
    ) -> None:
        if model.num_labels != 1:
            raise UserError(f"a reranker has one score for a pair, and this model has {model.num_labels}")
        self.model = model.eval()
        anything: Any = model  # what asks for a SentenceTransformer takes a CrossEncoder as well
        source = getattr(model, "source", "")
        self.name: str = Path(source).name if source and os.path.isdir(source) else source or "reranker"
        self.modalities: Sequence[str] = tuple(kinds_of(anything))
        self.reading = replace(reading, hearing=hearing_of(anything))
        self._limits = {
            "max_items": batch_size,
            "max_tokens": tokens_per_batch or TOKENS_PER_BATCH.get(model.device.type, TOKENS_PER_BATCH["cuda"]),
        }
        self.tokens = Tokens(anything, reading.num_frames)
        self._decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")
        self._loaded: OrderedDict[int, tuple[Item, Future[ModelInput | Refused]]] = OrderedDict()
        self._halving = Halving(model, "pair")
        self._works = False
        self._refused = 0

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        device: str | None = None,
        dtype: "torch.dtype | str | None" = None,
        **options: Any,
    ) -> "Reranker":
        """Of a directory or hub id, by :func:`llave.rerank.open.open_pair_model`; ``options`` are those of the class.

        Raises:
            UserError: no reranker there, or one that cannot be opened.
        """
        from llave.rerank.open import open_pair_model

        return cls(open_pair_model(path, device=device, dtype=dtype), **options)

    def __call__(self, query: Item, documents: Sequence[Item]) -> list[Score]:
        """A score for each document, in order, or why it has none. Higher is better."""
        return self.pairs([(query, document) for document in documents])

    def pairs(
        self, pairs: Sequence[tuple[Item, Item]], *, advance: Callable[[int], object] = lambda pairs: None
    ) -> list[Score]:
        """The same for any pairs, in batches of like cost; while one is scored, the next one is loaded.

        An item that occurs in several pairs is read and decoded once, if it is the same object.

        Args:
            advance: called with the number of pairs of every batch that is done.

        Raises:
            UserError: the model refuses one pair after the other.
        """
        parts = self._measure({id(item): item for pair in pairs for item in pair})
        scores: dict[int, Score] = {}
        for place, pair in enumerate(pairs):
            refused = [part for item in pair if isinstance(part := parts[id(item)].measured, Refused)]
            if refused:
                scores[place] = refused[0]
        advance(len(scores))
        todo = [place for place in range(len(pairs)) if place not in scores]
        estimates = [self._estimate(*(parts[id(item)] for item in pairs[place])) for place in todo]
        batches = [[todo[index] for index in batch] for batch in plan_batches(estimates, **self._limits)]
        for batch, following in zip(batches, [*batches[1:], []], strict=True):
            loading = [tuple(self._load(item) for item in pairs[place]) for place in batch]
            for place in following:
                for item in pairs[place]:
                    self._load(item)
            self._forget(2 * len(batch) + 2 * len(following))
            loaded = [(query.result(), document.result()) for query, document in loading]
            scores |= zip(batch, self._of_loaded(loaded), strict=True)
            self._look([scores[place] for place in batch])
            advance(len(batch))
        self._loaded.clear()
        return [scores[place] for place in range(len(pairs))]

    def score_inputs(self, pairs: Sequence[Pair]) -> list[Score]:
        """Scores of pairs that are loaded already (:meth:`llave.encode.item.Item.load`), as ``CrossEncoder.predict``
        has them. A pair that the model refuses is found by halving its batch, and costs no other one."""
        groups: dict[tuple[int, int], list[int]] = {}
        for place, (query, document) in enumerate(pairs):  # videos of equally many frames together, see Forward
            groups.setdefault((num_frames_of(query), num_frames_of(document)), []).append(place)
        scores: dict[int, Score] = {}
        with pictures_once(self.model):
            for places in groups.values():
                for start in range(0, len(places), most := self._limits["max_items"]):
                    part = places[start : start + most]
                    scores |= zip(part, self._halving(self._forward, [pairs[place] for place in part]), strict=True)
        return [scores[place] for place in range(len(pairs))]

    def _measure(self, items: dict[int, Item]) -> dict[int, _Part]:
        """Every item read once, without decoding it."""

        def one(item: Item) -> Measured | Refused:
            if item.modality != "text" and item.modality not in self.modalities:
                return Refused("model", f"{WORDS[item.modality]}, and this model takes none")
            try:
                with named(str(item.file or item.kind), "cannot read"):
                    return item.measure(self.reading)
            except UserError as error:
                return Refused("file", str(error))

        texts = self.tokens.texts([item.words for item in items.values()])
        found = self._decoders.map(one, items.values())
        return {
            key: _Part(item, measured, text)
            for (key, item), measured, text in zip(items.items(), found, texts, strict=True)
        }

    def _estimate(self, query: _Part, document: _Part) -> Estimate:
        modalities = {query.item.modality, document.item.modality}
        media = pixels = 0
        content = b""
        for part in (query, document):
            assert isinstance(part.measured, Measured)
            media += self.tokens.media(part.item.modality, part.measured.size, part.measured.seconds)
            pixels += math.prod(part.measured.size) if part.measured.size else 0
            content += part.measured.media
        modality = next(one for one in HEAVIEST if one in modalities)
        return Estimate(modality, media, query.text + document.text, content, pixels)

    def _load(self, item: Item) -> "Future[ModelInput | Refused]":
        """What becomes of an item in a thread; known ones at once. The item is kept too, so its id stays its own."""
        if id(item) not in self._loaded:
            self._loaded[id(item)] = item, self._decoders.submit(self._decode, item)
        self._loaded.move_to_end(id(item))
        return self._loaded[id(item)][1]

    def _decode(self, item: Item) -> ModelInput | Refused:
        try:
            with named(str(item.file or item.kind), "cannot read"):
                return item.load(self.reading)
        except UserError as error:
            return Refused("file", str(error))

    def _forget(self, needed: int) -> None:
        """Let go of the items that were not used for the longest, but for those that are needed now."""
        pixels = sum(_pixels(future) for _, future in self._loaded.values())
        while len(self._loaded) > needed and (len(self._loaded) > KEPT or pixels > KEPT_PIXELS):
            _, (_, future) = self._loaded.popitem(last=False)
            pixels -= _pixels(future)

    def _of_loaded(self, pairs: Sequence[tuple[ModelInput | Refused, ModelInput | Refused]]) -> list[Score]:
        scores: dict[int, Score] = {}
        whole: dict[int, Pair] = {}
        for place, (query, document) in enumerate(pairs):
            if isinstance(query, Refused):
                scores[place] = query
            elif isinstance(document, Refused):
                scores[place] = document
            else:
                whole[place] = query, document
        scores |= zip(whole, self.score_inputs(list(whole.values())), strict=True)
        return [scores[place] for place in range(len(pairs))]

    def _forward(self, pairs: Sequence[Pair]) -> list[Score]:
        """What ``CrossEncoder.predict`` does for one batch, with its activation function."""
        import torch
        from sentence_transformers.util import batch_to_device

        prompt = self.model.prompts.get(self.model.default_prompt_name or "") or None
        with torch.inference_mode():
            features = self.model.preprocess([list(pair) for pair in pairs], prompt=prompt)
            logits = self.model(batch_to_device(features, self.model.device))["scores"].float()
            activation = self.model.activation_fn
            scores: list[float] = (logits if activation is None else activation(logits)).reshape(len(pairs)).tolist()
        return [
            score if math.isfinite(score) else Refused("number", "the model's score of this pair is not finite")
            for score in scores
        ]

    def _look(self, scores: Sequence[Score]) -> None:
        """Give up on a model that takes nothing at all."""
        if self._works:
            return
        refused = [score for score in scores if isinstance(score, Refused)]
        self._works = len(refused) < len(scores)
        of_model = [score for score in refused if score.kind != "file"]
        self._refused += len(of_model)
        if not self._works and self._refused >= GIVE_UP:
            raise UserError(f"the model refuses {self._refused} pairs of {self._refused}, last: {of_model[-1]}")


def _pixels(future: "Future[ModelInput | Refused]") -> int:
    """Of a loaded picture; 0 of what is not loaded yet, and of others."""
    loaded = future.result() if future.done() else None
    picture = loaded.get("image") if isinstance(loaded, dict) else loaded
    size = getattr(picture, "size", None)
    return math.prod(size) if isinstance(size, tuple) else 0
