"""The unique items of a benchmark: each gets a number, so that rows are arrays of integers.

MMEB has about 36 million candidates but a few hundred thousand different ones.
"""

from dataclasses import dataclass
from pathlib import Path

from llave.data.mmeb import Item, PictureFolder, strip_placeholder
from llave.models.prompts import ModelInput, to_model_input

__all__ = ["ItemError", "ItemTable"]


@dataclass(frozen=True, slots=True)
class ItemError:
    """An item that could not be embedded: its picture's file (empty for a text) and the reason."""

    file: str
    message: str


class ItemTable:
    """Items in order of first appearance. Two items that a model sees alike are one."""

    def __init__(self) -> None:
        self._sources: list[tuple[PictureFolder, Item]] = []
        self._numbers: dict[tuple[Path | None, Item], int] = {}

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, folder: PictureFolder, item: Item) -> int:
        """The number of an item, a new one if it was not seen before."""
        seen = Item(strip_placeholder(item.text), item.image, item.video)
        key = (folder.root if seen.image or seen.video else None, seen)
        number = self._numbers.setdefault(key, len(self._sources))
        if number == len(self._sources):
            self._sources.append((folder, seen))
        return number

    def item(self, number: int) -> Item:
        """The item, its text without the picture's placeholder."""
        return self._sources[number][1]

    def path(self, number: int) -> Path | None:
        """The file of the item's picture or video, or None."""
        folder, item = self._sources[number]
        return folder.image(item) or folder.video(item)

    def load(self, number: int) -> ModelInput:
        """What the model takes, the picture decoded.

        Raises:
            DataError: a picture that cannot be decoded, or nothing to embed.
        """
        folder, item = self._sources[number]
        return to_model_input(item, folder)

    def kind(self, number: int) -> str:
        """``"text"``, ``"image"``, ``"both"``, ``"video"`` or ``"video+text"``."""
        item = self.item(number)
        if item.video:
            return "video+text" if item.text else "video"
        return "text" if not item.image else "both" if item.text else "image"

    def error(self, number: int, message: str) -> ItemError:
        """The error record of an item."""
        path = self.path(number)
        return ItemError("" if path is None else str(path), message)
