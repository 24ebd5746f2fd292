"""The unique items of a benchmark: each gets a number, so that rows are arrays of integers.

MMEB has about 36 million candidates but a few hundred thousand different ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from llave.data.images import load_image
from llave.data.media import media_bytes
from llave.data.mmeb import IMAGE_PLACEHOLDER, PictureFolder, RowItem, strip_placeholder
from llave.data.video import load_video
from llave.evaluation.compat import STRICT, Compat
from llave.models.prompts import ModelInput, model_input

__all__ = ["ItemError", "ItemTable", "Source"]

BLANK = "<blank>"
"""Stands for the picture of a text that has a picture's place and no picture; see :mod:`llave.evaluation.compat`."""
BLANK_SIDE = 384


@dataclass(frozen=True, slots=True)
class ItemError:
    """An item that could not be embedded: the file of its picture or video (empty for a text) and the reason."""

    file: str
    message: str


@dataclass(frozen=True, slots=True)
class Source:
    """All that is needed to load an item, here or in another process."""

    text: str
    image: Path | None = None
    video: Path | None = None
    verbatim: bool = False

    @property
    def kind(self) -> str:
        """``"text"``, ``"picture"`` or ``"video"``, the latter two with or without a text."""
        return "video" if self.video is not None else "picture" if self.image is not None else "text"

    @property
    def file(self) -> Path | None:
        """The picture or video."""
        return self.video or self.image

    def load(self, num_frames: int) -> ModelInput:
        """What the model takes, the picture or the frames of the video decoded.

        Raises:
            DataError: a file that cannot be decoded, or nothing to embed.
        """
        if self.image == Path(BLANK):
            image: Image.Image | None = Image.new("RGB", (BLANK_SIDE, BLANK_SIDE), (128, 128, 128))
        else:
            image = None if self.image is None else load_image(self.image)
        video = None if self.video is None else load_video(self.video, num_frames=num_frames)
        return model_input(self.text, image, video=video, verbatim=self.verbatim)

    def content(self, num_frames: int) -> Iterator[bytes]:
        """The bytes that decide what a model sees: the text, then those of the file.

        Raises:
            OSError: the file cannot be read.
        """
        yield f"{len(self.text)}:{self.text}|".encode("utf-8", "surrogatepass")
        if self.image == Path(BLANK):
            yield BLANK.encode()
        elif self.file is not None:
            yield from media_bytes(self.file, num_frames=num_frames if self.video is not None else None)


class ItemTable:
    """Items in order of first appearance. Two items that a model sees alike are one.

    Args:
        compat: decides what is left of a text's white space, and whether a picture's place without one counts.
    """

    def __init__(self, compat: Compat = STRICT) -> None:
        self._compat = compat
        self._sources: list[tuple[PictureFolder, RowItem]] = []
        self._numbers: dict[tuple[Path | None, RowItem], int] = {}
        self._raw: dict[tuple[Path, RowItem], int] = {}

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, folder: PictureFolder, item: RowItem) -> int:
        """The number of an item, a new one if it was not seen before."""
        raw = (folder.root, item)
        number = self._raw.get(raw)
        if number is None:
            seen = self._seen(item)
            key = (folder.root if seen.image or seen.video else None, seen)
            number = self._raw[raw] = self._numbers.setdefault(key, len(self._sources))
            if number == len(self._sources):
                self._sources.append((folder, seen))
        return number

    def item(self, number: int) -> RowItem:
        """The item, its text without the picture's placeholder."""
        return self._sources[number][1]

    def path(self, number: int) -> Path | None:
        """The file of the item's picture or video, or None."""
        return None if self.item(number).image == BLANK else self.source(number).file

    def source(self, number: int) -> Source:
        """What loads the item."""
        folder, item = self._sources[number]
        image = Path(BLANK) if item.image == BLANK else folder.image(item)
        return Source(item.text, image, folder.video(item), self._compat.verbatim)

    def error(self, number: int, message: str) -> ItemError:
        """The error record of an item."""
        path = self.path(number)
        return ItemError("" if path is None else str(path), message)

    def _seen(self, item: RowItem) -> RowItem:
        """The item as the model meets it."""
        place = IMAGE_PLACEHOLDER in item.text
        text = strip_placeholder(item.text)
        if self._compat.verbatim:
            text = item.text.replace(IMAGE_PLACEHOLDER, "")
            text = text.removeprefix("\n") if place else text
        image = BLANK if self._compat.blank and place and not item.image and not item.video else item.image
        return RowItem(text, image, item.video)
