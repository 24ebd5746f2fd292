"""Sounds of a benchmark: where they are, and two data sets of MMEB-V3 whose form no table has.

A part of a recording is ``FILE.wav#t=1.5,2.75``, in seconds.
"""

import wave
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from llave.data.door import named
from llave.data.encodings import decode_text
from llave.data.inline import kept_file
from llave.data.mmeb import EvalRow, RowItem
from llave.data.tables import as_text
from llave.errors import DataError
from llave.evaluation.benchmarks.places import Place
from llave.evaluation.benchmarks.spec import TaskSpec
from llave.evaluation.benchmarks.task import TaskData
from llave.evaluation.benchmarks.wording import target, worded

__all__ = ["read_audio_events", "read_audio_video", "sound_path"]

WINDOW, STEP = 1.0, 0.5
"""Seconds of a stretch without an event, and from the beginning of one to that of the next."""
OVERLAP = 0.1
"""Such a stretch and an event have less of their union in common."""
STRETCHES = 50
"""Of a recording, at most."""
SHORTEST = 0.05
"""Seconds of an event that is noted without a length."""


def sound_path(row: Mapping[str, Any], spec: TaskSpec, place: Place, where: str, role: str = "audio") -> str:
    """The row's sound, relative to the benchmark's folder.

    The column (or a pattern of columns, or the first of several that is there) holds a path, or the hub's
    ``{bytes, path}``. An absolute path of the machine that made the table is looked for in the data set's own folder.

    Raises:
        DataError: the row has none.
    """
    columns = spec.columns[role]
    columns = columns if isinstance(columns, list) else [columns]
    value = next((found for column in columns if (found := _cell(row, column)) not in (None, "")), None)
    if isinstance(value, Mapping):
        if value.get("bytes"):
            return str(kept_file(value["bytes"]))
        value = value.get("path")
    path = as_text(value)
    if not path:
        raise DataError(f"{where}: no sound in {', '.join(map(str, columns))}")
    top = PurePosixPath(spec.media).parts[0]
    if path.startswith("/") and f"/{top}/" in path and not Path(path).is_file():
        return f"{top}/{path.rpartition(f'/{top}/')[2]}"
    return (PurePosixPath(place.media_name(spec)) / path).as_posix()


def _cell(row: Mapping[str, Any], column: str) -> Any:
    if "{" not in column:
        return row.get(column)
    try:
        return column.format(**row)
    except KeyError:
        return None


def read_audio_video(spec: TaskSpec, place: Place) -> TaskData:
    """AVE: the sound of an event finds the video that it is from, among all (lines ``KIND&VIDEO&QUALITY&FROM&TO``)."""
    media = place.media_name(spec)
    videos: dict[str, RowItem] = {}
    rows, bad = [], []
    for number, line in enumerate(_lines(place.rows_folder(spec))):
        if number == 0 and line.startswith("Category&"):
            continue
        try:
            _, video, _, start, end = line.split("&")[:5]
            clip = f"{video}_{int(float(start))}_{int(float(end))}"
        except ValueError:
            bad.append(DataError(f"{place.rows_folder(spec)} line {number + 1}: not KIND&VIDEO&QUALITY&FROM&TO"))
            continue
        shown = RowItem(spec.target, video=f"{media}/AVE/{video}.mp4", wording=target(spec.target, video=True))
        film = videos.setdefault(video, shown)
        sound = RowItem(spec.query, audio=f"{media}/audios/{video}_{clip}.wav", wording=worded(spec.query))
        rows.append(EvalRow(sound, (film,)))
    return TaskData(rows, tuple(videos.values()), bad)


def read_audio_events(spec: TaskSpec, place: Place) -> TaskData:
    """TUT Sound Events 2017: a kind of event and a recording find the part where it is heard.

    Candidates are the recording's events and stretches without one. Right is any event of the kind, or, where the table
    says ``strict``, the very one that was noted.
    """
    root = place.rows_folder(spec)
    folder = root.relative_to(place.root).as_posix()
    events: dict[str, list[tuple[float, float, str]]] = {}
    for path in sorted((root / "evaluation_setup").glob("street_fold[1-4]_evaluate.txt")):
        for line in _lines(path):
            parts = line.split("\t") if line.count("\t") >= 4 else line.split()
            if len(parts) >= 5:
                events.setdefault(parts[0], []).append((float(parts[2]), float(parts[3]), parts[4].strip()))
    if not events:
        raise DataError(f"{spec.name}: no evaluation_setup/street_foldN_evaluate.txt in {root}")
    rows = []
    for file in sorted(events):
        seconds = _seconds(root / file)
        noted = [(*_within(start, end, seconds), kind) for start, end, kind in events[file]]
        spans = list(dict.fromkeys((start, end) for start, end, _ in noted))
        parts_of = {span: _part(spec, f"{folder}/{file}", span) for span in [*spans, *_stretches(spans, seconds)]}
        for start, end, kind in noted:
            right = [(start, end)] if spec.strict else [(s, e) for s, e, other in noted if other == kind]
            ordered = list(dict.fromkeys([*right, *parts_of]))
            query = RowItem(f"{spec.query} {kind}", audio=f"{folder}/{file}", wording=worded(spec.query, kind))
            gains = (1.0,) * len(set(right))
            rows.append(EvalRow(query, tuple(parts_of[span] for span in ordered), gains))
    return TaskData(rows)


def _part(spec: TaskSpec, file: str, span: tuple[float, float]) -> RowItem:
    return RowItem(spec.target, audio=f"{file}#t={span[0]:.3f},{span[1]:.3f}", wording=target(spec.target))


def _within(start: float, end: float, seconds: float) -> tuple[float, float]:
    """An event within its recording, not empty."""
    start = max(0.0, start)
    end = min(end if end > start else start + SHORTEST, seconds)
    return (start, end) if end > start else (max(0.0, seconds - SHORTEST), seconds)


def _stretches(events: list[tuple[float, float]], seconds: float) -> list[tuple[float, float]]:
    """The first stretches of a recording that have next to nothing of an event."""
    found = []
    for number in range(int((seconds - WINDOW) / STEP) + 1 if seconds >= WINDOW else 0):
        start, end = number * STEP, number * STEP + WINDOW
        common = (max(0.0, min(end, e) - max(start, s)) / (max(end, e) - min(start, s)) for s, e in events)
        if all(share < OVERLAP for share in common):
            found.append((start, end))
    return found[:STRETCHES]


def _seconds(path: Path) -> float:
    with named(str(path), "cannot read"), wave.open(str(path)) as sound:
        return float(sound.getnframes() / sound.getframerate())


def _lines(path: Path) -> list[str]:
    text = decode_text(path.read_bytes(), str(path))
    return [line.strip() for line in text.split("\n") if line.strip()]
