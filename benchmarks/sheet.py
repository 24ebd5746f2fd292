"""A table of measurements, for a terminal and for a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.table import Table

__all__ = ["Sheet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Rows of cells under named columns.

    Args:
        words: columns of words, aligned to the left; the others are numbers.
        hidden: columns that a terminal has no room for.
        apart: the first columns whose change begins a new section.
    """

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[str]
    hidden: frozenset[str] = frozenset()
    apart: int = 0

    def table(self) -> Table:
        """For a terminal."""
        table = Table(title=self.title, caption=self.caption)
        shown = [place for place, name in enumerate(self.columns) if name not in self.hidden]
        for place in shown:
            words = self.columns[place] in self.words
            table.add_column(self.columns[place], justify="left" if words else "right", no_wrap=not words)
        ends = [row[: self.apart] != after[: self.apart] for row, after in pairwise(self.rows)]
        for row, end in zip(self.rows, [*ends, True], strict=False):
            table.add_row(*(row[place] for place in shown), end_section=end)
        return table

    def markdown(self) -> str:
        """For a page."""
        aligned = ["---" if name in self.words else "---:" for name in self.columns]
        lines = [self.title, "", f"| {' | '.join(self.columns)} |", f"|{'|'.join(aligned)}|"]
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        return "\n".join(lines) + "\n"
