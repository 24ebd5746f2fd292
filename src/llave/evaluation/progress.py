"""What a long evaluation shows: items per second, and the time that is left for all its data sets together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Task as ProgressTask
from rich.text import Text

__all__ = ["EncodingBar", "encoding_bar"]


class EncodingBar:
    """Bars of the two stages: reading and hashing, then encoding."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def reading(self, items: int) -> Callable[[], None]:
        """Advances by one item."""
        job = self._progress.add_task("read", total=items, items=0, known=0, of=items)
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            self._progress.update(job, completed=done, items=done)

        return advance

    def encoding(self, *, items: int, known: int, tokens: int) -> Callable[[int, int], None]:
        """Advances by items and tokens. The time left goes by tokens, because items differ in cost by a thousand."""
        job = self._progress.add_task("encode", total=tokens, items=known, known=known, of=items)
        done = known

        def advance(more: int, cost: int) -> None:
            nonlocal done
            done += more
            self._progress.update(job, advance=cost, items=done)

        return advance


class _Items(ProgressColumn):
    def render(self, task: ProgressTask) -> Text:
        fresh = task.fields["items"] - task.fields["known"]
        speed = f"{fresh / task.elapsed:,.0f}" if fresh and task.elapsed else "-"
        return Text(f"{task.fields['items']:,}/{task.fields['of']:,} items, {speed}/s")


@contextmanager
def encoding_bar(enabled: bool) -> Iterator[EncodingBar]:
    """Bars on stderr, if that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), _Items(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not enabled or not console.is_terminal) as progress:
        yield EncodingBar(progress)
