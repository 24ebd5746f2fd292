"""How entries of a request arrive: media decoded, tokens counted, errors named by their place in the request.

What is done with them, a vector for each or a score for two, is not told here.
"""

import asyncio
import dataclasses
import math
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from llave.data.sound import Hearing
from llave.encode.forward import Refused
from llave.encode.item import Modality
from llave.encode.tokens import Tokens
from llave.models.prompts import ModelInput, stacked
from llave.serving.entries import Entry
from llave.serving.errors import ApiError, bad_request
from llave.serving.metrics import Metrics
from llave.serving.service import Service
from llave.serving.suspects import Lost

__all__ = ["Arrivals", "Arrived", "check", "result_of", "together"]

LONG_TEXTS = 20_000
"""Characters in a request from which its tokens are counted in a thread."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Arrived:
    """An entry whose media are decoded.

    Args:
        key: equal for equal content of one modality.
        tokens: of the whole, however many of them the model reads.
        num_bytes: of what is decoded.
    """

    entry: Entry
    modality: Modality
    key: str | bytes
    loaded: ModelInput
    tokens: int
    num_bytes: int = 0


class Arrivals:
    """Reads the entries of one request.

    Args:
        tokens: counts the model's.
        hearing: of the model.
        room: tokens that the model reads, without those that it adds; None: any number.
        truncate: whether a text or sound that is too long loses its end, or is an error.
    """

    def __init__(self, service: Service, tokens: Tokens, hearing: Hearing, room: int | None, *, truncate: bool) -> None:
        self._service = service
        self._tokens = tokens
        self._hearing = hearing
        self._room = room
        self._truncate = truncate
        self._turns = {ahead: asyncio.Semaphore(service.limits.media_at_once) for ahead in (False, True)}

    async def texts(self, entries: Sequence[Entry]) -> list[Arrived]:
        """Entries without media; all have the same prompt.

        Raises:
            ApiError: an empty text.
        """
        if not entries:
            return []
        prompt = entries[0].prompt

        def arrive() -> list[Arrived]:
            given = [self._service.media.text(self._cut(entry)) for entry in entries]
            found = self._count([item.words for item, _ in given], prompt)
            return [
                Arrived(entry, "text", item.words, loaded, count)
                for (item, loaded), count, entry in zip(given, found, entries, strict=True)
            ]

        return await self.beside(sum(len(entry.text) for entry in entries), arrive)

    @asynccontextmanager
    async def media(self, entry: Entry, *, ahead: bool = False) -> AsyncIterator[Arrived]:
        """An entry with a picture, video or sound, whose memory is counted to the end of the block.

        Args:
            ahead: it stays while others are read that it is compared with, see :meth:`Media.decoded`.

        Raises:
            ApiError: what is wrong with it.
        """
        decoded = self._service.media.decoded(entry, self._turns[ahead], self._hearing, ahead=ahead)
        async with decoded as (item, about, loaded):
            if about.seconds is not None and self._hearing.cuts(about.seconds) and not self._truncate:
                message = (
                    f"a sound of {about.seconds:.1f} s, and the model hears {self._hearing.seconds:g} s; shorten it or "
                    "leave it to `truncate`"
                )
                raise bad_request(message, entry.place, "context_length_exceeded")
            size, num_bytes = _extent(loaded)
            [words] = await self.beside(len(item.words), lambda: self._count([item.words], entry.prompt))
            count = words + self._tokens.media(item.modality, size, about.seconds)
            yield Arrived(entry, item.modality, about.key, loaded, count, num_bytes)

    def shown(self, tokens: int, place: str) -> int:
        """How many of these the model sees, at least one.

        Raises:
            ApiError: too many, where nothing may be cut.
        """
        room = self._room
        if room is not None and tokens > room and not self._truncate:
            raise bad_request(
                f"{tokens:,} tokens or more, and the model takes {room:,}; shorten it or leave it to `truncate`",
                place,
                "context_length_exceeded",
            )
        return max(tokens if room is None else min(tokens, room), 1)

    async def beside(self, characters: int, work: Callable[[], Result]) -> Result:
        """Work on texts, in a thread if they are long."""
        return work() if characters < LONG_TEXTS else await self._service.in_thread(work)

    def _cut(self, entry: Entry) -> Entry:
        text = self._tokens.beginning(entry.text)
        return entry if text is entry.text else dataclasses.replace(entry, text=text)

    def _count(self, texts: list[str], prompt: str | None) -> list[int]:
        """Tokens of texts with their prompt."""
        given = [prompt or "", *texts]
        tokens = self._tokens  # in a thread, the model's is not to wait for Python's lock
        before, *each = (tokens.one_by_one if sum(map(len, given)) < LONG_TEXTS else tokens.texts)(given)
        return [before + own for own in each]


def check(entry: Entry, modalities: Collection[str], most: int) -> None:
    """Whether a model of these modalities takes the entry, before anything is decoded.

    Args:
        most: characters of its text.

    Raises:
        ApiError: 400.
    """
    if len(entry.text) > most:
        raise bad_request(f"a text of {len(entry.text):,} characters, and at most {most:,} are allowed", entry.place)
    for name, given in (("image", entry.image), ("video", entry.video), ("audio", entry.audio)):
        if given is not None and name not in modalities:
            raise bad_request(f"this model takes {', '.join(modalities)}, no {name}", entry.place)
    if sum(given is not None for given in (entry.image, entry.video, entry.audio)) > 1:
        raise bad_request("an item has more than one of a picture, a video and a sound; send two items", entry.place)


def result_of(
    found: Result | Refused | Lost | None, metrics: Metrics, kind: str, place: str, *, what: str = "item"
) -> Result:
    """What the model made of an item, counted.

    Args:
        what: it is called to the client.

    Raises:
        ApiError: 500, the model failed (None); 503, no memory, or its processes ended; 400, it does not take the item.
    """
    lost = found is None or isinstance(found, Lost)
    outcome = "failed" if lost else "refused" if isinstance(found, Refused) else "encoded"
    metrics.items.labels(kind, outcome).inc()
    if found is None:
        raise ApiError(500, "the model failed; the server's log says why", param=place)
    if isinstance(found, Lost):
        seconds = math.ceil(found.seconds)
        message = f"two of the model's processes ended with this {what} in work; it is not tried again for {seconds} s"
        raise ApiError(503, message, param=place, code="model_ended", retry_after=seconds)
    if not isinstance(found, Refused):
        return found
    if found.kind == "memory":
        raise ApiError(503, f"no memory for this {what}", param=place, code="out_of_memory", retry_after=1)
    raise bad_request(f"the model does not take this {what}", place, "invalid_item")


async def together(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """All of these at a time; the first error ends the others.

    Raises:
        Exception: that error.
    """
    if len(works) == 1:
        await works[0]
        return
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


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
