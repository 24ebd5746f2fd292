"""From the rows of a data set, in one of a few forms, to queries and candidates.

=============  =======================================================================================================
``mmeb``       MMEB's evaluation rows; instructions are in the texts (columns of TIGER-Lab/MMEB-eval)
``instructed`` the same with instructions in ``qry_inst`` and ``tgt_inst`` (MMEB-V2's pictures)
``labels``     a video or sound and its label; all labels are candidates, or the row's own in the column ``candidates``
``questions``  a video, a question and its options; the options are candidates
``captions``   a text, or several, and its video or sound; all videos are candidates
``moments``    a text about a video, and a folder of its clips: ``query/``, ``positive…/`` and others
``clips``      a text, with a picture or a video or alone, and lists of right and wrong clips
``beir``       queries, a corpus of pages, texts, pictures or sounds, and what is relevant
``memory``     folders of such collections, as one
``gui``        queries and a corpus of texts and screenshots
``audio_…``    sounds that find their video; sounds within a recording (:mod:`.sounds`)
=============  =======================================================================================================
"""

import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from llave.data.mmeb import EVAL_COLUMNS, IMAGE_PLACEHOLDER, EvalRow, MMEBFolder, RowItem, parse_eval
from llave.data.tables import as_text
from llave.errors import DataError
from llave.evaluation.benchmarks.agent import read_gui, read_memory
from llave.evaluation.benchmarks.beir import read_beir
from llave.evaluation.benchmarks.label_lists import read_labels, shipped_labels
from llave.evaluation.benchmarks.places import Place
from llave.evaluation.benchmarks.sounds import read_audio_events, read_audio_video, sound_path
from llave.evaluation.benchmarks.spec import Reader, TaskSpec
from llave.evaluation.benchmarks.task import TaskData, mmeb_data

__all__ = ["READ", "join"]

Row = Mapping[str, Any]


def join(*parts: str) -> str:
    """Instruction and text with one space between."""
    return " ".join(part.strip() for part in parts if part.strip())


def _mmeb(spec: TaskSpec, place: Place) -> TaskData:
    if place.laid_out(spec):
        return mmeb_data(MMEBFolder(place.root), spec.name)
    known: dict[tuple[str, str, str | None], RowItem] = {}  # as the hub lays it out
    media = place.media_name(spec)

    def parse(row: Row, where: str) -> list[EvalRow]:
        missing = [column for column in EVAL_COLUMNS if column not in row]
        if missing:
            raise DataError(f"{where}: missing column {', '.join(missing)}; it has {', '.join(_names(row))}")
        found = parse_eval(dict(row), where, known)
        return [EvalRow(at(found.query), tuple(map(at, found.candidates)), found.gains)]

    @cache
    def at(item: RowItem) -> RowItem:
        return replace(item, image=_under(media, item.image))

    return _data(place.rows(spec, [spec.name]), parse)


def _instructed(spec: TaskSpec, place: Place) -> TaskData:
    media = place.media_name(spec)

    def parse(row: Row, where: str) -> list[EvalRow]:
        query_image = _picture(row, "qry_img_path", media, where)
        texts, images = _strings(row, "tgt_text", where), _strings(row, "tgt_img_path", where)
        images = images or [""] * len(texts)
        if len(texts) != len(images):
            raise DataError(f"{where}: tgt_text and tgt_img_path differ in length")
        query = (
            f"{_string(row, 'qry_inst', where)} {_string(row, 'qry_text', where)}".replace(" \n", "\n") + spec.ending
        )
        if query_image and IMAGE_PLACEHOLDER not in query:
            query = f"{IMAGE_PLACEHOLDER}\n{query}"
        instruction = str(row.get("tgt_inst") or "")
        candidates = tuple(
            RowItem(f"{instruction} {text}".replace(" \n", "\n") if instruction else text, _under(media, image))
            for text, image in zip(texts, images, strict=True)
        )
        return [EvalRow(RowItem(query, query_image), candidates)]

    return _data(place.rows(spec, spec.configs or [spec.name]), parse)


def _labels(spec: TaskSpec, place: Place) -> TaskData:
    local = "candidates" in spec.columns
    listed = None if local else _listed(spec, place)

    def parse(row: Row, where: str) -> list[EvalRow]:
        label = _text(row, spec, "label", where)
        if listed is not None and label not in listed:
            raise DataError(f"{where}: its label {label!r} is not in the list of {spec.name}'s labels")
        others = [text for text in _strings(row, spec.columns["candidates"], where) if text != label] if local else []
        if local and not others:
            raise DataError(f"{where}: no other label in {spec.columns['candidates']}")
        return [EvalRow(_shown(row, spec, place, spec.query, where), (RowItem(label), *map(RowItem, others)))]

    data = _data(islice(place.rows(spec), spec.first), parse)
    if local:
        return data
    labels = sorted({row.candidates[0].text for row in data.rows}) if listed is None else listed
    if listed is None and spec.labels is not None and len(labels) < spec.labels:
        path = place.root / "labels" / f"{spec.name}.txt"
        raise DataError(
            f"{spec.name}: {len(labels)} of its {spec.labels} labels occur in the rows; list all in {path}, one a line"
        )
    return replace(data, corpus=tuple(map(RowItem, labels)))


