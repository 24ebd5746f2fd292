"""Progress: bars that fit 80 columns on a terminal, a line now and then elsewhere, nothing for what is quick."""

import io

import pytest
from rich.console import Console

from llave import progress
from llave.progress import show_progress


def work(console: Console, monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> str:
    """What is written of 40 steps, each of which takes so long by the clock."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with show_progress(console=console) as shown:
        shown.stage("embed", 1_234_567, unit="shards")
        for _ in range(40):
            now[0] += seconds
            shown.advance(30_000, worked=12_345_678)
        shown.stage("a stage whose name is long")
        now[0] += seconds
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_bars_fit_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None, legacy_windows=False)
    lines = work(console, monkeypatch, seconds=100).replace("\r", "\n").split("\n")
    shown = [line for line in lines if "embed" in line]
    assert shown
    assert all(len(line.split("\x1b")[0]) <= 80 for line in shown)
    assert "1,200,000/1,234,567 shards, 123,457 items/s" in shown[-1]  # the counts are not what is cut off


def test_lines_off_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    lines = work(console, monkeypatch, seconds=6).splitlines()
    assert 10 <= len(lines) <= 17  # one in 15 seconds at most
    assert lines[0].startswith("embed: ")
    assert "/1,234,567 shards, " in lines[0]
    assert "items/s" in lines[0]


def test_what_is_quick_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    assert work(console, monkeypatch, seconds=0.1) == ""


def test_nothing_if_not_wanted() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with show_progress(False, console=console) as shown:
        shown.stage("read", 3)
        shown.advance(3)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
