"""What long work shows: bars on a terminal and in a notebook, a line every few seconds elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

__all__ = ["Work", "show_progress"]

LINE_SECONDS = 15.0
"""Between two lines where there is no terminal: a log is read by people too."""


class Work:
    """The stages of some work, one after the other.

    Args:
        bars: drawn if they are not disabled; they keep the counts either way.
        lines: where lines go if there are no bars; None for nowhere.
    """

    def __init__(self, bars: Progress, lines: Console | None) -> None:
        self._bars = bars
        self._lines = lines
        self._job = bars.add_task("", total=None, visible=False)
        self._unit = ""
        self._worked = 0
        self._items = 0
        self._of: int | None = None
        self._since = self._told = time.monotonic()

    def stage(self, name: str, items: int | None = None, *, unit: str = "items", cost: float | None = None) -> None:
        """What comes now.

        Args:
            items: how many there are, if it is known; more may come.
            cost: of all of them together, where they differ; the time that is left goes by it.
        """
        self._bars.update(self._job, completed=self._bars.tasks[self._job].total or 1)
        self._unit, self._items, self._worked, self._of = unit, 0, 0, items
        self._since = time.monotonic()
        self._job = self._bars.add_task(name, total=items if cost is None else cost, about="")
        self._tell(name if items is None else f"{name}: {items:,} {unit}")

    def advance(self, items: int = 1, *, worked: int | None = None, cost: float | None = None) -> None:
        """So many more are done. The speed is that of ``worked`` items, by default all: not of those that were known,
        and of those within a larger unit."""
        self._items += items
        self._worked += items if worked is None else worked
        task = self._bars.tasks[self._job]
        if cost is None:
            cost = items
            if self._of is not None and self._items > self._of:
                self._of = self._items
                self._bars.update(self._job, total=self._of)
        self._bars.update(self._job, advance=cost, about=self._about())
        left = task.time_remaining
        self._tell(f"{task.description}: {self._about()}" + (f", {left:,.0f} s left" if left else ""))

    def _about(self) -> str:
        seconds = time.monotonic() - self._since
        of = "" if self._of is None else f"/{self._of:,}"
        per = "/s" if self._unit == "items" else " items/s"
        speed = f", {self._worked / seconds:,.0f}{per}" if self._worked and seconds > 0 else ""
        return f"{self._items:,}{of} {self._unit}{speed}"

    def _tell(self, line: str) -> None:
        """A line, if there was none for a while: what is quick says nothing."""
        if self._lines is not None and time.monotonic() - self._told >= LINE_SECONDS:
            self._told = time.monotonic()
            self._lines.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def show_progress(enabled: bool = True, *, console: Console | None = None) -> Iterator[Work]:
    """Bars on stderr if that is a terminal, or in a notebook with ipywidgets; otherwise lines; nothing if not
    ``enabled``."""
    console = console or Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(no_wrap=True, max_width=14, overflow="ellipsis")),
        BarColumn(bar_width=None, table_column=Column(ratio=1, max_width=40)),
        TextColumn("{task.fields[about]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
    )
    terminal = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
    with Progress(*columns, console=console, disable=not (enabled and terminal), expand=False) as bars:
        yield Work(bars, console if enabled and not terminal else None)
