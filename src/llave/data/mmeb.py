"""MMEB's data format: the one format of training and evaluation data.

A folder holds ``train/NAME.parquet``, ``eval/NAME.parquet`` (JSON and JSONL work too) and ``images/``.
Paths in the rows are relative to ``images/``; ``""`` means no picture. A picture's place in a text is
``<|image_1|>``. Source: VLM2Vec, arXiv 2410.05160; the columns are those of TIGER-Lab/MMEB-train and
TIGER-Lab/MMEB-eval.

Evaluation rows go beyond the original where a column says so: ``qry_video_path`` and ``tgt_video_path`` (relative to
``videos/``: a file or a folder of frames), ``tgt_gain`` (gains of the first candidates, which then are all relevant).
Every query also faces the single candidates in ``corpus/NAME.parquet`` (``tgt_text, tgt_img_path, tgt_video_path``).
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llave.errors import DataError

__all__ = [
    "EVAL_COLUMNS",
    "IMAGE_PLACEHOLDER",
    "TRAIN_COLUMNS",
    "EvalRow",
    "MMEBFolder",
    "PictureFolder",
    "RowItem",
    "TrainRow",
    "load_table",
    "read_rows",
    "strip_placeholder",
]

TRAIN_COLUMNS = ("qry", "qry_image_path", "pos_text", "pos_image_path")
"""Required columns; ``neg_text`` and ``neg_image_path`` may follow."""
EVAL_COLUMNS = ("qry_text", "qry_img_path", "tgt_text", "tgt_img_path")
"""Required columns; ``qry_video_path``, ``tgt_video_path`` and ``tgt_gain`` may follow."""
CORPUS_COLUMNS = ("tgt_text", "tgt_img_path")
"""Required columns of ``corpus/NAME``, one candidate a row; ``tgt_video_path`` may follow."""
SUFFIXES = (".parquet", ".jsonl", ".json")
IMAGE_PLACEHOLDER = "<|image_1|>"
"""Where the picture stands in a text. The backbone's chat template puts its own token there, first."""
Split = str  # "train" | "eval"


@dataclass(frozen=True, slots=True)
class RowItem:
    """One thing to embed: a text, a picture or a video, alone or with a text. Hashable.

    Args:
        text: may hold the placeholder of a picture.
        image: path relative to ``images/``; ``FILE.pdf#page=3`` is a page of a document, from 1.
        video: path relative to ``videos/``: a file, or a folder of frames.
    """

    text: str = ""
    image: str = ""
    video: str = ""


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
    """

    query: RowItem
    candidates: tuple[RowItem, ...]
    gains: tuple[float, ...] = (1.0,)


def strip_placeholder(text: str) -> str:
    """The text without MMEB's placeholder and the white space around it."""
    return text.replace(IMAGE_PLACEHOLDER, "").strip()


