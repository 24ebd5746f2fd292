"""Find what is wrong with a folder in MMEB's format: every problem, with its file and row."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rich.console import Console
from rich.progress import track

from llave.data.images import load_image
from llave.data.mmeb import EVAL_COLUMNS, IMAGE_PLACEHOLDER, TRAIN_COLUMNS, MMEBFolder, strip_placeholder
from llave.data.mmeb_train import SPLITS
from llave.data.pages import split_page
from llave.data.sound import load_sound
from llave.data.sources import Source, find_source, source_names
from llave.data.tables import as_text, quoted, read_table
from llave.data.train_table import open_table
from llave.data.video import load_video
from llave.errors import DataError

__all__ = ["Problem", "check_folder", "check_rows", "summarise"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong.

    Args:
        file: the table.
        row: counted from 0; None if it concerns the file.
        kind: a word for machines, e.g. "missing-image".
        message: a line for people.
    """

    file: str
    row: int | None
    kind: str
    message: str


def check_folder(root: str | Path, *, decode: bool = True, progress: bool = True) -> list[Problem]:
    """All problems of a folder, in the order of its files and rows.

    Args:
        decode: decode every picture once, which finds truncated ones; otherwise only look that it exists.
        progress: show a bar on stderr.

    Raises:
        DataError: the folder is not one in MMEB's format at all.
    """
    root = Path(root)
    train = _train_sources(root)
    tables = [(path, Path(str(source.images))) for _, source in train for path in source.files]
    if not train or (root / "eval").is_dir():
        folder = MMEBFolder(root)
        tables += [(folder.path("eval", name), root / "images") for name in folder.names("eval")]
    pictures: dict[Path, _Media] = {}
    problems: list[Problem] = []
    for path, images in track(
        tables, description="checking", console=Console(stderr=True), disable=not progress, transient=True
    ):
        evaluation = path.parent == root / "eval"
        problems += _problems(path, pictures.setdefault(images, _Media(images, decode)), evaluation=evaluation)
    return problems


def check_rows(path: Path, images: Path, *, evaluation: bool, decode: bool = True) -> list[Problem]:
    """All problems of a table with the columns of training rows, or of evaluation rows.

    Args:
        images: the folder that its picture paths are relative to.
    """
    return list(_problems(path, _Media(images, decode), evaluation=evaluation))


def _problems(path: Path, media: "_Media", *, evaluation: bool) -> Iterator[Problem]:
    check = _eval_row if evaluation else _train_row
    number = -1
    try:
        for number, row in enumerate(read_table(path)):
            found = [("unreadable", str(row))] if isinstance(row, DataError) else check(row, media)
            yield from (Problem(str(path), number, kind, message) for kind, message in found)
    except DataError as error:
        yield Problem(str(path), None, "unreadable", str(error))
        return
    if number < 0:
        yield Problem(str(path), None, "empty", "no rows")


def _train_sources(root: Path) -> list[tuple[str, Source]]:
    """(label, source) of the training data of a folder; a copy of MMEB-train may hold both splits."""
    if (root / "train").is_dir():
        return [("train", find_source(root, name)) for name in source_names(root)]
    return [(split, find_source(root, name, split=split)) for split in SPLITS for name in source_names(root, split)]


def summarise(root: str | Path) -> list[dict[str, Any]]:
    """Rows, those that cannot be used, candidates per row and distinct pictures of each data set.

    Raises:
        DataError: a table that cannot be read.
    """
    root = Path(root)
    summary: list[dict[str, Any]] = []
    train = _train_sources(root)
    for split, source in train:
        table = open_table(source)
        summary.append(
            {
                "split": split,
                "data set": source.name,
                "rows": len(table),
                "unusable": len(table.about.bad),
                "candidates": f"{table.about.negatives} hard negatives",
                "pictures": len(table.unique_pictures()),
            }
        )
    if train and not (root / "eval").is_dir():
        return summary
    folder = MMEBFolder(root)
    for name in folder.names("eval"):
        bad: list[DataError] = []
        rows = folder.eval(name, bad)
        sizes = [len(row.candidates) for row in rows]
        items = [item for row in rows for item in (row.query, *row.candidates)]
        summary.append(
            {
                "split": "eval",
                "data set": name,
                "rows": len(rows) + len(bad),
                "unusable": len(bad),
                "candidates": f"{min(sizes, default=0)} to {max(sizes, default=0)}",
                "pictures": len({item.image for item in items if item.image}),
            }
        )
    return summary


Finding = tuple[str, str]
"""(kind, message)"""


LOADERS: dict[str, Callable[[Path], object]] = {"image": load_image, "video": load_video, "audio": load_sound}


