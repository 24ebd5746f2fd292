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
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from llave.data.mmeb import EVAL_COLUMNS, IMAGE_PLACEHOLDER, Candidates, EvalRow, MMEBFolder, RowItem, parse_eval
from llave.errors import DataError
from llave.evaluation.benchmarks.agent import read_gui, read_memory
from llave.evaluation.benchmarks.beir import read_beir
from llave.evaluation.benchmarks.cells import Row, columns_of, string_in, strings_in, text_of
from llave.evaluation.benchmarks.label_lists import read_labels, shipped_labels
from llave.evaluation.benchmarks.places import Place
from llave.evaluation.benchmarks.sounds import read_audio_events, read_audio_video, sound_path
from llave.evaluation.benchmarks.spec import Reader, TaskSpec
from llave.evaluation.benchmarks.task import TaskData, mmeb_data
from llave.evaluation.benchmarks.wording import picture_query, picture_target, question, target, worded

__all__ = ["READ", "join"]


def join(*parts: str) -> str:
    """Instruction and text with one space between."""
    return " ".join(part.strip() for part in parts if part.strip())


def _mmeb(spec: TaskSpec, place: Place) -> TaskData:
    if place.laid_out(spec):
        return mmeb_data(MMEBFolder(place.root), spec.name)
    known: Candidates = {}  # as the hub lays it out
    media = place.media_name(spec)

    def parse(row: Row, where: str) -> list[EvalRow]:
        missing = [column for column in EVAL_COLUMNS if column not in row]
        if missing:
            raise DataError(f"{where}: missing column {', '.join(missing)}; it has {', '.join(columns_of(row))}")
        found = parse_eval(dict(row), where, known)
        return [EvalRow(at(found.query), tuple(map(at, found.candidates)), found.gains)]

    @cache
    def at(item: RowItem) -> RowItem:
        return replace(item, image=_under(media, item.image))

    return _data(place.rows(spec, [spec.name]), parse)


def _instructed(spec: TaskSpec, place: Place) -> TaskData:
    media = place.media_name(spec)

    @cache
    def candidate(instruction: str, text: str, image: str, captioned: bool) -> RowItem:
        """Rows share theirs, which are made once."""
        return RowItem(
            f"{instruction} {text}".replace(" \n", "\n") if instruction else text,
            _under(media, image),
            wording=picture_target(spec, instruction, text, captioned=captioned) if image else None,
        )

    def parse(row: Row, where: str) -> list[EvalRow]:
        query_image = _picture(row, "qry_img_path", media, where)
        texts, images = strings_in(row, "tgt_text", where), strings_in(row, "tgt_img_path", where)
        images = images or [""] * len(texts)
        if len(texts) != len(images):
            raise DataError(f"{where}: tgt_text and tgt_img_path differ in length")
        asked, about = string_in(row, "qry_inst", where), string_in(row, "qry_text", where)
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
    listed = None if local else _listed(spec, place)

    def parse(row: Row, where: str) -> list[EvalRow]:
        label = text_of(row, spec, "label", where)
        if listed is not None and label not in listed:
            raise DataError(f"{where}: its label {label!r} is not in the list of {spec.name}'s labels")
        others = [text for text in strings_in(row, spec.columns["candidates"], where) if text != label] if local else []
        if local and not others:
            raise DataError(f"{where}: no other label in {spec.columns['candidates']}")
        name, sound = _shown(row, spec, place, where)
        query = RowItem(spec.query, video=name, audio=sound, wording=worded(spec.query, video=bool(name)))
        return [EvalRow(query, (RowItem(label), *map(RowItem, others)))]

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


def _shown(row: Row, spec: TaskSpec, place: Place, where: str) -> tuple[str, str]:
    """The row's video, or else its sound."""
    if "audio" in spec.columns:
        return "", sound_path(row, spec, place, where)
    name = text_of(row, spec, "video", where)
    if spec.reader == "captions" and PurePosixPath(name).suffix.lower() in FILMS:
        name = PurePosixPath(name).stem
    return place.video_path(spec, name), ""


