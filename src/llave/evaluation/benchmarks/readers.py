"""From the rows of a data set, in one of a few forms, to queries and candidates.

=============  =======================================================================================================
``mmeb``       MMEB's evaluation rows; instructions are in the texts (columns of TIGER-Lab/MMEB-eval)
``instructed`` the same with instructions in ``qry_inst`` and ``tgt_inst`` (MMEB-V2's pictures)
``labels``     a video and its label; all labels are candidates, or the row's own in the column ``candidates``
``questions``  a video, a question and its options; the options are candidates
``captions``   a text and its video; all videos are candidates
``moments``    a text about a video, and a folder of its clips: ``query/``, ``positive…/`` and others
``clips``      a text, with a picture or a video or alone, and lists of right and wrong clips
``beir``       queries, a corpus of pages, and relevance judgements
=============  =======================================================================================================
"""

import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from llave.data.encodings import decode_text
from llave.data.mmeb import IMAGE_PLACEHOLDER, EvalRow, MMEBFolder, RowItem
from llave.data.tables import as_text
from llave.errors import DataError
from llave.evaluation.benchmarks.beir import read_beir
from llave.evaluation.benchmarks.places import Place
from llave.evaluation.benchmarks.spec import Reader, TaskSpec
from llave.evaluation.benchmarks.task import TaskData, mmeb_data
from llave.evaluation.benchmarks.wording import picture_query, picture_target, question, worded

__all__ = ["READ", "join"]

Row = Mapping[str, Any]


def join(*parts: str) -> str:
    """Instruction and text with one space between."""
    return " ".join(part.strip() for part in parts if part.strip())


def _mmeb(spec: TaskSpec, place: Place) -> TaskData:
    return mmeb_data(MMEBFolder(place.root), spec.name)


def _instructed(spec: TaskSpec, place: Place) -> TaskData:
    @cache
    def candidate(instruction: str, text: str, image: str, captioned: bool) -> RowItem:
        """Rows share theirs, which are made once."""
        return RowItem(
            f"{instruction} {text}".replace(" \n", "\n") if instruction else text,
            _under(spec.media, image),
            wording=picture_target(spec, instruction, text, captioned=captioned) if image else None,
        )

    def parse(row: Row, where: str) -> list[EvalRow]:
        query_image = _picture(row, "qry_img_path", spec, where)
        texts, images = _strings(row, "tgt_text", where), _strings(row, "tgt_img_path", where)
        images = images or [""] * len(texts)
        if len(texts) != len(images):
            raise DataError(f"{where}: tgt_text and tgt_img_path differ in length")
        asked, about = _string(row, "qry_inst", where), _string(row, "qry_text", where)
        query = f"{asked} {about}".replace(" \n", "\n") + spec.ending
        if query_image and IMAGE_PLACEHOLDER not in query:
            query = f"{IMAGE_PLACEHOLDER}\n{query}"
        instruction = str(row.get("tgt_inst") or "")
        captioned = bool(texts and texts[0].strip())
        candidates = tuple(
            candidate(instruction, text, image, captioned) for text, image in zip(texts, images, strict=True)
        )
        return [EvalRow(RowItem(query, query_image, wording=picture_query(spec, asked, about)), candidates)]

    return _data(place.rows(spec, spec.configs or [spec.name]), parse)


def _labels(spec: TaskSpec, place: Place) -> TaskData:
    local = "candidates" in spec.columns

    def parse(row: Row, where: str) -> list[EvalRow]:
        label = _text(row, spec, "label", where)
        path = place.video_path(spec, _text(row, spec, "video", where))
        video = RowItem(spec.query, "", path, worded(spec.query, video=True))
        others = [text for text in _strings(row, spec.columns["candidates"], where) if text != label] if local else []
        return [EvalRow(video, (RowItem(label), *map(RowItem, others)))]

    data = _data(islice(place.rows(spec), spec.first), parse)
    return data if local else replace(data, corpus=tuple(map(RowItem, _all_labels(spec, place, data.rows))))


def _all_labels(spec: TaskSpec, place: Place, rows: Sequence[EvalRow]) -> list[str]:
    """The labels of ``labels/NAME.txt``; without it those that occur, if they are as many as there must be."""
    path = place.root / "labels" / f"{spec.name}.txt"
    if path.is_file():
        return [line.strip() for line in decode_text(path.read_bytes(), str(path)).split("\n") if line.strip()]
    found = sorted({row.candidates[0].text for row in rows})
    if spec.labels is not None and len(found) < spec.labels:
        raise DataError(
            f"{spec.name}: {len(found)} of its {spec.labels} labels occur in the rows; list all in {path}, one a line"
        )
    return found


