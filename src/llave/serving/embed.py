"""From entries to vectors: media decoded, items queued, errors named by their place in the request."""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from llave.encode.forward import Outcome, Refused, Vector
from llave.encode.item import Item, Measured
from llave.models.prompts import ModelInput, stacked
from llave.serving.admission import Claim
from llave.serving.batcher import Line, Prepared
from llave.serving.engine import Engine
from llave.serving.entries import Entry
from llave.serving.errors import ApiError, bad_request
from llave.serving.service import Served, Service

__all__ = ["Embedded", "embed"]

LONG_TEXTS = 20_000
"""Characters in a request from which its tokens are counted in a thread."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Embedded:
    """Unit vectors (D,) in the order of the entries, and the tokens that the model saw."""

    vectors: list[Vector]
    tokens: int


async def embed(service: Service, model: Served, entries: Sequence[Entry], *, truncate: bool = True) -> Embedded:
    """A vector for every entry.

    Raises:
        ApiError: an entry that has none, named; or no room.
    """
    engine = model.engine
    if len(entries) > service.limits.items:
        raise bad_request(f"{len(entries):,} items, and at most {service.limits.items:,} in a request", "input")
    for entry in entries:
        _check(entry, engine, service.limits.text_characters)
    work = _Request(service, model, truncate)
    with service.admission.claim(len(entries)) as claim:
        vectors = await work.run(entries, claim)
    service.metrics.tokens.inc(work.tokens)
    return Embedded(vectors, work.tokens)


def _check(entry: Entry, engine: Engine, most: int) -> None:
    if len(entry.text) > most:
        raise bad_request(f"a text of {len(entry.text):,} characters, and at most {most:,} are allowed", entry.place)
    for name, given in (("image", entry.image), ("video", entry.video), ("audio", entry.audio)):
        if given is not None and name not in engine.modalities:
            raise bad_request(f"this model takes {', '.join(engine.modalities)}, no {name}", entry.place)
    if sum(given is not None for given in (entry.image, entry.video, entry.audio)) > 1:
        raise bad_request("an item has more than one of a picture, a video and a sound; send two items", entry.place)


class _Request:
    """The items of one request on their way."""

    def __init__(self, service: Service, model: Served, truncate: bool) -> None:
        self._service = service
        self._engine = model.engine
        self._batcher = model.batcher
        self._line = Line()
        self._turns = asyncio.Semaphore(service.limits.media_at_once)
        self._truncate = truncate
        self.tokens = 0

    async def run(self, entries: Sequence[Entry], claim: Claim) -> list[Vector]:
        found: dict[int, Vector] = {}
        texts = [number for number, entry in enumerate(entries) if not entry.has_media]
        items = await self._texts([entries[n] for n in texts], claim)

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

    async def _media(self, entry: Entry, claim: Claim) -> Vector:
        async with self._service.media.decoded(entry, self._turns, self._engine.hearing) as (item, about, loaded):
            prepared = await self._prepare(entry, item, about, loaded, claim)
            return (await self._vectors([entry], [prepared]))[0]

    async def _prepare(self, entry: Entry, item: Item, about: Measured, loaded: ModelInput, claim: Claim) -> Prepared:
        size, num_bytes = _extent(loaded)
        heard = self._engine.hearing
        if about.seconds is not None and heard.cuts(about.seconds) and not self._truncate:
            message = (
                f"a sound of {about.seconds:.1f} s, and the model hears {heard.seconds:g} s; shorten it or leave it to "
                "`truncate`"
            )
            raise bad_request(message, entry.place, "context_length_exceeded")
        [words] = await self._beside(len(item.words), lambda: self._count([item.words], entry.prompt))
        media = self._engine.tokens.media(item.modality, size, about.seconds)
        tokens = self._shown(words + media, entry)
        claim.add("tokens", tokens)
        key = (item.modality, entry.prompt, about.key)
        return Prepared(key, item.modality, loaded, tokens, entry.prompt, num_bytes)

    async def _texts(self, entries: Sequence[Entry], claim: Claim) -> list[Prepared]:
        if not entries:
            return []
        prompt = entries[0].prompt  # a request has one for all its items

        def prepare() -> list[Prepared]:
            given = [self._service.media.text(self._cut(entry)) for entry in entries]
            found = self._count([item.words for item, _ in given], prompt)
            return [
                Prepared(("text", prompt, item.words), "text", loaded, self._shown(count, entry), prompt)
                for (item, loaded), count, entry in zip(given, found, entries, strict=True)
            ]

        items = await self._beside(sum(len(entry.text) for entry in entries), prepare)
        claim.add("tokens", sum(item.tokens for item in items))
        return items

    async def _beside(self, characters: int, work: Callable[[], Result]) -> Result:
        """Work on texts, in a thread if they are long."""
        return work() if characters < LONG_TEXTS else await self._service.in_thread(work)

    def _cut(self, entry: Entry) -> Entry:
        text = self._engine.tokens.beginning(entry.text)
        return entry if text is entry.text else dataclasses.replace(entry, text=text)

    def _count(self, texts: list[str], prompt: str | None) -> list[int]:
        """Tokens of texts with their prompt."""
        given = [prompt or "", *texts]
        tokens = self._engine.tokens  # in a thread, the model's is not to wait for Python's lock
        before, *each = (tokens.one_by_one if sum(map(len, given)) < LONG_TEXTS else tokens.texts)(given)
        return [before + own for own in each]

    def _shown(self, tokens: int, entry: Entry) -> int:
        """How many of these the model sees, at least one."""
        engine = self._engine.tokens
        room = None if engine.longest is None else engine.longest - engine.special
        if room is not None and tokens > room and not self._truncate:
            raise bad_request(
                f"{tokens:,} tokens or more, and the model takes {room:,}; shorten it or leave it to `truncate`",
                entry.place,
                "context_length_exceeded",
            )
        shown = max(tokens if room is None else min(tokens, room), 1)
        self.tokens += shown
        return shown

    async def _vectors(self, entries: Sequence[Entry], items: Sequence[Prepared]) -> list[Vector]:
        found = await self._batcher.vectors(items, self._line)
        return [self._good(entry, item, found) for entry, item, found in zip(entries, items, found, strict=True)]

    def _good(self, entry: Entry, item: Prepared, found: Outcome | None) -> Vector:
        outcome = "failed" if found is None else "refused" if isinstance(found, Refused) else "encoded"
        self._service.metrics.items.labels(item.modality, outcome).inc()
        if found is None:
            raise ApiError(500, "the model failed; the server's log says why", param=entry.place)
        if not isinstance(found, Refused):
            return found
        if found.kind == "memory":
            raise ApiError(503, "no memory for this item", param=entry.place, code="out_of_memory", retry_after=1)
        raise bad_request("the model does not take this item", entry.place, "invalid_item")


def _extent(loaded: ModelInput) -> tuple[tuple[int, int] | None, int]:
    """(height, width) of a decoded picture or of a video's frames, and the bytes of what is decoded."""
    media: Any = loaded["image"] if isinstance(loaded, dict) and "image" in loaded else loaded
    if isinstance(media, dict) and "audio" in media:
        return None, media["audio"]["array"].nbytes
    if isinstance(media, dict):
        video = stacked(media["video"])
        _, height, width, _ = video.shape
        return (height, width), video.nbytes
    return (media.height, media.width), 3 * media.height * media.width