def _listed(spec: TaskSpec, place: Place) -> list[str] | None:
    """The labels of ``labels/NAME.txt`` beside the data, or of the list that comes with llave."""
    own, shipped = place.root / "labels" / f"{spec.name}.txt", shipped_labels(spec.name)
    if own.is_file():
        return read_labels(own)
    return None if shipped is None or spec.labels is None else read_labels(shipped)


def _shown(row: Row, spec: TaskSpec, place: Place, text: str, where: str) -> RowItem:
    """The row's video or sound, with a text."""
    if "audio" in spec.columns:
        return RowItem(text, audio=sound_path(row, spec, place, where))
    name = _text(row, spec, "video", where)
    if spec.reader == "captions" and PurePosixPath(name).suffix.lower() in FILMS:
        name = PurePosixPath(name).stem
    return RowItem(text, video=place.video_path(spec, name))


def _questions(spec: TaskSpec, place: Place) -> TaskData:
    """``ask``: ``lettered`` (a list "(A) …" under "Options:"), ``lines``, ``words``, or ``question`` alone.

    ``answers``: ``plain`` options, ``lettered`` ("(A) …") or ``unlettered`` ("A. …" without "A."). The right one is a
    number from 0, a letter, or the option's text.
    """

    def parse(row: Row, where: str) -> list[EvalRow]:
        options = spec.options or _options(row, spec, where)
        lettered = [f"({letter}) {option}" for letter, option in zip(string.ascii_uppercase, options, strict=False)]
        question = _text(row, spec, "question", where)
        shown = {
            "question": question,
            "lettered": "\n".join([question, "Options:", *lettered]),
            "lines": "\n".join([question, *options]),
            "words": question + " ".join(options),
        }
        candidates = {
            "plain": options,
            "lettered": lettered,
            "unlettered": [option.partition(". ")[2].strip(". ") or option for option in options],
        }
        right = _right(row.get(spec.columns["answer"]), options, where)
        texts = candidates[spec.answers]
        ordered = [texts[right], *(text for number, text in enumerate(texts) if number != right)]
        video = place.video_path(spec, _text(row, spec, "video", where))
        return [EvalRow(RowItem(join(spec.query, shown[spec.ask]), "", video), tuple(map(RowItem, ordered)))]

    return _data(islice(place.rows(spec), spec.first), parse)


def _captions(spec: TaskSpec, place: Place) -> TaskData:
    shown: dict[str, RowItem] = {}

    def parse(row: Row, where: str) -> list[EvalRow]:
        column = spec.columns["text"]
        if isinstance(column, list):  # Clotho's five captions
            captions = [text for name in column if (text := _string(row, name, where).strip())]
        else:
            texts = row.get(column)
            captions = [texts] if isinstance(texts, str) else list(texts or [])
        if not captions or not all(isinstance(caption, str) for caption in captions):
            raise DataError(f"{where}: {column} must be a text or a list of texts")
        target = _shown(row, spec, place, spec.target, where)
        target = shown.setdefault(target.video or target.audio, target)
        chosen = captions if spec.every_caption else captions[:1]
        return [EvalRow(RowItem(join(spec.query, caption)), (target,)) for caption in chosen]

    data = _data(islice(place.rows(spec), spec.first), parse)
    return replace(data, corpus=tuple(shown.values()))


def _moments(spec: TaskSpec, place: Place) -> TaskData:
    media = place.media_name(spec)

    def parse(row: Row, where: str) -> list[EvalRow]:
        name = PurePosixPath(_text(row, spec, "video", where)).stem
        folder = place.media(spec) / name
        clips = sorted(path.name for path in folder.glob("*") if path.is_dir() and path.name != "query")
        right = [clip for clip in clips if clip.startswith("positive")]
        if not right:
            raise DataError(f"{where}: no folder positive* in {folder}{place.advice}")
        ordered = [*right, *(clip for clip in clips if clip not in right)]
        candidates = tuple(RowItem(spec.target, "", f"{media}/{name}/{clip}") for clip in ordered)
        text = join(spec.query, _text(row, spec, "text", where))
        query = RowItem(text, "", f"{media}/{name}/query")
        return [EvalRow(query, candidates, (1.0,) * len(right))]

    return _data(islice(place.rows(spec), spec.first), parse)


