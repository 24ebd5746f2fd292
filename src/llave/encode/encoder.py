"""The one loop from items to vectors: measure, take what is known, plan batches, load ahead, encode."""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from llave.data.door import named
from llave.data.pages import split_page
from llave.encode.batches import Estimate, plan_batches
from llave.encode.cache import EmbeddingCache
from llave.encode.forward import Forward, Outcome, Refused
from llave.encode.item import Item, Measured, Reading
from llave.encode.processes import share
from llave.encode.thumbnail import thumbnail
from llave.encode.tokens import Tokens
from llave.errors import UserError
from llave.models.prompts import ModelInput
from llave.models.sounds import hearing_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["TOKENS_PER_BATCH", "Encoder"]

READERS = 8
DECODERS = 4
GIVE_UP = 64
"""Items that the model refuses, with none before that it took: it is the model then, and not these items."""
TOKENS_PER_BATCH = {"cuda": 65_536, "cpu": 2_048}
"""Default budget. A CPU is slower with more, whose activations leave its cache; a GPU's memory holds this many at 7B
without gradients."""

Batch = tuple[int, Sequence[Item]]
"""A number and what to load."""
Done = tuple[int, list[Outcome], list[bytes]]
"""A batch's number, and of each of its items what became of it and a thumbnail."""
Loaded = ModelInput | Refused
WORDS = {"image": "a picture", "video": "a video", "audio": "a sound"}


