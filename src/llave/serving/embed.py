"""From entries to vectors: media decoded, items queued, errors named by their place in the request."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llave.errors import DataError
from llave.evaluation.encoder import Vector
from llave.models.prompts import ModelInput, model_input
from llave.serving.admission import Claim
from llave.serving.batcher import Item
from llave.serving.engine import NO_MEMORY, Engine
from llave.serving.entries import Entry
from llave.serving.errors import ApiError, bad_request
from llave.serving.service import Service

__all__ = ["Embedded", "embed"]

LONG_TEXTS = 20_000
"""Characters in a request from which its tokens are counted in a thread."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Unit vectors (D,) in the order of the entries, and the tokens that the model saw."""

    vectors: list[NDArray[np.float32]]
    tokens: int


async def embed(service: Service, entries: Sequence[Entry], *, truncate: bool = True) -> Embedded:
    """A vector for every entry.

    Raises:
        ApiError: an entry that has none, named; or no room.
    """
    engine, _ = service.model()
    if len(entries) > service.limits.items:
        raise bad_request(f"{len(entries):,} items, and at most {service.limits.items:,} in a request", "input")
    for entry in entries:
        _check(entry, engine, service.limits.text_characters)
    work = _Request(service, engine, truncate)
    with service.admission.claim(len(entries)) as claim:
        vectors = await work.run(entries, claim)
    service.metrics.tokens.inc(work.tokens)
    return Embedded(vectors, work.tokens)


def _check(entry: Entry, engine: Engine, most: int) -> None:
    if len(entry.text) > most:
        raise bad_request(f"a text of {len(entry.text):,} characters, and at most {most:,} are allowed", entry.place)
    for name, given in (("image", entry.image), ("video", entry.video)):
        if given is not None and name not in engine.modalities:
            raise bad_request(f"this model takes {', '.join(engine.modalities)}, no {name}", entry.place)
    if entry.image is not None and entry.video is not None:
        raise bad_request("an item has both a picture and a video; send two items", entry.place)


class _Request:
    """The items of one request on their way."""

    def __init__(self, service: Service, engine: Engine, truncate: bool) -> None:
        self._service = service
        self._engine = engine
        self._truncate = truncate
        self.tokens = 0

    async def run(self, entries: Sequence[Entry], claim: Claim) -> list[NDArray[np.float32]]:
        found: dict[int, NDArray[np.float32]] = {}
        texts = [number for number, entry in enumerate(entries) if entry.image is None and entry.video is None]
        inputs = [_combine(entries[number], None, None) for number in texts]
        items = await self._measured([entries[n] for n in texts], inputs, claim)

        async def text_vectors() -> None:
            vectors = await self._vectors([entries[n] for n in texts], items)
            found.update(zip(texts, vectors, strict=True))

        if len(texts) == len(entries):
            await text_vectors()
            return [found[number] for number in range(len(entries))]

        async def media_vector(number: int) -> None:
            found[number] = await self._media(entries[number], claim)

        others = sorted(set(range(len(entries))) - set(texts))
        try:
            async with asyncio.TaskGroup() as group:
                if texts:
                    group.create_task(text_vectors())
                for number in others:
                    group.create_task(media_vector(number))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [found[number] for number in range(len(entries))]

    async def _media(self, entry: Entry, claim: Claim) -> NDArray[np.float32]:
        media = self._service.media
        if entry.image is not None:
            async with media.picture(entry.image, entry.place) as (image, digest):
                size = (image.height, image.width)
                return await self._one(entry, "picture", _combine(entry, image, None), digest, size, claim)
        assert entry.video is not None
        async with media.frames(entry.video, entry.place) as (frames, digest):
            size = (frames[0].height, frames[0].width)
            return await self._one(entry, "video", _combine(entry, None, frames), digest, size, claim)

    async def _one(
        self, entry: Entry, kind: str, given: ModelInput, digest: bytes, size: tuple[int, int], claim: Claim
    ) -> NDArray[np.float32]:
        text = _text_of(given)
        num_bytes = 3 * size[0] * size[1] * (1 if kind == "picture" else self._engine.num_frames)
        tokens = (await self._count([text], entry.prompt))[0]
        tokens = self._shown(tokens + self._engine.counter.media(kind, size), entry)
        claim.add("tokens", tokens)
        item = Item((kind, entry.prompt, text, digest), kind, given, tokens, entry.prompt, num_bytes)
        return (await self._vectors([entry], [item]))[0]

    async def _measured(self, entries: Sequence[Entry], inputs: list[ModelInput], claim: Claim) -> list[Item]:
        texts = [_text_of(given) for given in inputs]
        prompt = entries[0].prompt if entries else None
        found = await self._count(texts, prompt)
        counts = [self._shown(count, entry) for count, entry in zip(found, entries, strict=True)]
        claim.add("tokens", sum(counts))
        return [
            Item(("text", prompt, text), "text", given, count, prompt)
            for text, given, count in zip(texts, inputs, counts, strict=True)
        ]

    async def _count(self, texts: list[str], prompt: str | None) -> list[int]:
        """Tokens of texts with their prompt; a request has one for all its items."""
        given = [prompt or "", *texts]
        count = self._engine.tokens.count
        if sum(map(len, given)) < LONG_TEXTS:
            before, *each = count(given)
        else:
            before, *each = await self._service.media.in_thread(lambda: count(given))
        return [before + own for own in each]

    def _shown(self, tokens: int, entry: Entry) -> int:
        """How many of these the model sees, at least one."""
        engine = self._engine.tokens
        room = None if engine.longest is None else engine.longest - engine.special
        if room is not None and tokens > room and not self._truncate:
            raise bad_request(
                f"about {tokens:,} tokens, and the model takes {room:,}; shorten it or leave it to `truncate`",
                entry.place,
                "context_length_exceeded",
            )
        shown = max(tokens if room is None else min(tokens, room), 1)
        self.tokens += shown
        return shown

    async def _vectors(self, entries: Sequence[Entry], items: Sequence[Item]) -> list[NDArray[np.float32]]:
        _, batcher = self._service.model()
        found = await batcher.vectors(items)
        return [self._good(entry, item.kind, vector) for entry, item, vector in zip(entries, items, found, strict=True)]

    def _good(self, entry: Entry, kind: str, vector: Vector | None) -> NDArray[np.float32]:
        outcome = "encoded" if isinstance(vector, np.ndarray) else "failed" if vector is None else "refused"
        self._service.metrics.items.labels(kind, outcome).inc()
        if isinstance(vector, np.ndarray):
            return vector
        if vector is None:
            raise ApiError(500, "the model failed; the server's log says why", param=entry.place)
        if vector == NO_MEMORY:
            raise ApiError(503, NO_MEMORY, param=entry.place, code="out_of_memory", retry_after=1)
        raise bad_request("the model does not take this item", entry.place, "invalid_item")


def _combine(entry: Entry, image: Image.Image | None, frames: list[Image.Image] | None) -> ModelInput:
    try:
        return model_input(entry.text, image, video=frames)
    except DataError:
        raise bad_request("an empty text, and no picture or video", entry.place, "empty_item") from None


def _text_of(given: ModelInput) -> str:
    if isinstance(given, str):
        return given
    return str(given.get("text", "")) if isinstance(given, dict) else ""
