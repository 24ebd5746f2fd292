"""One thing to embed, before it is loaded, whatever it was found in."""

import datetime
import decimal
import hashlib
import json
import math
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from llave.data.images import load_image, picture_size
from llave.data.media import media_bytes
from llave.data.pages import split_page
from llave.data.video import load_video
from llave.errors import DataError
from llave.models.prompts import ModelInput, model_input

__all__ = ["BadEntry", "Entry", "Kind", "Measured", "Scalar", "chunks", "legible", "scalar", "stamp_of"]

Kind = Literal["text", "image", "video", "page"]
Scalar = str | float | bool | None
CHUNK_BYTES = 256 * 1024**2
"""Of pictures and films that come as bytes."""


@dataclass(frozen=True, slots=True)
class BadEntry:
    """What could not be read: its name in the collection, and why.

    Args:
        hides: more than itself, such as all files of a folder; nobody can say that those are gone.
    """

    key: str
    message: str
    hides: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """An entry's content: its hash, the hash of the picture or video alone, and (height, width) of a picture."""

    content: str
    media: bytes
    size: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A text, picture, page or video; a text may come with any of the others.

    Args:
        key: its name in the collection, e.g. the path in a folder, or the id in a table. Unique there.
        text: may be empty where there is a picture or video.
        image: a file, a page (``FILE.pdf#page=3``), or the bytes of a picture.
        video: a file, a folder of frames, or the bytes of a film.
        name: what a person is shown of where it comes from; usually the path.
        stamp: equal as long as the content surely is (size and time of the file); empty where nothing tells.
        fields: metadata, scalars by name.
    """

    key: str
    text: str = ""
    image: Path | bytes | None = None
    video: Path | bytes | None = None
    name: str = ""
    stamp: str = ""
    fields: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.key, self.name):
            if legible(name) != name:
                raise DataError(f"{name!r:.80} is not in Unicode; rename it")

    @property
    def kind(self) -> Kind:
        """What is shown of it."""
        if self.video is not None:
            return "video"
        if isinstance(self.image, Path) and split_page(self.image)[1] is not None:
            return "page"
        return "text" if self.image is None else "image"

    @property
    def file(self) -> Path | None:
        """The file of the picture, page or video; None of a text and of bytes."""
        media = self.image if self.video is None else self.video
        return media if isinstance(media, Path) else None

    def load(self, num_frames: int) -> ModelInput:
        """What the model takes, the picture or the frames of the video decoded.

        Raises:
            DataError: a file that cannot be decoded, or nothing to embed.
        """
        image = None if self.image is None else load_image(self.image)
        video = None if self.video is None else _load_video(self.video, num_frames)
        return model_input(self.text, image, video=video)

    def measure(self, num_frames: int) -> Measured:
        """Read it once, without decoding it.

        Raises:
            OSError: the file cannot be read.
        """
        media = hashlib.sha256()
        size = None
        for block in self._blocks(num_frames):
            if size is None and self.kind == "image":
                size = picture_size(block)
            media.update(block)
        text = f"{len(self.text)}:{self.text}|".encode("utf-8", "surrogatepass")
        content = hashlib.sha256(text + media.digest()).hexdigest()
        return Measured(content, b"" if self.kind == "text" else media.digest(), size)

    def digest(self) -> str:
        """A hash of what is kept beside the vector."""
        kept = [self.name, sorted(self.fields.items())]
        return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:16]

    def _blocks(self, num_frames: int) -> Iterator[bytes]:
        media = self.image if self.video is None else self.video
        if isinstance(media, bytes):
            yield media
            if self.video is not None:
                yield f"|frames={num_frames}".encode()
        elif self.file is not None:
            yield from media_bytes(self.file, num_frames=None if self.video is None else num_frames)


def chunks(entries: Iterable[Entry | BadEntry], size: int) -> Iterator[list[Entry | BadEntry]]:
    """``size`` entries each, fewer where their bytes fill the memory."""
    chunk: list[Entry | BadEntry] = []
    held = 0
    for entry in entries:
        chunk.append(entry)
        if isinstance(entry, Entry):
            held += sum(len(media) for media in (entry.image, entry.video) if isinstance(media, bytes))
        if len(chunk) == size or held >= CHUNK_BYTES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def stamp_of(file: Path, text: str) -> str:
    """Size and time of a file, and a hash of the text beside it."""
    stat = file.stat()
    return f"{stat.st_size}:{stat.st_mtime_ns}:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def legible(text: str) -> str:
    """Without halves of characters, as a caption that was cut off has them; neither a model nor a store takes them."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def scalar(value: Any) -> Scalar:
    """A field as it is kept: text, finite number, truth value or nothing; a time in ISO form, anything else as JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return legible(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, int | float | decimal.Decimal):
        try:
            number = float(value)
        except OverflowError:
            return str(value)
        return number if math.isfinite(number) else None
    return legible(json.dumps(value, ensure_ascii=False, default=str))


def _load_video(source: Path | bytes, num_frames: int) -> list[Image.Image]:
    if isinstance(source, Path):
        return load_video(source, num_frames=num_frames)
    with tempfile.NamedTemporaryFile(suffix=".film") as file:  # decoders seek in a file
        file.write(source)
        file.flush()
        return load_video(file.name, num_frames=num_frames)
