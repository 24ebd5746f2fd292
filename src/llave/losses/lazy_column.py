"""Columns of a batch that are prepared mini-batch by mini-batch, so that memory does not grow with a batch's pictures.

A picture of five tiles is 9 MB once it is preprocessed, 256 of them 2.3 GB, of which GradCache needs one mini-batch at
a time. A lazy column knows the lengths of its rows, which say how the batch is cut; what a mini-batch is made of comes
from a source, in the order in which mini-batches are embedded, a few ahead of their use.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Feed", "LazyColumn", "Piece"]

MEDIA = "pixel_"
"""Begins the names of what is large among a model's inputs."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A mini-batch: these rows of the batch, of one column."""

    column: int
    rows: tuple[int, ...]


class Feed:
    """Features of the pieces of a batch, in the order in which they are asked for.

    Args:
        prepared: pieces -> their features in this order, on the model's device. Called for each pass over the batch; it
            may prepare as many ahead as it has memory for.
    """

    def __init__(self, prepared: Callable[[Sequence[Piece]], Iterator[dict[str, Any]]]) -> None:
        self._prepared = prepared
        self._order: list[Piece] = []
        self._ahead: list[Piece] = []
        self._stream: Iterator[dict[str, Any]] = iter(())
        self._outlines: dict[Piece, dict[str, Any]] = {}

    def expect(self, order: Sequence[Piece]) -> None:
        """Say in which order the pieces will be asked for, in every pass."""
        self._order = list(order)

    def take(self, piece: Piece) -> dict[str, Any]:
        """Features of a piece; asked out of turn, it begins another pass."""
        if piece in self._outlines:
            return self._outlines.pop(piece)
        if piece not in self._ahead:
            begin = self._order.index(piece)
            self._ahead = [one for one in self._order[begin:] if one not in self._outlines]
            self._stream = self._prepared(tuple(self._ahead))
        while True:
            head, features = self._ahead.pop(0), next(self._stream)
            if head == piece:
                return features

    def keep_outline(self, piece: Piece, features: dict[str, Any]) -> None:
        """Give these in the piece's next turn: its pictures are known already to the tower that would see them."""
        self._outlines[piece] = features


class LazyColumn(dict[str, Any]):
    """A column whose rows are known by their lengths: its one entry, ``attention_mask`` (B, T), as of padded rows.

    Args:
        number: of the column in the batch.
        lengths_B: tokens of each row; None where rows have none (a model of pictures alone).
        rows: the batch's row in each place.
        feed: of the batch.
    """

    def __init__(self, number: int, lengths_B: Tensor | None, rows: Sequence[int], feed: Feed) -> None:
        super().__init__({"rows": torch.tensor(rows)} if lengths_B is None else {"attention_mask": _mask(lengths_B)})
        self.number = number
        self.lengths_B = lengths_B
        self.rows = tuple(rows)
        self.feed = feed

    def by_length(self) -> tuple["LazyColumn", Tensor | None]:
        """See :func:`llave.losses.minibatch.by_length`."""
        if self.lengths_B is None or bool((self.lengths_B.diff() >= 0).all()):
            return self, None
        order_B = self.lengths_B.argsort(stable=True)
        rows = [self.rows[place] for place in order_B.tolist()]
        return LazyColumn(self.number, self.lengths_B[order_B], rows, self.feed), order_B.argsort()

    def piece(self, begin: int, end: int) -> Piece:
        """The mini-batch of these places."""
        return Piece(self.number, self.rows[begin:end])


def outline(features: dict[str, Any]) -> dict[str, Any]:
    """Features whose pictures take no memory: of the right shape, for a tower that does not look at them."""
    return {
        name: _outline_of(value, 2 if name.endswith("mask") else 3)
        if name.startswith(MEDIA) and isinstance(value, Tensor)
        else value
        for name, value in features.items()
    }


def _outline_of(value: Tensor, dimensions: int) -> Tensor:
    """Ones; zeros for a picture of zeros, which SmolVLM takes for padding and leaves out.

    Args:
        value: pictures (..., C, H, W), masks (..., H, W) or Qwen's patches (N, D).
        dimensions: of one picture or mask.
    """
    if value.ndim <= dimensions:
        return value.new_ones(()).expand(value.shape)
    seen = value.flatten(-dimensions).any(-1).to(value.dtype)
    return seen[(..., *[None] * dimensions)].expand(value.shape)


def _mask(lengths_B: Tensor) -> Tensor:
    return torch.arange(int(lengths_B.max()))[None] < lengths_B[:, None]
