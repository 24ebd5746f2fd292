"""What a long indexing run shows: items per second, how many of them were known, and what it does at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as ProgressTask
from rich.text import Text

__all__ = ["IndexingBar", "indexing_bar"]


class IndexingBar:
    """One bar, whose total may be an underestimate: a document counts as one until its pages are known."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._job = progress.add_task("read", total=None, encoded=0)

    def start(self, total: int) -> None:
        """Of about so many items."""
        self._progress.update(self._job, description="index", total=total)

    def skip(self, items: int) -> None:
        """Items that cost nothing: unchanged, or with errors."""
        self._advance(items, 0)

    def encoded(self, items: int) -> None:
        """Items that went through the model."""
        self._advance(items, items)

    def stage(self, name: str) -> None:
        """What follows takes a while and has no length that is known."""
        self._progress.add_task(name, total=None, encoded=0)

    def _advance(self, items: int, encoded: int) -> None:
        task = self._progress.tasks[self._job]
        total = None if task.total is None else max(task.total, task.completed + items)
        self._progress.update(self._job, advance=items, total=total, encoded=task.fields["encoded"] + encoded)


class _Speed(ProgressColumn):
    def render(self, task: ProgressTask) -> Text:
        if not task.completed:
            return Text("")
        encoded = task.fields["encoded"]
        speed = f", {encoded / task.elapsed:,.0f}/s" if encoded and task.elapsed else ""
        return Text(f"{task.completed:,.0f} items, {encoded:,} embedded{speed}")


@contextmanager
def indexing_bar(enabled: bool) -> Iterator[IndexingBar]:
    """A bar on stderr, if that is a terminal."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        _Speed(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not enabled or not console.is_terminal) as progress:
        yield IndexingBar(progress)