class Encoder:
    """A model for items: a unit vector for each, or why it has none. An item that fails costs no other one.

    Args:
        model: an open model (:func:`llave.load_model`).
        prompt: before every item that has none of its own, as ``SentenceTransformer.encode`` takes it; None is the
            model's default.
        reading: how pictures, videos and sounds are read; what is heard of a sound is the model's own.
        batch_size: items of a forward pass at most.
        tokens_per_batch: tokens of one at most, estimated, padding included; None is :data:`TOKENS_PER_BATCH`.
        raw: texts are for the processor as they are, without template or prompt, see :mod:`llave.models.raw`.
    """

    def __init__(
        self,
        model: "SentenceTransformer",
        *,
        prompt: str | None = None,
        reading: Reading = Reading(),  # noqa: B008 — frozen
        batch_size: int = 64,
        tokens_per_batch: int | None = None,
        raw: bool = False,
    ) -> None:
        self.model = model
        self.prompt = prompt
        self.reading = dataclasses.replace(reading, hearing=hearing_of(model))
        self._limits = {
            "max_items": batch_size,
            "max_tokens": tokens_per_batch or TOKENS_PER_BATCH.get(model.device.type, TOKENS_PER_BATCH["cuda"]),
        }
        self.tokens = Tokens(model, reading.num_frames)
        self._forward = Forward(model, raw=raw)
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        self._decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")
        self.cut = 0
        """Texts so far that are longer than the model reads."""
        self.cut_sounds = 0
        """Sounds so far that are longer than the model hears."""
        self._works = False
        self._refused = 0

    def __call__(self, items: Iterable[Item]) -> list[Outcome]:
        """A unit vector (D,) in float32, or :class:`Refused`, per item, in order.

        Raises:
            UserError: the model refuses one item after the other.
        """
        return self.encode(list(items))

    def measure(self, items: Sequence[Item], advance: Callable[[], object] = lambda: None) -> list[Measured | Refused]:
        """Read every item once, without decoding it: what tells equal ones, and how large they are."""

        def one(item: Item) -> Measured | Refused:
            try:
                with _of(item):
                    return item.measure(self.reading)
            except UserError as error:
                return Refused("file", str(error))

        threads = self._pool.map(one, [item for item in items if item.modality != "text"])
        found = []
        for item in items:
            found.append(one(item) if item.modality == "text" else next(threads))
            advance()
        return found

    def encode(
        self,
        items: Sequence[Item],
        measured: Sequence[Measured | Refused] | None = None,
        *,
        cache: EmbeddingCache | None = None,
        processes: int = 1,
        thumbnails: dict[int, bytes] | None = None,
        plan: Callable[[int, int, int], object] = lambda items, known, tokens: None,
        advance: Callable[[int, int], object] = lambda items, tokens: None,
    ) -> list[Outcome]:
        """The same with more said. Items of equal content are encoded once.

        Args:
            measured: what :meth:`measure` gave for them; None measures them now.
            cache: known vectors; every batch is kept as soon as it is encoded.
            processes: that share the batches, each with the model; 0 is one per GPU.
            thumbnails: filled with a small picture by place, empty of a text; not with several processes.
            plan: called once with the numbers of different items, of those that are known, and of tokens to come.
            advance: called with the numbers of items and tokens of every batch that is done.

        Raises:
            UserError: the model refuses one item after the other, or a process died.
        """
        found = list(self.measure(items) if measured is None else measured)
        outcomes: dict[int, Outcome] = {place: about for place, about in enumerate(found) if isinstance(about, Refused)}
        first: dict[bytes, int] = {}
        twins: list[tuple[int, int]] = []
        for place, about in enumerate(found):
            if isinstance(about, Measured):
                twin = first.setdefault(self._key(items[place], about), place)
                if twin != place:
                    twins.append((place, twin))
        if cache is not None:
            known = {place: vector for key, place in first.items() if (vector := cache.get(key)) is not None}
            outcomes |= known
        todo = {place: key for key, place in first.items() if place not in outcomes}
        batches, tokens = self._plan(items, found, list(todo))
        plan(len(first), len(first) - len(todo), sum(tokens.values()))
        for places, results, small in self._batches(items, batches, processes, thumbnails is not None):
            outcomes |= zip(places, results, strict=True)
            fresh = {
                todo[n]: vector for n, vector in zip(places, results, strict=True) if not isinstance(vector, Refused)
            }
            if cache is not None and fresh:
                cache.put(list(fresh), np.stack(list(fresh.values())))
            if thumbnails is not None:
                thumbnails |= zip(places, small, strict=True)
            self._look(results)
            advance(len(places), sum(tokens[place] for place in places))
        for place, twin in twins:
            outcomes[place] = _named(outcomes[twin], items[twin], items[place])
            if thumbnails is not None and twin in thumbnails:
                thumbnails[place] = thumbnails[twin]
        return [outcomes[place] for place in range(len(items))]

    def _key(self, item: Item, about: Measured) -> bytes:
        prompt = self.prompt if item.prompt is None else item.prompt
        return about.key if prompt is None else hashlib.sha256(about.key + prompt.encode()).digest()

    def _plan(
        self, items: Sequence[Item], measured: Sequence[Measured | Refused], todo: Sequence[int]
    ) -> tuple[list[list[int]], dict[int, int]]:
        """Places batch by batch, and the tokens of each."""
        texts = self.tokens.texts([items[place].words for place in todo])
        estimates = []
        for place, text in zip(todo, texts, strict=True):
            about = measured[place]
            assert isinstance(about, Measured)
            media = self.tokens.media(items[place].modality, about.size, about.seconds)
            self.cut_sounds += about.seconds is not None and self.reading.hearing.cuts(about.seconds)
            pixels = math.prod(about.size) if about.size else 0
            estimates.append(Estimate(items[place].modality, media, text, about.media, pixels))
        if self.tokens.longest is not None:
            room = self.tokens.longest - self.tokens.special - self.tokens.texts([self.prompt or ""])[0]
            self.cut += sum(each.text > 0 and each.tokens > room for each in estimates)
        batches = [[todo[index] for index in batch] for batch in plan_batches(estimates, **self._limits)]
        return batches, dict(zip(todo, (estimate.tokens for estimate in estimates), strict=True))

    def _batches(
        self, items: Sequence[Item], batches: Sequence[list[int]], processes: int, small: bool
    ) -> Iterator[tuple[list[int], list[Outcome], list[bytes]]]:
        """Places of a batch with what became of them, and their thumbnails, in any order."""
        import torch

        jobs = [(number, [items[place] for place in places]) for number, places in enumerate(batches)]
        processes = min(processes or torch.cuda.device_count(), len(jobs))
        if processes > 1:
            work = partial(_through, prompt=self.prompt, reading=self.reading, raw=self._forward.raw)
            done = share(self.model, jobs, work, processes)
        else:
            done = self.through(jobs, small=small)
        for number, outcomes, pictures in done:
            yield batches[number], outcomes, pictures

    def through(self, jobs: Iterable[Batch], *, small: bool = False) -> Iterator[Done]:
        """Every batch in turn, with thumbnails if asked for; while one is encoded, the next one is loaded."""
        for number, batch, loading in self._ahead(jobs, small):
            loaded = [future.result() for future in loading]
            found: dict[int, Outcome] = {n: entry for n, (entry, _) in enumerate(loaded) if isinstance(entry, Refused)}
            inputs = {n: entry for n, (entry, _) in enumerate(loaded) if not isinstance(entry, Refused)}
            prompts = [self.prompt if batch[n].prompt is None else batch[n].prompt for n in inputs]
            found |= zip(inputs, self._forward(list(inputs.values()), prompts), strict=True)
            yield number, [found[n] for n in range(len(batch))], [picture for _, picture in loaded]

    def _ahead(
        self, jobs: Iterable[Batch], small: bool
    ) -> Iterator[tuple[int, Sequence[Item], list[Future[tuple[Loaded, bytes]]]]]:
        waiting = None
        for number, batch in jobs:
            following = (number, batch, [self._decoders.submit(self._load, item, small) for item in batch])
            if waiting is not None:
                yield waiting
            waiting = following
        if waiting is not None:
            yield waiting

    def _load(self, item: Item, small: bool) -> tuple[Loaded, bytes]:
        if item.modality != "text" and not self.model.supports(item.modality):
            return Refused("model", f"{WORDS[item.modality]}, and this model takes none"), b""
        try:
            with _of(item):
                loaded = item.load(self.reading)
                return loaded, thumbnail(loaded) if small else b""
        except UserError as error:
            return Refused("file", str(error)), b""

    def _look(self, outcomes: Sequence[Outcome]) -> None:
        """Give up on a model that takes nothing at all."""
        if self._works:
            return
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        self._works = len(refused) < len(outcomes)
        of_model = [outcome for outcome in refused if outcome.kind != "file"]
        self._refused += len(of_model)
        if not self._works and self._refused >= GIVE_UP:
            raise UserError(f"the model refuses {self._refused} items of {self._refused}, last: {of_model[-1]}")


def _of(item: Item) -> AbstractContextManager[None]:
    """Where any error is the item's: a decoder's own, or that a file went away meanwhile."""
    return named(str(item.file or item.kind), "cannot read")


def _named(outcome: Outcome, twin: Item, item: Item) -> Outcome:
    """The same of an item of equal content; why there is none names its own file."""
    if not isinstance(outcome, Refused) or twin.file is None or item.file is None:
        return outcome
    (theirs, _), (own, _) = split_page(twin.file), split_page(item.file)
    return Refused(outcome.kind, outcome.reason.replace(str(theirs), str(own)))


def _through(
    model: "SentenceTransformer", jobs: Iterable[Batch], *, prompt: str | None, reading: Reading, raw: bool
) -> Iterator[Done]:
    """What each of several processes does."""
    yield from Encoder(model, prompt=prompt, reading=reading, raw=raw).through(jobs)