def _questions(spec: TaskSpec, place: Place) -> TaskData:
    """``ask``: ``lettered`` (a list "(A) …" under "Options:"), ``lines``, ``words``, or ``question`` alone.

    ``answers``: ``plain`` options, ``lettered`` ("(A) …") or ``unlettered`` ("A. …" without "A."). The right one is a
    number from 0, a letter, or the option's text.
    """

    def parse(row: Row, where: str) -> list[EvalRow]:
        options = spec.options or _options(row, spec, where)
        lettered = [f"({letter}) {option}" for letter, option in zip(string.ascii_uppercase, options, strict=False)]
        asked = text_of(row, spec, "question", where)
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
        video = place.video_path(spec, text_of(row, spec, "video", where))
        spaced = " ".join([asked, *options]) if spec.ask == "words" else shown
        query = RowItem(join(spec.query, shown), video=video, wording=question(spec.query, shown, spaced))
        return [EvalRow(query, tuple(map(RowItem, ordered)))]

    return _data(islice(place.rows(spec), spec.first), parse)


def _captions(spec: TaskSpec, place: Place) -> TaskData:
    shown: dict[str, RowItem] = {}

    def parse(row: Row, where: str) -> list[EvalRow]:
        column = spec.columns["text"]
        if isinstance(column, list):  # Clotho's five captions
            captions = [text for name in column if (text := string_in(row, name, where).strip())]
        else:
            texts = row.get(column)
            captions = [texts] if isinstance(texts, str) else list(texts or [])
        if not captions or not all(isinstance(caption, str) for caption in captions):
            raise DataError(f"{where}: {column} must be a text or a list of texts")
        name, sound = _shown(row, spec, place, where)
        candidate = shown.setdefault(name or sound, _target(spec, name, sound))
        chosen = captions if spec.every_caption else captions[:1]
        return [
            EvalRow(RowItem(join(spec.query, caption), wording=worded(spec.query, caption)), (candidate,))
            for caption in chosen
        ]

    data = _data(islice(place.rows(spec), spec.first), parse)
    return replace(data, corpus=tuple(shown.values()))


def _moments(spec: TaskSpec, place: Place) -> TaskData:
    media = place.media_name(spec)

    def parse(row: Row, where: str) -> list[EvalRow]:
        name = PurePosixPath(text_of(row, spec, "video", where)).stem
        folder = place.media(spec) / name
        clips = sorted(path.name for path in folder.glob("*") if path.is_dir() and path.name != "query")
        right = [clip for clip in clips if clip.startswith("positive")]
        if not right:
            raise DataError(f"{where}: no folder positive* in {folder}{place.advice}")
        ordered = [*right, *(clip for clip in clips if clip not in right)]
        candidates = tuple(_target(spec, f"{media}/{name}/{clip}") for clip in ordered)
        text = text_of(row, spec, "text", where)
        wording = worded(spec.query, text, video=True)
        query = RowItem(join(spec.query, text), video=f"{media}/{name}/query", wording=wording)
        return [EvalRow(query, candidates, (1.0,) * len(right))]

    return _data(islice(place.rows(spec), spec.first), parse)


def _clips(spec: TaskSpec, place: Place) -> TaskData:
    def clip(path: str) -> str:
        return place.video_path(spec, f"video_frames/{path.replace('/', '_').split('.mp4')[0]}")

    def parse(row: Row, where: str) -> list[EvalRow]:
        text, shown = text_of(row, spec, "text", where), str(row.get(spec.columns["input"]) or "")
        if PurePosixPath(shown).suffix in FILMS:
            asked, path = spec.query_with_video, clip(shown)
            query = RowItem(join(asked, text), video=path, wording=worded(asked, text, video=True))
        elif PurePosixPath(shown).suffix in (".jpg", ".png"):
            asked, path = spec.query_with_picture, f"{place.media_name(spec)}/query_{shown}"
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


def _target(spec: TaskSpec, video: str, sound: str = "") -> RowItem:
    """A video or sound as a candidate."""
    wording = target(spec.target, video=bool(video)) if video or spec.target else None
    return RowItem(spec.target, video=video, audio=sound, wording=wording)


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


def _options(row: Row, spec: TaskSpec, where: str) -> list[str]:
    column = spec.columns["options"]
    if isinstance(column, list):
        return [string_in(row, name, where) for name in column]
    found = strings_in(row, column, where)
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
    return _under(media, string_in(row, column, where))
