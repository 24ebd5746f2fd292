"""MMEB's data format: the one format of training and evaluation data.

A folder holds ``train/NAME.parquet``, ``eval/NAME.parquet`` (the other formats of tables work too) and ``images/``.
Paths in the rows are relative to ``images/``; ``""`` means no picture. A picture's place in a text is
``<|image_1|>``. Source: VLM2Vec, arXiv 2410.05160; the columns are those of TIGER-Lab/MMEB-train and
TIGER-Lab/MMEB-eval.

Evaluation rows go beyond the original where a column says so: ``qry_video_path`` and ``tgt_video_path`` (relative to
``videos/``: a file or a folder of frames), ``qry_audio_path`` and ``tgt_audio_path`` (files in ``audios/``), and
``tgt_gain`` (gains of the first candidates, which then are all relevant). Every query also faces the single candidates
in ``corpus/NAME.parquet`` (``tgt_text, tgt_img_path, tgt_video_path, tgt_audio_path``).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from llave.data.inline import inline_bytes, kept_file
from llave.data.tables import as_text, named_tables, quoted, read_table
from llave.errors import DataError

__all__ = [
    "ALL_COLUMNS",
    "EVAL_COLUMNS",
    "IMAGE_PLACEHOLDER",
    "NEGATIVE_COLUMNS",
    "TRAIN_COLUMNS",
    "VIDEO_PLACEHOLDER",
    "Candidates",
    "EvalRow",
    "MMEBFolder",
    "PictureFolder",
    "RowItem",
    "TrainRow",
    "Wording",
    "our_columns",
    "parse_eval",
    "parse_train",
    "strip_placeholder",
]

TRAIN_COLUMNS = ("qry", "qry_image_path", "pos_text", "pos_image_path")
"""Required columns; ``neg_text`` and ``neg_image_path`` may follow."""
EVAL_COLUMNS = ("qry_text", "qry_img_path", "tgt_text", "tgt_img_path")
"""Required columns; ``qry_video_path``, ``tgt_video_path``, the same of ``audio``, and ``tgt_gain`` may follow."""
CORPUS_COLUMNS = ("tgt_text", "tgt_img_path")
"""Required columns of ``corpus/NAME``, one candidate a row; ``tgt_video_path`` and ``tgt_audio_path`` may follow."""
NEGATIVE_COLUMNS = ("neg_text", "neg_image_path")
ALL_COLUMNS = (*TRAIN_COLUMNS, *NEGATIVE_COLUMNS)
"""Of training rows."""
IMAGE_PLACEHOLDER = "<|image_1|>"
"""Where the picture stands in a text. The backbone's chat template puts its own token there, first."""
VIDEO_PLACEHOLDER = "<|video_1|>"
"""The same of a video, in texts without a template (:class:`Wording`); MMEB's own rows have none."""
Split = str  # "train" | "eval"
T = TypeVar("T")
Candidates = dict[tuple[str, str, str | None, str | None], "RowItem"]
"""By text, picture, video and sound as a row has them."""


@dataclass(frozen=True, slots=True)
class Wording:
    """Other forms of an item's text, in which released scorers hand it to their models.

    Args:
        raw: without a template, with the picture's or video's place in it, space by space.
        instruction: what is asked for, by itself, for a model that reads it in a turn of the system; may be empty.
        words: the text without that; may be empty.
    """

    raw: str
    instruction: str
    words: str


@dataclass(frozen=True, slots=True)
class RowItem:
    """One thing to embed: a text, a picture, a video or a sound, alone or with a text. Hashable.

    Args:
        text: may hold the placeholder of a picture.
        image: path relative to ``images/``; ``FILE.pdf#page=3`` is a page of a document, from 1.
        video: path relative to ``videos/``: a file, or a folder of frames.
        audio: path of a sound; ``FILE.wav#t=1.5,2.75`` is its part from one second to another (W3C media fragments).
        wording: other forms of the text, where a benchmark has them.
    """

    text: str = ""
    image: str = ""
    video: str = ""
    audio: str = ""
    wording: Wording | None = None


@dataclass(frozen=True, slots=True)
class TrainRow:
    """A query, its positive and, where the data has one, a hard negative."""

    query: RowItem
    positive: RowItem
    negative: RowItem | None = None


