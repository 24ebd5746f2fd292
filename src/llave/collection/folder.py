"""A folder: pictures, videos, sounds, texts and PDF documents, by the names of the files."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from llave.collection.collection import Part
from llave.collection.entry import BadEntry, Entry, stamp_of, state_of
from llave.collection.metadata import METADATA, Find, Metadata, beside
from llave.collection.types import Scalar
from llave.data.encodings import decode_text
from llave.data.pages import count_pages
from llave.data.suffixes import ANIMATIONS, DOCUMENTS, FILMS, PICTURES, SOUNDS, TEXTS
from llave.data.video import is_animated
from llave.encode.item import Item
from llave.errors import DataError

__all__ = ["NO_SOUND", "FolderCollection"]

MAX_TEXT_BYTES = 16 << 20
READ = PICTURES | FILMS | TEXTS | DOCUMENTS
NO_SOUND = "this model takes no sounds"


class FolderCollection:
    """Every file below a folder that can be embedded, in the order of the paths.

    Hidden files and folders are left out, and links are not followed. An animated picture is a video. A document, and a
    scan of several pages, is its pages. The folder of a file is its field ``folder``; more fields, and ``text``, come
    from :mod:`llave.collection.metadata`.

    Args:
        sounds: make items of audio files.
        find: the table of fields of a folder below ``root``, where it has one; None looks there.
    """

    def __init__(self, root: Path, *, sounds: bool = True, find: Find | None = None) -> None:
        self.root, self.address = root, str(root)
        self._sounds = sounds
        self.notes: Sequence[str] = ()
        self.left_out: Counter[str] = Counter()
        self._metadata = Metadata(root, find or (lambda folder: beside(root / folder)))

    def parts(self, size: int) -> Iterator[Part]:
        """``size`` files each, pages of a document not counted."""
        files: list[str] = []
        for name in self._all_names():
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
            except Exception as error:  # of one file, whatever its reader makes of it
                hides = name.endswith("/")
                yield BadEntry(
                    name, str(error), hides=hides, stamp="" if hides else state_of([(name, self.root / name)])
                )

    def state(self) -> str:
        """Of every file that is read, and of the tables of fields."""
        names = [*self._all_names(), *self._metadata.files()]
        return state_of((name, self.root / name) for name in names)

    def size(self) -> int:
        """Files; a document is one."""
        return sum(1 for _ in self._all_names())

    def __iter__(self) -> Iterator[Entry | BadEntry]:
        for name in self._all_names():
            yield from self.read({"files": [name]})

    def _all_names(self) -> Iterator[str]:
        """Every path, and in the end what was left out."""
        left_out: Counter[str] = Counter()
        for name in self._names(self.root, left_out):
            self._metadata.of(name)
            yield name
        for table, names in self._metadata.unmatched().items():
            left_out[f"rows of {table} that match no file (first: {names[0]})"] = len(names)
        self.left_out = left_out
        self.notes = self._metadata.notes()

    def _names(self, folder: Path, left_out: Counter[str]) -> Iterator[str]:
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
            if entry.name.startswith(".") or entry.name in METADATA:
                continue
            path = Path(entry.path)
            if entry.is_symlink():
                left_out["links (not followed)"] += 1
            elif entry.is_dir():
                yield from self._names(path, left_out)
            elif not entry.is_file():
                left_out["special files"] += 1
            elif self._takes(entry.name, left_out):
                yield path.relative_to(self.root).as_posix()

    def _takes(self, name: str, left_out: Counter[str]) -> bool:
        """Whether a file is read, by its name's ending; else it is counted."""
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in READ or (suffix in SOUNDS and self._sounds):
            return True
        left_out[f"{suffix} ({NO_SOUND})" if suffix in SOUNDS else suffix or "without a suffix"] += 1
        return False

    def _stamp(self, name: str, caption: str) -> str:
        return stamp_of(self.root / name, caption)

    def _about(self, name: str) -> tuple[dict[str, Scalar], str]:
        """The fields of a file, and the text beside it."""
        fields = {"folder": PurePosixPath(name).parent.as_posix(), **self._metadata.of(name)}
        return fields, str(fields.pop("text", "") or "")

    def _entries(self, name: str) -> Iterator[Entry]:
        path, suffix = self.root / name, PurePosixPath(name).suffix.lower()
        if name.endswith("/"):
            raise DataError(f"{path}: cannot read this folder; what is in it is neither added nor removed")
        fields, caption = self._about(name)
        stamp = self._stamp(name, caption)
        pages = count_pages(path) if suffix in DOCUMENTS else 1
        if suffix == ".pdf" or pages > 1:
            for page in range(1, pages + 1):
                key = f"{name}#page={page}"
                item = Item(caption, path.with_name(f"{path.name}#page={page}"))
                yield Entry(key=key, item=item, name=key, stamp=stamp, fields=fields)
            return
        if suffix in TEXTS:
            item = Item(_read_text(path))
        elif suffix in FILMS or (suffix in ANIMATIONS and is_animated(path)):
            item = Item(caption, video=path)
        elif suffix in SOUNDS:
            item = Item(caption, audio=path)
        else:
            item = Item(caption, path)
        yield Entry(key=name, item=item, name=name, stamp=stamp, fields=fields)


def _read_text(path: Path) -> str:
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise DataError(f"{path}: more than {MAX_TEXT_BYTES:,} bytes of text; split it")
    text = decode_text(path.read_bytes(), str(path)).strip()
    if not text:
        raise DataError(f"{path}: empty")
    return text