class _Media:
    """Remembers what is wrong with each picture, video and sound, so that each is looked at once."""

    def __init__(self, images: Path, decode: bool) -> None:
        self.folders = {"image": images, "video": images.parent / "videos", "audio": images.parent / "audios"}
        self.decode = decode
        self.known: dict[tuple[str, str], Finding | None] = {}

    def problem(self, kind: str, path: str) -> Finding | None:
        """What is wrong with an ``"image"``, a ``"video"`` or an ``"audio"``, or None."""
        if (kind, path) not in self.known:
            self.known[kind, path] = self._look(kind, path)
        return self.known[kind, path]

    def _look(self, kind: str, path: str) -> Finding | None:
        word = {"image": "picture", "video": "video", "audio": "sound"}[kind]
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts:
            return "escaping-path", f"{word} path {path!r} leads out of {kind}s/"
        file = self.folders[kind] / path
        try:
            there = split_page(file)[0].is_file() if kind == "image" else file.exists()
            if there and self.decode:
                LOADERS[kind](file)
        except Exception as error:  # whatever a decoder raises for one file
            return f"broken-{kind}", str(error)
        if not there:
            return f"missing-{kind}", f"no {word} {path!r} in {self.folders[kind]}"
        return None


def _train_row(row: Any, pictures: _Media) -> Iterator[Finding]:
    yield from (columns := list(_columns(row, TRAIN_COLUMNS)))
    if columns:
        return
    for role, text, image in (
        ("query", row["qry"], row["qry_image_path"]),
        ("positive", row["pos_text"], row["pos_image_path"]),
    ):
        yield from _item(role, text, image, pictures)
    negative = (row.get("neg_text") or "", row.get("neg_image_path") or "")
    if any(negative):
        yield from _item("negative", *negative, pictures)
        if negative == (row["pos_text"], row["pos_image_path"]):
            yield "negative-is-positive", "the hard negative equals the positive"


def _eval_row(row: Any, pictures: _Media) -> Iterator[Finding]:
    yield from (columns := list(_columns(row, EVAL_COLUMNS)))
    if columns:
        return
    yield from _item(
        "query", row["qry_text"], row["qry_img_path"], pictures, row.get("qry_video_path"), row.get("qry_audio_path")
    )
    texts, images = row["tgt_text"], row["tgt_img_path"]
    if not isinstance(texts, list) or not isinstance(images, list):
        yield "wrong-type", "tgt_text and tgt_img_path must be lists"
        return
    if len(texts) != len(images):
        yield "unequal-lengths", f"{len(texts)} tgt_text for {len(images)} tgt_img_path"
        return
    if not texts:
        yield "empty-positive", "no candidates, so no positive"
        return
    columns_of = {name: row.get(name) or [None] * len(texts) for name in ("tgt_video_path", "tgt_audio_path")}
    for name, given in columns_of.items():
        if not isinstance(given, list) or len(given) != len(texts):
            yield "unequal-lengths", f"{name} must be a list as long as tgt_text"
            return
    first_seen: dict[tuple[Any, ...], int] = {}
    for number, candidate in enumerate(zip(texts, images, *columns_of.values(), strict=True)):
        role = "positive" if number == 0 else f"candidate {number}"
        text, image, video, audio = candidate
        yield from _item(role, text, image, pictures, video, audio)
        first = first_seen.setdefault(candidate, number)
        if first == 0 and number:
            yield "candidate-is-positive", f"candidate {number} equals the positive"
        elif first != number:
            yield "duplicate-candidate", f"candidate {number} equals candidate {first}"


def _columns(row: Any, columns: tuple[str, ...]) -> Iterator[Finding]:
    if not isinstance(row, dict):
        yield "wrong-type", "not an object with columns"
        return
    missing = [column for column in columns if column not in row]
    if missing:
        yield "missing-column", f"missing column {', '.join(missing)}; it has {', '.join(map(str, row))}"


def _item(
    role: str, text: Any, image: Any, pictures: _Media, video: Any = None, audio: Any = None
) -> Iterator[Finding]:
    image, video, audio = ("" if value is None else value for value in (image, video, audio))
    try:
        text = as_text(text)
    except DataError as error:
        yield "wrong-type", f"{role}: {error}"
        return
    if isinstance(image, dict | bytes):  # within the table; training makes a file of it
        image = ""
    for path in (image, video, audio):
        if not isinstance(path, str):
            yield "wrong-type", f"{role}: {quoted(path)} is no path"
            return
    media = sum(map(bool, (image, video, audio)))
    if not strip_placeholder(text) and not media:
        yield f"empty-{role.split()[0]}", f"{role}: neither a text nor a picture"
    if IMAGE_PLACEHOLDER in text and not image:
        yield "placeholder-without-image", f"{role}: the text has {IMAGE_PLACEHOLDER} but there is no picture"
    if image and text and IMAGE_PLACEHOLDER not in text:
        yield "image-without-placeholder", f"{role}: a picture, but no {IMAGE_PLACEHOLDER} in the text"
    if media > 1:
        yield "two-media", f"{role}: more than one of a picture, a video and a sound"
    for kind, path in (("image", image), ("video", video), ("audio", audio)):
        problem = pictures.problem(kind, path) if path else None
        if problem is not None:
            yield problem[0], f"{role}: {problem[1]}"
