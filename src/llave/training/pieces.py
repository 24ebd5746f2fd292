"""Mini-batches of lazy batches, prepared by processes of their own while earlier ones are embedded."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from llave.errors import DataError
from llave.losses.lazy_column import Feed, LazyColumn, Piece
from llave.training.rows import FAILURE, LENGTHS, ROWS, Collator

__all__ = ["PieceLoader", "PieceRows", "processes_for", "start_method"]

AHEAD = 2
"""Mini-batches that a process has ready."""
PAIR = 2
"""Columns of a batch without hard negatives."""


@dataclass(frozen=True, slots=True)
class PieceRows:
    """A mini-batch by its rows in the corpus; see :meth:`Collator.piece`."""

    column: int
    rows: tuple[int, ...]
    with_negatives: bool


class _Pieces(Dataset[dict[str, Any]]):
    def __init__(self, collator: Collator) -> None:
        self.collator = collator

    def __getitem__(self, piece: PieceRows) -> dict[str, Any]:
        return self.collator.piece(piece.column, piece.rows, with_negatives=piece.with_negatives)


class PieceLoader:
    """A torch loader that is told for each pass over a batch what to load; its processes stay.

    Args:
        collator: of lazy batches.
        workers: processes; 0 prepares every mini-batch when it is asked for.
        pin_memory: for a copy to a GPU.
    """

    def __init__(self, collator: Collator, *, workers: int, pin_memory: bool) -> None:
        self._order: list[PieceRows] = []
        self._loader: DataLoader[dict[str, Any]] = DataLoader(
            _Pieces(collator),
            sampler=self._order,
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=AHEAD if workers else None,
            pin_memory=pin_memory,
            multiprocessing_context=start_method(workers),
            generator=torch.Generator(),  # or each pass would draw a seed that dropout is waiting for
        )

    def start(self) -> None:
        """Start the processes, before the model has run: threads of its arithmetic do not survive a fork."""
        list(self.load([]))

    def columns(self, batch: dict[str, Any], to_device: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
        """The columns of a lazy batch, whose mini-batches come when they are embedded.

        Args:
            to_device: moves features to where the model is.
        """
        rows, lengths = batch[ROWS], batch[LENGTHS]

        def prepared(order: Sequence[Piece]) -> Iterator[dict[str, Any]]:
            named = [
                PieceRows(piece.column, tuple(rows[place] for place in piece.rows), len(lengths) > PAIR)
                for piece in order
            ]
            yield from map(to_device, self.load(named))

        feed, places = Feed(prepared), range(len(rows))
        on_cpu = [None if tokens is None else tokens.cpu() for tokens in lengths]
        return [LazyColumn(number, tokens, places, feed) for number, tokens in enumerate(on_cpu)]

    def load(self, pieces: Sequence[PieceRows]) -> Iterator[dict[str, Any]]:
        """Features of the pieces, in this order; what an earlier call has not given yet is let go.

        Raises:
            DataError: a row that cannot be read any more.
        """
        self._order[:] = pieces
        for features in self._loader:
            if FAILURE in features:
                raise DataError(features[FAILURE])
            yield features


def start_method(workers: int) -> str | None:
    """Forked, where that can be: a worker that is started anew is sent the collator and with it the model's weights."""
    return "fork" if workers and sys.platform.startswith("linux") else None


def processes_for(workers: int, *, lazy: bool) -> tuple[int, int]:
    """(processes that read batches, processes that prepare mini-batches): half of them each, and one at least."""
    if not lazy or not workers:
        return workers, 0
    return (workers + 1) // 2, max(workers // 2, 1)


def _unchanged(features: Any) -> Any:
    return features
