"""Items that are equal: of the same bytes, the same pixels, or the same words."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from llave.data.door import named
from llave.data.images import load_image, picture_size
from llave.data.media import media_bytes
from llave.data.pages import split_page
from llave.encode.item import Item, Reading
from llave.errors import UserError
from llave.models.pictures import fit_picture
from llave.progress import Work
from llave.sorting.things import Thing, Things

__all__ = ["Facts", "exact_classes", "facts_of", "normal_words", "pixels_of"]

THREADS = 4


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an item's file without decoding it.

    Args:
        size: height and width of a picture; 0 where they are not known.
        time: when it was last changed.
    """

    size: tuple[int, int] = (0, 0)
    bytes: int = 0
    time: float = 0.0

    def rank(self, name: str) -> tuple[int, int, float, str]:
        """The best copy comes first: of most pixels, then of most bytes, then the oldest, then by name."""
        return -self.size[0] * self.size[1], -self.bytes, self.time, name


def facts_of(things: Things, work: Work) -> list[Facts]:
    """Of every item, in order."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="facts") as pool:
        found = []
        for facts in pool.map(_facts, things.all):
            found.append(facts)
            work.advance()
    return found


def exact_classes(things: Things, facts: Sequence[Facts], order: Sequence[int]) -> dict[int, list[int]]:
    """Items of equal content by the first of them, in the order that is given; what has no equal is alone. Only files
    of equal size are read."""
    sizes = Counter(about.bytes for about in facts)
    twins = [place for place in order if facts[place].bytes and sizes[facts[place].bytes] > 1]
    with ThreadPoolExecutor(THREADS, thread_name_prefix="hash") as pool:
        read = dict(zip(twins, pool.map(_content, (things.all[place] for place in twins)), strict=True))
    classes: dict[int, list[int]] = {}
    first: dict[Hashable, int] = {}
    for place in order:
        thing = things.all[place]
        key: Hashable = read.get(place) or (thing.content if not facts[place].bytes else None) or None
        if thing.kind == "text":
            key = normal_words(thing.text)
        leader = place if key is None else first.setdefault((thing.kind == "text", key), place)
        classes.setdefault(leader, []).append(place)
    return classes


def normal_words(text: str) -> str:
    """A text's words in small letters, however they are set; of what has no words, the text itself."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", plain)) or plain.strip()


def pixels_of(item: Item) -> bytes | None:
    """A hash of a picture's size and pixels as they are shown; None of what cannot be decoded."""
    if item.image is None:
        return None
    try:
        with named(str(item.file or item.kind)):
            image = fit_picture(item.image) if isinstance(item.image, Image.Image) else load_image(item.image)
    except UserError:  # it has no look either, and is named for that
        return None
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()


def _facts(thing: Thing) -> Facts:
    item = thing.item
    held = next((each for each in (item.image, item.video, item.audio) if isinstance(each, bytes)), None)
    try:
        with named(thing.name):
            if held is not None:
                return Facts(picture_size(held) or (0, 0), len(held))
            if item.file is None:
                return Facts()
            stat = split_page(item.file)[0].stat()
            head = next(media_bytes(item.file), b"") if thing.kind == "image" else b""
            return Facts(picture_size(head) or (0, 0), stat.st_size, stat.st_mtime)
    except UserError:  # gone since it was listed: nothing is known of it
        return Facts()


def _content(thing: Thing) -> bytes | None:
    try:
        with named(thing.name):
            return thing.item.measure(Reading()).media or None
    except UserError:  # it equals nothing then
        return None