def _clips(spec: TaskSpec, place: Place) -> TaskData:
    def clip(path: str) -> str:
        return place.video_path(spec, f"video_frames/{path.replace('/', '_').split('.mp4')[0]}")

    def parse(row: Row, where: str) -> list[EvalRow]:
        text, shown = _text(row, spec, "text", where), str(row.get(spec.columns["input"]) or "")
        if PurePosixPath(shown).suffix in FILMS:
            query = RowItem(join(spec.query_with_video, text), "", clip(shown))
        elif PurePosixPath(shown).suffix in (".jpg", ".png"):
            query = RowItem(join(spec.query_with_picture, text), f"{place.media_name(spec)}/query_{shown}")
        else:
            query = RowItem(join(spec.query, text))
        right, wrong = (
            [str(entry[spec.columns["path"]]) for entry in row.get(spec.columns[key]) or []]
            for key in ("positives", "negatives")
        )
        if not right:
            raise DataError(f"{where}: no right clip in {spec.columns['positives']}")
        candidates = tuple(RowItem(spec.target, "", clip(path)) for path in [*right, *wrong])
        return [EvalRow(query, candidates, (1.0,) * len(right))]

    return _data(islice(place.rows(spec), spec.first), parse)


FILMS = (".mp4", ".avi", ".mov", ".mkv", ".webm")

READ: dict[Reader, Callable[[TaskSpec, Place], TaskData]] = {
    "mmeb": _mmeb,
    "instructed": _instructed,
    "labels": _labels,
    "questions": _questions,
    "captions": _captions,
    "moments": _moments,
    "clips": _clips,
    "beir": read_beir,
    "memory": read_memory,
    "gui": read_gui,
    "audio_video": read_audio_video,
    "audio_events": read_audio_events,
}


def _data(rows: Iterable[tuple[str, Row | DataError]], parse: Callable[[Row, str], list[EvalRow]]) -> TaskData:
    """Every row parsed; one that cannot be costs itself.

    Raises:
        DataError: of all rows the same can be said; the first's.
    """
    found: list[EvalRow] = []
    bad: list[DataError] = []
    for where, row in rows:
        try:
            if isinstance(row, DataError):
                raise row
            found += parse(row, where)
        except DataError as error:
            bad.append(error)
        except Exception as error:  # a column of another type than its format has
            bad.append(DataError(f"{where}: {type(error).__name__}: {error}"))
    if bad and not found:
        raise bad[0]
    return TaskData(found, bad=bad)


def _text(row: Row, spec: TaskSpec, role: str, where: str) -> str:
    """A column by its role, or the first of several; a pattern such as ``v_{name}`` is filled in from others."""
    column = spec.columns.get(role)
    if column is None:
        raise DataError(f"{spec.name}: columns names no {role}")
    if isinstance(column, list):
        column = next((name for name in column if row.get(name) not in (None, "")), column[0])
    if "{" in column:
        names = [name for _, name, _, _ in string.Formatter().parse(column) if name]
        values = {name: row["{config}"] if name == "config" else _string(row, name, where) for name in names}
        return str(column.format(**values))
    return _string(row, column, where)


def _string(row: Row, column: str, where: str) -> str:
    if column not in row:
        raise DataError(f"{where}: missing column {column}; it has {', '.join(_names(row))}")
    return as_text(row[column])


def _names(row: Row) -> list[str]:
    return [name for name in row if name[:1] != "{"]


def _strings(row: Row, column: str, where: str) -> list[str]:
    value = row.get(column)
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"{where}: {column} must be a list")
    return [as_text(entry) for entry in value]


def _options(row: Row, spec: TaskSpec, where: str) -> list[str]:
    column = spec.columns["options"]
    if isinstance(column, list):
        return [_string(row, name, where) for name in column]
    found = _strings(row, column, where)
    if not found:
        raise DataError(f"{where}: no options in {column}")
    return found


def _right(answer: Any, options: list[str], where: str) -> int:
    """Index of the right option."""
    text = str(answer)
    if text in options:
        return options.index(text)
    if text.isdigit() and int(text) < len(options):
        return int(text)
    if len(text) == 1 and text in string.ascii_uppercase[: len(options)]:
        return string.ascii_uppercase.index(text)
    raise DataError(f"{where}: the answer {text!r} is none of the options, nor a number or letter of one")


def _under(folder: str, path: str) -> str:
    return (PurePosixPath(folder) / path).as_posix() if folder and path else path


def _picture(row: Row, column: str, media: str, where: str) -> str:
    return _under(media, _string(row, column, where))
