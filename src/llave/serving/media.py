"""Pictures, videos and sounds from clients that are not trusted: read, checked and decoded within bounds.

A file has to be JPEG, PNG, WebP or GIF (or a film, or a sound), its pixels are counted before they are decoded, and
decoding runs in a few threads: some for what is quick, others for what is large or may be slow, so that the one does
not wait for the other. What a library says of a bad file stays in the log: it may name addresses in memory.
"""

import asyncio
import dataclasses
import os
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from llave.data.bounded import end_workers
from llave.data.decode import checked, decoded_size
from llave.data.formats.read import read_structure
from llave.data.formats.structure import Structure, Unreadable
from llave.data.inline import read_inline
from llave.data.sound import Hearing
from llave.encode.item import Item, Measured, Reading
from llave.errors import DataError
from llave.models.prompts import ModelInput
from llave.serving.admission import Memory
from llave.serving.entries import Entry, Reference
from llave.serving.errors import ApiError, bad_request
from llave.serving.limits import Limits
from llave.serving.remote import Remote

__all__ = ["FORMATS", "Media"]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
QUICK = 4_000_000
"""Pixels, times the passes over them, that a decoder does in some 50 ms."""
FLOAT = 4
"""Bytes of a sample."""
SMALL = 1 << 16
"""Base64 of at most so many characters, and the head of a file of so many bytes, are read at once, not in a thread."""
_ADDRESS = re.compile(r"(?!data:)[a-z][a-z0-9+.-]{0,20}:", re.ASCII | re.IGNORECASE)
Result = TypeVar("Result")


