"""The words of an item: what a keyword search reads of its text, its name and its fields."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from llave.collection.types import Scalar
from llave.errors import UserError

__all__ = ["K1", "LANGUAGES", "USUAL", "WORD", "B", "Words", "spelled", "tokens", "words_of"]

LANGUAGES = (
    "none", "Arabic", "Danish", "Dutch", "English", "Finnish", "French", "German", "Greek", "Hungarian", "Italian",
    "Norwegian", "Portuguese", "Romanian", "Russian", "Spanish", "Swedish", "Tamil", "Turkish",
)  # fmt: skip
"""Whose endings are cut off, so that "dogs" finds "dog"."""
WORD = re.compile(r"[^\W_]+")
K1, B = 1.2, 0.75
"""Of BM25, in stores that have none of their own."""
USUAL = 16
"""Words of an item, about; the mean of an index changes with every item."""
HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Words:
    """What is read.

    Args:
        sources: ``"text"`` of an item, its ``"path"`` (folders and file name in words, without the suffix), names of
            fields, or ``"all"``: text, path and every field that holds texts. None at all: no keyword search.
        language: whose endings are cut off; ``"none"`` leaves words as they are.
    """

    sources: tuple[str, ...] = ("all",)
    language: str = "English"

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise UserError(f"words: no language {self.language!r}; there are: {', '.join(LANGUAGES)}")

    @classmethod
    def parse(cls, sources: str, language: str | None = None) -> "Words":
        """From a line: ``"text, path, title"``, ``"all"`` or ``"none"``.

        Raises:
            UserError: an unknown language.
        """
        names = tuple(name.strip() for name in sources.split(",") if name.strip())
        return cls(() if names == ("none",) else names, language or "English")


def words_of(text: str, path: str, fields: Mapping[str, Scalar], words: Words) -> str:
    """One text, from what an item has of each source; of a list's several values, all."""
    parts = []
    for source in words.sources:
        if source in ("text", "all"):
            parts.append(text)
        if source in ("path", "all"):
            parts.append(spelled(path))
        if source == "all":
            parts += [value for value in fields.values() if isinstance(value, str)]
        elif source in fields and fields[source] is not None:
            parts.append(str(fields[source]))
    return "\n".join(dict.fromkeys(part for part in parts if part.strip()))


def spelled(path: str) -> str:
    """``holidays/redUmbrella_2.jpg`` as ``holidays red Umbrella 2``."""
    folder, _, name = path.rpartition("/")
    stem = name.rpartition(".")[0] or name
    return " ".join(WORD.findall(HUMP.sub(" ", f"{folder} {stem}")))


def tokens(text: str) -> list[str]:
    """The words of a text, however they are written."""
    return [word.casefold() for word in WORD.findall(text)]
