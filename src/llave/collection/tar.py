"""Tar archives in WebDataset's form: files of one item stand together and share the name before the first dot."""

import glob
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from llave.collection.collection import Part
from llave.collection.entry import BadEntry, Entry, scalar, state_of
from llave.data.identity import legible
from llave.encode.item import Item
from llave.errors import DataError, UserError

__all__ = ["TarCollection", "tar_files"]

PICTURES = {"jpg", "jpeg", "png", "webp", "gif", "bmp", "ppm"}
FILMS = {"mp4", "webm", "mkv", "mov", "avi"}
TEXTS = {"txt", "text", "caption", "caption.txt"}
TEXT_FIELDS = ("text", "caption")
MAX_MEMBER_BYTES = 256 * 1024**2


def tar_files(path: Path) -> list[Path]:
    """The archives that a path or a glob names, sorted; none if it names something else."""
    if path.suffix.lower() != ".tar" or path.is_dir():
        return []
    if path.is_file():  # whatever its name, brackets included
        return [path]
    files = sorted(found for name in glob.glob(str(path), recursive=True) if (found := Path(name)).is_file())
    if not files:
        raise UserError(f"{path}: no such archive")
    return files


class TarCollection:
    """Every item of some archives; an item's ``.json`` is its fields.

    A key is ``ARCHIVE/NAME``, the archive's path below the folder that holds all of them. A part is a whole archive,
    since a tar file is read from its start.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.notes: Sequence[str] = ()
        self.left_out: Counter[str] = Counter()
        self.root = Path(os.path.commonpath([file.parent.absolute() for file in files]))
        self._files = [file.absolute().relative_to(self.root).as_posix() for file in files]

    def parts(self, size: int) -> Iterator[Part]:
        """One archive each, whatever the size."""
        del size
        for file in self._files:
            yield {"tar": file}

    def read(self, part: Part) -> Iterator[Entry | BadEntry]:
        """The items of an archive, one at a time in memory."""
        name = part["tar"]
        try:
            with tarfile.open(self.root / name, "r|") as archive:
                for key, members in _items(archive):
                    yield _read(f"{name[: -len('.tar')]}/{key}", members)
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            reason = f"{self.root / name}: cannot read on ({error}); items after this place are missing"
            yield BadEntry(name, reason, hides=True)

    def state(self) -> str:
        """Of the archives."""
        return state_of((file, self.root / file) for file in self._files)

    def size(self) -> int:
        """Archives, since only reading them tells more."""
        return len(self._files)

    def __iter__(self) -> Iterator[Entry | BadEntry]:
        for part in self.parts(0):
            yield from self.read(part)


def _items(archive: tarfile.TarFile) -> Iterator[tuple[str, dict[str, bytes | str]]]:
    """(key, what its files hold by suffix); in place of what is too large, the reason."""
    key, members = "", dict[str, bytes | str]()
    for member in archive:
        path = PurePosixPath(member.name)
        if not member.isreg() or path.name.startswith("."):
            continue
        stem, _, suffix = path.name.partition(".")
        name = (path.parent / stem).as_posix().removeprefix("./")
        if name != key:
            if members:
                yield key, members
            key, members = name, {}
        if member.size > MAX_MEMBER_BYTES:
            members[suffix.lower()] = f"{member.name}: more than {MAX_MEMBER_BYTES:,} bytes"
        else:
            file = archive.extractfile(member)
            assert file is not None  # a regular file
            members[suffix.lower()] = file.read()
    if members:
        yield key, members


def _read(key: str, members: Mapping[str, bytes | str]) -> Entry | BadEntry:
    try:
        return _entry(key, members)
    except DataError as error:
        return BadEntry(key, str(error))


def _entry(key: str, members: Mapping[str, bytes | str]) -> Entry:
    refused = next((content for content in members.values() if isinstance(content, str)), None)
    if refused is not None:
        raise DataError(refused)
    files = {suffix: content for suffix, content in members.items() if isinstance(content, bytes)}
    fields = _fields(key, files.get("json"))
    text = next((files[suffix].decode("utf-8", "replace") for suffix in files if suffix in TEXTS), None)
    if text is None:
        text = next((str(fields.pop(name)) for name in TEXT_FIELDS if isinstance(fields.get(name), str)), "")
    image = next((files[suffix] for suffix in files if suffix in PICTURES), None)
    video = next((files[suffix] for suffix in files if suffix in FILMS), None)
    if not text.strip() and image is None and video is None:
        raise DataError(f"{key}: no text, picture or video in it")
    return Entry(
        key=key,
        item=Item(legible(text).strip(), image, video),
        name=key,
        fields={name: scalar(value) for name, value in fields.items()},
    )


def _fields(key: str, content: bytes | None) -> dict[str, Any]:
    if content is None:
        return {}
    try:
        loaded = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{key}.json: {error}") from None
    return loaded if isinstance(loaded, dict) else {"json": loaded}