def _questions(spec: TaskSpec, place: Place) -> TaskData:
    """``ask``: ``lettered`` (a list "(A) …" under "Options:"), ``lines``, ``words``, or ``question`` alone.

    ``answers``: ``plain`` options, ``lettered`` ("(A) …") or ``unlettered`` ("A. …" without "A."). The right one is a
    number from 0, a letter, or the option's text.
    """

    def parse(row: Row, where: str) -> list[EvalRow]:
        options = spec.options or _options(row, spec, where)
        lettered = [f"({letter}) {option}" for letter, option in zip(string.ascii_uppercase, options, strict=False)]
        asked = _text(row, spec, "question", where)
        shown = {
            "question": asked,
            "lettered": "\n".join([asked, "Options:", *lettered]),
            "lines": "\n".join([asked, *options]),
            "words": asked + " ".join(options),
        }[spec.ask]
        candidates = {
            "plain": options,
            "lettered": lettered,
            "unlettered": [option.partition(". ")[2].strip(". ") or option for option in options],
        }
        right = _right(row.get(spec.columns["answer"]), options, where)
        texts = candidates[spec.answers]
        ordered = [texts[right], *(text for number, text in enumerate(texts) if number != right)]
        video = place.video_path(spec, _text(row, spec, "video", where))
        spaced = " ".join([asked, *options]) if spec.ask == "words" else shown
        query = RowItem(join(spec.query, shown), "", video, question(spec.query, shown, spaced))
        return [EvalRow(query, tuple(map(RowItem, ordered)))]

    return _data(islice(place.rows(spec), spec.first), parse)


def _captions(spec: TaskSpec, place: Place) -> TaskData:
    videos: dict[str, RowItem] = {}

    def parse(row: Row, where: str) -> list[EvalRow]:
        name = _text(row, spec, "video", where)
        texts = row.get(spec.columns["text"])
        captions = [texts] if isinstance(texts, str) else list(texts or [])
        if not captions or not all(isinstance(caption, str) for caption in captions):
            raise DataError(f"{where}: {spec.columns['text']} must be a text or a list of texts")
        stem = PurePosixPath(name).stem if PurePosixPath(name).suffix.lower() in FILMS else name
        video = videos.setdefault(stem, _target(spec, place.video_path(spec, stem)))
        chosen = captions if spec.every_caption else captions[:1]
        return [
            EvalRow(RowItem(join(spec.query, caption), wording=worded(spec.query, caption)), (video,))
            for caption in chosen
        ]

    data = _data(islice(place.rows(spec), spec.first), parse)
    return replace(data, corpus=tuple(videos.values()))


def _moments(spec: TaskSpec, place: Place) -> TaskData:
    def parse(row: Row, where: str) -> list[EvalRow]:
        name = PurePosixPath(_text(row, spec, "video", where)).stem
        folder = place.media(spec) / name
        clips = sorted(path.name for path in folder.glob("*") if path.is_dir() and path.name != "query")
        right = [clip for clip in clips if clip.startswith("positive")]
        if not right:
            raise DataError(f"{where}: no folder positive* in {folder}{place.advice}")
        ordered = [*right, *(clip for clip in clips if clip not in right)]
        candidates = tuple(_target(spec, f"{spec.media}/{name}/{clip}") for clip in ordered)
        text = _text(row, spec, "text", where)
        wording = worded(spec.query, text, video=True)
        query = RowItem(join(spec.query, text), "", f"{spec.media}/{name}/query", wording)
        return [EvalRow(query, candidates, (1.0,) * len(right))]

    return _data(islice(place.rows(spec), spec.first), parse)


def _clips(spec: TaskSpec, place: Place) -> TaskData:
    def clip(path: str) -> str:
        return place.video_path(spec, f"video_frames/{path.replace('/', '_').split('.mp4')[0]}")

    def parse(row: Row, where: str) -> list[EvalRow]:
        text, shown = _text(row, spec, "text", where), str(row.get(spec.columns["input"]) or "")
        if PurePosixPath(shown).suffix in FILMS:
            asked, path = spec.query_with_video, clip(shown)
            query = RowItem(join(asked, text), "", path, worded(asked, text, video=True))
        elif PurePosixPath(shown).suffix in (".jpg", ".png"):
            asked, path = spec.query_with_picture, f"{spec.media}/query_{shown}"
            query = RowItem(join(asked, text), path, wording=worded(asked, text, image=True))
        else:
            query = RowItem(join(spec.query, text), wording=worded(spec.query, text))
        right, wrong = (
            [str(entry[spec.columns["path"]]) for entry in row.get(spec.columns[key]) or []]
            for key in ("positives", "negatives")
        )
        if not right:
            raise DataError(f"{where}: no right clip in {spec.columns['positives']}")
        candidates = tuple(_target(spec, clip(path)) for path in [*right, *wrong])
        return [EvalRow(query, candidates, (1.0,) * len(right))]

    return _data(islice(place.rows(spec), spec.first), parse)


def _target(spec: TaskSpec, video: str) -> RowItem:
    """A video as a candidate; what Qwen's parsers hand over of it is the video alone."""
    return RowItem(spec.target, "", video, replace(worded(spec.target, video=True), instruction="", words=""))


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
    """A column by its role; a pattern such as ``v_{name}`` is filled in from other columns."""
    column = spec.columns.get(role)
    if column is None:
        raise DataError(f"{spec.name}: columns names no {role}")
    if "{" in column:
        names = [name for _, name, _, _ in string.Formatter().parse(column) if name]
        values = {name: row["{config}"] if name == "config" else _string(row, name, where) for name in names}
        return str(column.format(**values))
    return _string(row, column, where)


def _string(row: Row, column: str, where: str) -> str:
    if column not in row:
        raise DataError(f"{where}: missing column {column}; it has {', '.join(name for name in row if name[0] != '{')}")
    value = row[column]
    return as_text(value)


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
    return f"{folder}/{path}" if folder and path else path


def _picture(row: Row, column: str, spec: TaskSpec, where: str) -> str:
    return _under(spec.media, _string(row, column, where))
