"""A search's best hits reranked: the search's thread waits, while the pairs go through the queue like all others."""

import asyncio
import io
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from llave.data.pages import load_page, split_page
from llave.encode.forward import Refused
from llave.encode.item import Item
from llave.errors import DataError
from llave.serving.arrivals import together
from llave.serving.entries import Entry
from llave.serving.errors import ApiError
from llave.serving.rerank import score
from llave.serving.service import ServedReranker, Service

__all__ = ["SearchReranker"]


class SearchReranker:
    """Scores for hits. One that cannot be scored is refused, and costs no other one.

    Args:
        query: what was asked for, as the request has it.
        loop: the server's.
    """

    def __init__(self, service: Service, model: ServedReranker, query: Entry, loop: asyncio.AbstractEventLoop) -> None:
        self._service, self._model, self._query, self._loop = service, model, query, loop
        self._waiting: Future[list[float | Refused]] | None = None

    def __call__(self, query: Item, documents: Sequence[Item]) -> list[float | Refused]:
        """In a thread of the index's; the query is the request's own.

        Raises:
            ApiError: no room, or the model failed.
        """
        entries = [self._entry(place, item) for place, item in enumerate(documents)]
        self._waiting = asyncio.run_coroutine_threadsafe(self._scores(entries), self._loop)
        return self._waiting.result()

    def cancel(self) -> None:
        """The client has gone, or its time is up: what is not yet scored leaves the queue."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def _scores(self, entries: Sequence[Entry | Refused]) -> list[float | Refused]:
        found: list[float | Refused] = [Refused("file", "")] * len(entries)
        texts = [(n, each) for n, each in enumerate(entries) if isinstance(each, Entry) and not each.has_media]
        if texts:
            scored = await score(self._service, self._model, [self._query], [entry for _, entry in texts])
            for (n, _), value in zip(texts, scored.scores, strict=True):
                found[n] = value

        async def one(number: int, entry: Entry) -> None:
            try:
                found[number] = (await score(self._service, self._model, [self._query], [entry])).scores[0]
            except ApiError as error:
                if error.status != 400:
                    raise
                found[number] = Refused("file", str(error))

        found = [entry if isinstance(entry, Refused) else value for entry, value in zip(entries, found, strict=True)]
        media = [(n, each) for n, each in enumerate(entries) if isinstance(each, Entry) and each.has_media]
        await together([one(number, entry) for number, entry in media])
        return found

    def _entry(self, place: int, item: Item) -> Entry | Refused:
        """A hit as an item of a request."""
        name = f"results[{place}]"
        try:
            image, video, audio = (self._bytes(media) for media in (item.image, item.video, item.audio))
        except (DataError, OSError) as error:  # gone meanwhile, or no page any more
            return Refused("file", str(error))
        entry = Entry(name, item.text, image, video, audio=audio)
        if entry.has_media or item.words:
            return entry
        return Refused("file", "its file is not there, and it has no text")

    def _bytes(self, media: object) -> bytes | None:
        if not isinstance(media, Path):
            return None
        document, page = split_page(media)
        if page is not None:
            buffer = io.BytesIO()
            load_page(document, page).save(buffer, "PNG", compress_level=1)
            return buffer.getvalue()
        if media.stat().st_size > self._service.limits.media_bytes:
            raise DataError(f"larger than {self._service.limits.media_bytes:,} bytes")
        return media.read_bytes()