class PictureFolder(Protocol):
    """Where the pictures and videos of items are; items of two such places are the same if ``root`` is."""

    @property
    def root(self) -> Path:
        """The folder that picture paths are relative to, or one that stands for it."""

    def image(self, item: RowItem) -> Path | None:
        """The picture of an item, or None. A page of a document is ``FILE.pdf#page=3``."""

    def video(self, item: RowItem) -> Path | None:
        """The video of an item, a file or a folder of frames, or None."""


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
        return sorted({path.stem for path in (self.root / split).glob("*") if path.suffix in SUFFIXES})

    def path(self, split: Split, name: str) -> Path:
        """The file that holds a data set."""
        for suffix in SUFFIXES:
            path = self.root / split / f"{name}{suffix}"
            if path.is_file():
                return path
        known = ", ".join(self.names(split)) or "none"
        raise DataError(f"{self.root / split}: no data set {name!r}; there are: {known}")

    def image(self, item: RowItem) -> Path | None:
        """The picture of an item, or None."""
        return self.root / "images" / item.image if item.image else None

    def video(self, item: RowItem) -> Path | None:
        """The video of an item, a file or a folder of frames, or None."""
        return self.root / "videos" / item.video if item.video else None

    def train(self, name: str) -> list[TrainRow]:
        """All training rows of a data set."""
        return [parse_train(row, where) for where, row in read_rows(self.path("train", name), TRAIN_COLUMNS)]

    def eval(self, name: str) -> list[EvalRow]:
        """All evaluation rows of a data set."""
        known: dict[tuple[str, str, str | None], RowItem] = {}
        return [parse_eval(row, where, known) for where, row in read_rows(self.path("eval", name), EVAL_COLUMNS)]

    def corpus(self, name: str) -> list[RowItem]:
        """The candidates that every query of a data set faces; none where there is no ``corpus/NAME``."""
        if name not in self.names("corpus"):
            return []
        rows = read_rows(self.path("corpus", name), CORPUS_COLUMNS)
        return [
            _item(row["tgt_text"], row["tgt_img_path"], row.get("tgt_video_path"), f"{where}: target")
            for where, row in rows
        ]


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("FILE row N", row)`` of a parquet, JSON or JSONL file; rows are counted from 0.

    Raises:
        DataError: unreadable file, or a row without one of ``columns``.
    """
    for index, row in enumerate(load_table(path)):
        where = f"{path} row {index}"
        if not isinstance(row, dict):
            raise DataError(f"{where}: expected an object with columns {', '.join(columns)}")
        missing = [column for column in columns if column not in row]
        if missing:
            raise DataError(f"{where}: missing column {', '.join(missing)}; it has {', '.join(map(str, row))}")
        yield where, row


def parse_train(row: dict[str, Any], where: str) -> TrainRow:
    """A training row of checked types; a row without anything to embed is an error."""
    query = _item(row["qry"], row["qry_image_path"], None, f"{where}: qry")
    positive = _item(row["pos_text"], row["pos_image_path"], None, f"{where}: pos")
    text, image = row.get("neg_text") or "", row.get("neg_image_path") or ""
    return TrainRow(query, positive, _item(text, image, None, f"{where}: neg") if text or image else None)


def parse_eval(
    row: dict[str, Any], where: str, known: dict[tuple[str, str, str | None], RowItem] | None = None
) -> EvalRow:
    """An evaluation row of checked types, with at least one candidate.

    Args:
        known: candidates of earlier rows; those of this one are added. Rows share theirs, which are then made once.
    """
    known = {} if known is None else known
    texts, images = row["tgt_text"], row["tgt_img_path"]
    if not isinstance(texts, list) or not isinstance(images, list) or len(texts) != len(images) or not texts:
        raise DataError(f"{where}: tgt_text and tgt_img_path must be lists of the same length, the positive first")
    videos = row.get("tgt_video_path") or [None] * len(texts)
    gains = row.get("tgt_gain") or [1.0]
    if not isinstance(videos, list) or len(videos) != len(texts):
        raise DataError(f"{where}: tgt_video_path must be a list as long as tgt_text")
    if not isinstance(gains, list) or len(gains) > len(texts) or not all(_is_gain(gain) for gain in gains):
        raise DataError(f"{where}: tgt_gain must be a list of numbers above 0, at most as long as tgt_text")
    candidates: list[RowItem] = []
    for index, key in enumerate(zip(texts, images, videos, strict=True)):
        try:
            item = known.get(key)
        except TypeError:  # a list where a string belongs
            item = None
        if item is None:
            item = _item(*key, f"{where}: target {index}")
            known[key] = item
        candidates.append(item)
    query = _item(row["qry_text"], row["qry_img_path"], row.get("qry_video_path"), f"{where}: qry")
    return EvalRow(query, tuple(candidates), tuple(float(gain) for gain in gains))


def _is_gain(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _item(text: Any, image: Any, video: Any, where: str) -> RowItem:
    text, image, video = text or "", image or "", video or ""
    if not isinstance(text, str) or not isinstance(image, str) or not isinstance(video, str):
        raise DataError(f"{where}: text and paths must be strings")
    if not text.strip() and not image and not video:
        raise DataError(f"{where}: neither a text nor a picture")
    if image and video:
        raise DataError(f"{where}: both a picture and a video")
    return RowItem(text, image, video)


def load_table(path: Path) -> Sequence[Any]:
    """The rows of a parquet, JSON or JSONL file, unchecked.

    Raises:
        DataError: a file that cannot be read as a list of rows.
    """
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            rows: list[Any] = pq.read_table(path).to_pylist()
            return rows
        text = path.read_text("utf-8")
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        loaded = json.loads(text)
    except (OSError, ValueError) as error:  # pyarrow's and json's errors are ValueErrors
        raise DataError(f"{path}: cannot read ({error})") from None
    if not isinstance(loaded, list):
        raise DataError(f"{path}: expected a list of rows")
    return loaded
