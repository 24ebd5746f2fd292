"""The unique items of a benchmark: each gets a number, so that rows are arrays of integers.

MMEB has about 36 million candidates but a few hundred thousand different ones.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llave.data.mmeb import PictureFolder, RowItem
from llave.data.row_text import BLANK, Form, blank_picture, met
from llave.encode.cache import EmbeddingCache
from llave.encode.encoder import Encoder
from llave.encode.forward import Refused
from llave.encode.item import Item, Measured
from llave.progress import show_progress

__all__ = ["Encoding", "ItemTable", "encode_table", "same_content"]


class ItemTable:
    """Items in order of first appearance; those that a row names alike are one.

    Args:
        verbatim, blank, form: see :func:`llave.data.row_text.met`.
    """

    def __init__(self, *, verbatim: bool = False, blank: bool = False, form: Form = "text") -> None:
        self._verbatim = verbatim
        self._blank = blank
        self._form = form
        self._rows: list[tuple[PictureFolder, RowItem, str | None]] = []
        self._numbers: dict[tuple[Path | None, RowItem, str | None], int] = {}
        self._raw: dict[tuple[Path, RowItem, str | None], int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, folder: PictureFolder, item: RowItem, prompt: str | None = None) -> int:
        """The number of an item, a new one if it was not seen before.

        Args:
            prompt: before it, where it has no instruction of its own; None is the encoder's.
        """
        raw = (folder.root, item, prompt)
        number = self._raw.get(raw)
        if number is None:
            seen, own = met(item, verbatim=self._verbatim, blank=self._blank, form=self._form)
            prompt = own or prompt
            key = (folder.root if seen.image or seen.video or seen.audio else None, seen, prompt)
            number = self._raw[raw] = self._numbers.setdefault(key, len(self._rows))
            if number == len(self._rows):
                self._rows.append((folder, seen, prompt))
        return number

    def row_item(self, number: int) -> RowItem:
        """What the row says of it, the text without the picture's placeholder."""
        return self._rows[number][1]

    def path(self, number: int) -> Path | None:
        """The file of its picture, video or sound, or None."""
        return self.item(number).file

    def item(self, number: int) -> Item:
        """What is encoded."""
        folder, seen, prompt = self._rows[number]
        image = blank_picture() if seen.image == BLANK else folder.image(seen)
        return Item(seen.text, image, folder.video(seen), prompt, verbatim=True, audio=folder.audio(seen))


@dataclass(frozen=True, slots=True)
class Encoding:
    """Embeddings of a table's items.

    Args:
        embedding_UD: (U, D) unit vectors, float32; NaN where an item has none.
        errors: by item number.
        same_U: (U,) the number of the first item of equal content, such as that of a copied file.
        encoded: items that went through the model; those that were known or alike did not.
        keys: (U) equal for items of equal content (32 bytes, see :class:`~llave.encode.item.Measured`), empty of one
            that cannot be read.
        cached: vectors that the cache had.
        cut: texts among them that are longer than the model reads.
        cut_sounds: sounds that are longer than it hears.
    """

    embedding_UD: NDArray[np.float32]
    errors: dict[int, Refused]
    same_U: NDArray[np.int32]
    encoded: int
    cut: int
    keys: list[bytes]
    cached: int
    cut_sounds: int

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of all vectors."""
        return hashlib.sha256(self.embedding_UD.tobytes()).hexdigest()


def encode_table(
    encoder: Encoder,
    table: ItemTable,
    *,
    cache: EmbeddingCache | None = None,
    processes: int = 1,
    progress: bool = True,
) -> Encoding:
    """Embed all items of a table, those of equal content once.

    Raises:
        UserError: the model refuses one item after the other, or a process died.
    """
    items = [table.item(number) for number in range(len(table))]
    encoded = cached = 0
    with show_progress(progress) as work:
        work.stage("read", len(items))
        measured = encoder.measure(items, work.advance)

        def plan(different: int, known: int, tokens: int) -> None:
            nonlocal cached
            cached = known
            work.stage("encode", different, cost=tokens)
            work.advance(known, worked=0, cost=0)

        def advance(done: int, tokens: int) -> None:
            nonlocal encoded
            encoded += done
            work.advance(done, cost=tokens)

        outcomes = encoder.encode(items, measured, cache=cache, processes=processes, plan=plan, advance=advance)
    errors = {number: outcome for number, outcome in enumerate(outcomes) if isinstance(outcome, Refused)}
    width = next((len(outcome) for outcome in outcomes if not isinstance(outcome, Refused)), 1)
    embedding_UD = np.full((len(items), width), np.nan, dtype=np.float32)
    for number, outcome in enumerate(outcomes):
        if not isinstance(outcome, Refused):
            embedding_UD[number] = outcome
    same_U = same_content(measured)
    failed = sum(isinstance(measured[number], Measured) and same_U[number] == number for number in errors)
    keys = [about.key if isinstance(about, Measured) else b"" for about in measured]
    cut = encoder.cut, keys, cached, encoder.cut_sounds
    return Encoding(embedding_UD, errors, same_U, encoded - int(failed), *cut)


def same_content(measured: Sequence[Measured | Refused]) -> NDArray[np.int32]:
    """(U,) the number of the first item of equal content."""
    first: dict[bytes, int] = {}
    return np.array(
        [
            first.setdefault(about.key, number) if isinstance(about, Measured) else number
            for number, about in enumerate(measured)
        ],
        dtype=np.int32,
    )
