"""A folder: pictures, videos, texts and PDF documents, by the names of the files."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from PIL import Image

from llave.collection.collection import Part
from llave.collection.entry import BadEntry, Entry, Scalar, scalar, stamp_of
from llave.data.pages import count_pages
from llave.data.tables import read_table
from llave.errors import DataError, UserError

__all__ = ["FolderCollection"]

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
ANIMATIONS = {".gif", ".webp", ".png"}
FILMS = {".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v"}
TEXTS = {".txt", ".md"}
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""Hugging Face's imagefolder: one of these in the folder, with a column ``file_name``."""
FILE_NAME = "file_name"
MAX_TEXT_BYTES = 1 << 20


class FolderCollection:
    """Every file below a folder that can be embedded, in the order of the paths.

    Hidden files and folders are left out, and links are not followed. An animated picture is a video. A document is
    its pages. The folder of a file is its field ``folder``; more fields, and ``text``, come from
    ``metadata.jsonl``, ``.csv`` or ``.parquet``, whose column ``file_name`` names the file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._metadata = _read_metadata(root)

    def parts(self, size: int) -> Iterator[Part]:
        """``size`` files each, pages of a document not counted."""
        files: list[str] = []
        for name in self._names(self.root):
            files.append(name)
            if len(files) == size:
                yield {"files": files}
                files = []
        if files:
            yield {"files": files}

    def read(self, part: Part) -> Iterator[Entry | BadEntry]:
        """The entries of a part."""
        for name in part["files"]:
            try:
                yield from self._entries(name)
            except FileNotFoundError:
                yield BadEntry(name, f"{self.root / name}: went away meanwhile")
            except (DataError, OSError) as error:
                yield BadEntry(name, str(error), hides=name.endswith("/"))

    def size(self) -> int:
        """Files; a document is one."""
        return sum(1 for _ in self._names(self.root))

    def __iter__(self) -> Iterator[Entry | BadEntry]:
        for name in self._names(self.root):
            yield from self.read({"files": [name]})

    def _names(self, folder: Path) -> Iterator[str]:
        """Paths below the folder; of a folder that cannot be read, its own with a ``/`` at the end."""
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except FileNotFoundError:
            return  # removed meanwhile
        except OSError:
            yield f"{folder.relative_to(self.root).as_posix()}/"
            return
        for entry in entries:
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            path = Path(entry.path)
            if entry.is_dir():
                yield from self._names(path)
            elif path.suffix.lower() in PICTURES | FILMS | TEXTS | {".pdf"} and entry.is_file():
                yield path.relative_to(self.root).as_posix()

    def _entries(self, name: str) -> Iterator[Entry]:
        path, suffix = self.root / name, PurePosixPath(name).suffix.lower()
        if name.endswith("/"):
            raise DataError(f"{path}: cannot read this folder; what is in it is neither added nor removed")
        fields = {"folder": PurePosixPath(name).parent.as_posix(), **self._metadata.get(name, {})}
        caption = str(fields.pop("text", "") or "")
        stamp = stamp_of(path, caption)
        if suffix == ".pdf":
            for page in range(1, count_pages(path) + 1):
                key = f"{name}#page={page}"
                image = path.with_name(f"{path.name}#page={page}")
                yield Entry(key=key, text=caption, image=image, name=key, stamp=stamp, fields=fields)
            return
        if suffix in TEXTS:
            text = _read_text(path)
            yield Entry(key=name, text=text, name=name, stamp=stamp, fields=fields)
        elif suffix in FILMS or (suffix in ANIMATIONS and _is_animated(path)):
            yield Entry(key=name, text=caption, video=path, name=name, stamp=stamp, fields=fields)
        else:
            yield Entry(key=name, text=caption, image=path, name=name, stamp=stamp, fields=fields)


def _read_metadata(root: Path) -> Mapping[str, dict[str, Scalar]]:
    for path in (root / name for name in METADATA):
        if path.is_file():
            break
    else:
        return {}
    found = {}
    for number, row in enumerate(read_table(path), start=1):
        if isinstance(row, DataError):
            raise row
        if not isinstance(row, dict) or not row.get(FILE_NAME):
            raise UserError(f"{path} row {number}: no {FILE_NAME}, the column that names the file")
        fields = {name: scalar(value) for name, value in row.items() if name != FILE_NAME}
        found[str(row[FILE_NAME])] = fields
    return found


def _read_text(path: Path) -> str:
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise DataError(f"{path}: more than {MAX_TEXT_BYTES:,} bytes of text; split it")
    text = path.read_text("utf-8", errors="replace").strip()
    if not text:
        raise DataError(f"{path}: empty")
    return text


def _is_animated(path: Path) -> bool:
    """By the header alone; what does not open is a picture, and loading it says why."""
    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