@dataclass(frozen=True, slots=True)
class EvalRow:
    """A query and its own candidates, the relevant ones first.

    Args:
        query: what is asked.
        candidates: of this row alone; those of a task's corpus come on top.
        gains: relevance of the first candidates, above 0; one of 1 where the data is not graded.
        exclude: of the task's corpus, what this query does not face: its own document, say.
    """

    query: RowItem
    candidates: tuple[RowItem, ...]
    gains: tuple[float, ...] = (1.0,)
    exclude: tuple[RowItem, ...] = ()


def strip_placeholder(text: str) -> str:
    """The text without MMEB's placeholder and the white space around it."""
    return text.replace(IMAGE_PLACEHOLDER, "").strip()


class PictureFolder(Protocol):
    """Where the pictures, videos and sounds of items are; items of two such places are the same if ``root`` is."""

    @property
    def root(self) -> Path:
        """The folder that picture paths are relative to, or one that stands for it."""

    def image(self, item: RowItem) -> Path | None:
        """The picture of an item, or None. A page of a document is ``FILE.pdf#page=3``."""

    def video(self, item: RowItem) -> Path | None:
        """The video of an item, a file or a folder of frames, or None."""

    def audio(self, item: RowItem) -> Path | None:
        """The audio file of an item, or None."""