class Media:
    """Reads and decodes.

    Args:
        remote: fetches addresses; None refuses them all.
        num_frames: of a video.
    """

    def __init__(self, limits: Limits, remote: Remote | None, num_frames: int) -> None:
        self._limits = limits
        self._remote = remote
        self._reading = Reading(
            num_frames=num_frames,
            max_pixels=limits.pixels,
            seconds=limits.picture_seconds,
            videos=limits.videos,
            sounds=limits.sounds,
        )
        slow = max(1, min(limits.decoders, (os.cpu_count() or 2) // 2))
        self._quick = _Lane("decode", limits.decoders, limits.queue_bytes // 4)
        self._slow = _Lane("decode-slow", slow, limits.queue_bytes - limits.queue_bytes // 4)
        self._ahead = Memory(limits.queue_bytes // 4)

    @property
    def held(self) -> int:
        """Bytes of decoded pictures, frames and sounds."""
        return self._quick.memory.held + self._slow.memory.held + self._ahead.held

    def close(self) -> None:
        """End the threads, and the decoders that they may be waiting for."""
        for lane in (self._quick, self._slow):
            lane.pool.shutdown(wait=False, cancel_futures=True)
        end_workers()

    async def read(self, reference: Reference, place: str, *, most: int) -> bytes:
        """The bytes behind an address, of base64, or as they were sent.

        Args:
            most: bytes allowed.

        Raises:
            ApiError: not base64, too large, or an address that is not allowed.
        """
        if isinstance(reference, bytes):
            data = reference
        elif _ADDRESS.match(reference):
            if self._remote is None:
                raise bad_request(
                    "addresses are not fetched here; send a data: address or base64", place, "remote_not_allowed"
                )
            data = await self._remote.fetch(reference, place, most=most)
        elif len(reference) <= SMALL:
            data = _inline(reference, place)
        else:
            data = await self._quick.run(lambda: _inline(reference, place))
        if not data:
            raise bad_request("an empty file", place, "invalid_media")
        if len(data) > most:
            raise ApiError(413, f"{len(data):,} bytes, and at most {most:,} are allowed", param=place)
        return data

    def text(self, entry: Entry) -> tuple[Item, ModelInput]:
        """The item of an entry without media.

        Raises:
            ApiError: an empty text.
        """
        item = Item(entry.text, prompt=entry.prompt)
        try:
            return item, item.load(self._reading)
        except DataError:
            raise bad_request("an empty text, and no picture, video or sound", entry.place, "empty_item") from None

    @asynccontextmanager
    async def decoded(
        self, entry: Entry, turns: asyncio.Semaphore, hearing: Hearing, *, ahead: bool = False
    ) -> AsyncIterator[tuple[Item, Measured, ModelInput]]:
        """The item of an entry with a picture, video or sound, decoded; its memory is counted to the end of the block.

        Args:
            turns: of its request, taken until the item is decoded.
            hearing: of the model.
            ahead: in the block others are decoded, such as the documents beside a query. Its memory is of its own, or
                queries could hold all of it while their documents wait for some.

        Raises:
            ApiError: not a picture of an allowed format and size, or not a whole video or sound within the limits.
        """
        reading = dataclasses.replace(self._reading, hearing=hearing)
        async with AsyncExitStack() as held:
            async with turns:
                item, lane, size = await self._read(entry, hearing)
                await held.enter_async_context((self._ahead if ahead else lane.memory).hold(size))
                found = await lane.run(lambda: (item, *self._decode(item, entry.place, reading)))
            yield found

    async def _read(self, entry: Entry, hearing: Hearing) -> tuple[Item, "_Lane", int]:
        """The item, where it is decoded, and how many bytes that keeps."""
        limits = self._limits
        if entry.audio is not None:
            data = await self.read(entry.audio, entry.place, most=limits.sounds.num_bytes)
            return Item(entry.text, prompt=entry.prompt, audio=data), self._slow, hearing.samples * FLOAT
        if entry.image is None:
            assert entry.video is not None
            data = await self.read(entry.video, entry.place, most=limits.videos.num_bytes)
            pixels = self._reading.num_frames * limits.videos.kept_pixels
            return Item(entry.text, video=data, prompt=entry.prompt), self._slow, pixels * 3
        data = await self.read(entry.image, entry.place, most=limits.media_bytes)
        if len(data) <= SMALL:
            structure = self._measure(data, entry.place)
        else:
            structure = await self._quick.run(lambda: self._measure(data, entry.place))
        height, width = decoded_size(structure)
        lane = self._quick if structure.pixels * structure.passes <= QUICK else self._slow
        return Item(entry.text, data, prompt=entry.prompt), lane, height * width * 3

    def _decode(self, item: Item, place: str, reading: Reading) -> tuple[Measured, ModelInput]:
        """What tells equal ones, and what the model takes. What a library says of a bad file is not for strangers."""
        try:
            return item.measure(reading), item.load(reading)
        except Exception as error:
            if item.modality == "image":
                raise bad_request("the picture is truncated or corrupt", place, "invalid_image") from None
            reason = _public_reason(item.modality, str(error), item.num_bytes)
            raise bad_request(reason, place, f"invalid_{item.modality}") from None

    def _measure(self, data: bytes, place: str) -> Structure:
        """What can be read of a picture without decoding it."""
        try:
            structure: Structure | None = read_structure(data)
        except Exception:  # whatever the head of a file leads to
            structure = None
        if structure is None or structure.format not in FORMATS:
            raise bad_request("not a picture in JPEG, PNG, WebP or GIF, or a broken one", place, "invalid_image")
        try:
            return checked(structure, self._limits.pixels)
        except Unreadable as error:
            message = str(error).replace(" (--max_pixels)", "")
            raise bad_request(message, place, "image_too_large") from None


class _Lane:
    """Threads, and the memory of what they have decoded: what is small does not wait for what is large."""

    def __init__(self, name: str, threads: int, num_bytes: int) -> None:
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.memory = Memory(num_bytes)

    async def run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)


def _inline(text: str, place: str) -> bytes:
    try:
        return read_inline(text)
    except DataError as error:
        raise bad_request(str(error), place, "invalid_base64") from None


def _public_reason(modality: str, message: str, num_bytes: int) -> str:
    """Our own words about a video or sound, without what a library said in brackets."""
    return f"{modality}: " + re.sub(r" \([^)]*\)", "", message.removeprefix(f"{num_bytes:,} bytes: "))