class MMEBFolder:
    """A folder in MMEB's format.

    Raises:
        DataError: the folder does not exist, or has neither ``train`` nor ``eval`` in it.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not (self.root / "train").is_dir() and not (self.root / "eval").is_dir():
            raise DataError(
                f"{self.root}: no train/ or eval/ folder here; `llave data sample --out DIR` makes an example"
            )

    def names(self, split: Split) -> list[str]:
        """Data sets of a split (``"train"`` or ``"eval"``), sorted."""
        return list(named_tables(self.root / split))

    def path(self, split: Split, name: str) -> Path:
        """The file that holds a data set."""
        found = named_tables(self.root / split)
        if name not in found:
            known = ", ".join(found) or "none"
            raise DataError(f"{self.root / split}: no data set {name!r}; there are: {known}")
        return found[name]

    def image(self, item: RowItem) -> Path | None:
        """The picture of an item, or None."""
        return self.root / "images" / item.image if item.image else None

    def video(self, item: RowItem) -> Path | None:
        """The video of an item, a file or a folder of frames, or None."""
        return self.root / "videos" / item.video if item.video else None

    def audio(self, item: RowItem) -> Path | None:
        """The audio file of an item, or None."""
        return self.root / "audios" / item.audio if item.audio else None

    def train(self, name: str, bad: list[DataError] | None = None) -> list[TrainRow]:
        """All training rows of a data set.

        Args:
            bad: takes the errors of rows that cannot be used; None raises the first, as does a table without another.
        """
        return _parsed(self.path("train", name), TRAIN_COLUMNS, parse_train, bad)

    def eval(self, name: str, bad: list[DataError] | None = None) -> list[EvalRow]:
        """All evaluation rows of a data set; ``bad`` as in :meth:`train`."""
        known: Candidates = {}
        return _parsed(self.path("eval", name), EVAL_COLUMNS, lambda row, where: parse_eval(row, where, known), bad)

    def corpus(self, name: str, bad: list[DataError] | None = None) -> list[RowItem]:
        """The candidates that every query of a data set faces; none where there is no ``corpus/NAME``."""
        if name not in self.names("corpus"):
            return []
        return _parsed(
            self.path("corpus", name),
            CORPUS_COLUMNS,
            lambda row, where: _item(row["tgt_text"], row["tgt_img_path"], *_moving(row, "tgt"), f"{where}: target"),
            bad,
        )


def _parsed(
    path: Path, columns: Sequence[str], parse: Callable[[dict[str, Any], str], T], bad: list[DataError] | None
) -> list[T]:
    """The rows of a table, each parsed; what is wrong with one goes to ``bad``, or is raised without it."""
    found: list[T] = []
    for number, row in enumerate(read_table(path)):
        where = f"{path} row {number}"
        try:
            if isinstance(row, DataError):
                raise row
            if not isinstance(row, dict):
                raise DataError(f"{where}: expected an object with columns {', '.join(columns)}")
            missing = [column for column in columns if column not in row]
            if missing:
                raise DataError(f"{where}: missing column {', '.join(missing)}; it has {', '.join(map(str, row))}")
            found.append(parse(row, where))
        except Exception as error:  # of one row, whatever is in it
            named = error if isinstance(error, DataError) else DataError(f"{where}: {error}")
            if bad is None:
                raise named from None
            bad.append(named)
    if bad and not found:
        raise bad[0]
    return found


def our_columns(row: Any, where: str, columns: Mapping[str, str]) -> dict[str, Any]:
    """A training row under our column names.

    Args:
        where: for messages, e.g. "FILE row 3".
        columns: our name -> the file's. Empty: the row must have ours (negatives may be absent). Otherwise a column
            that is neither mapped nor there is empty.

    Raises:
        DataError: not an object, or a column is missing.
    """
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object with columns {', '.join(TRAIN_COLUMNS)}")
    needed: Sequence[str] = tuple(columns.values()) if columns else TRAIN_COLUMNS
    missing = [name for name in needed if name not in row]
    if missing:
        asked = "".join(f" (asked for as {ours})" for ours, theirs in columns.items() if theirs == missing[0])
        raise DataError(f"{where}: missing column {', '.join(missing)}{asked}; it has {', '.join(map(str, row))}")
    return {name: row.get(columns.get(name, name)) for name in ALL_COLUMNS}


def parse_train(row: dict[str, Any], where: str) -> TrainRow:
    """A training row of checked types; a row without anything to embed is an error."""
    query = _item(row["qry"], row["qry_image_path"], None, None, f"{where}: qry")
    positive = _item(row["pos_text"], row["pos_image_path"], None, None, f"{where}: pos")
    text, image = row.get("neg_text"), row.get("neg_image_path")
    nothing = text in (None, "") and not image
    return TrainRow(query, positive, None if nothing else _item(text, image, None, None, f"{where}: neg"))


def parse_eval(row: dict[str, Any], where: str, known: Candidates | None = None) -> EvalRow:
    """An evaluation row of checked types, with at least one candidate.

    Args:
        known: candidates of earlier rows; those of this one are added. Rows share theirs, which are then made once.
    """
    known = {} if known is None else known
    texts, images = row["tgt_text"], row["tgt_img_path"]
    if not isinstance(texts, list) or not isinstance(images, list) or len(texts) != len(images) or not texts:
        raise DataError(f"{where}: tgt_text and tgt_img_path must be lists of the same length, the positive first")
    videos, sounds = (given or [None] * len(texts) for given in _moving(row, "tgt"))
    gains = row.get("tgt_gain") or [1.0]
    for kind, given in (("video", videos), ("audio", sounds)):
        if not isinstance(given, list) or len(given) != len(texts):
            raise DataError(f"{where}: tgt_{kind}_path must be a list as long as tgt_text")
    if not isinstance(gains, list) or len(gains) > len(texts) or not all(_is_gain(gain) for gain in gains):
        raise DataError(f"{where}: tgt_gain must be a list of numbers above 0, at most as long as tgt_text")
    candidates: list[RowItem] = []
    for index, key in enumerate(zip(texts, images, videos, sounds, strict=True)):
        try:
            item = known.get(key)
        except TypeError:  # a list where a string belongs
            item = None
        if item is None:
            item = _item(*key, f"{where}: target {index}")
            if isinstance(key[0], str):  # 1 and True are equal keys, and other texts
                known[key] = item
        candidates.append(item)
    query = _item(row["qry_text"], row["qry_img_path"], *_moving(row, "qry"), f"{where}: qry")
    return EvalRow(query, tuple(candidates), tuple(float(gain) for gain in gains))


def _is_gain(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _moving(row: dict[str, Any], side: str) -> tuple[Any, Any]:
    """Paths of a side's videos and sounds."""
    return row.get(f"{side}_video_path"), row.get(f"{side}_audio_path")


def _item(text: Any, image: Any, video: Any, audio: Any, where: str) -> RowItem:
    image, video, audio = image or "", video or "", audio or ""
    if not isinstance(text, str):
        try:
            text = as_text(text)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
    for path in (image, video, audio):
        if not isinstance(path, str):
            raise DataError(f"{where}: {quoted(path)} is no path")
    try:
        inline = inline_bytes(image)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    image = image if inline is None else str(kept_file(inline))
    media = sum(map(bool, (image, video, audio)))
    if not text.strip() and not media:
        raise DataError(f"{where}: neither a text nor a picture")
    if media > 1:
        raise DataError(f"{where}: more than one of a picture, a video and a sound")
    return RowItem(text, image, video, audio)
