"""Tar archives in WebDataset's form: files of one item stand together and share the name before the first dot."""

import glob
import hashlib
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from llave.collection.collection import Part
from llave.collection.entry import BadEntry, Entry, state_of
from llave.collection.folder import NO_SOUND
from llave.collection.types import scalar
from llave.data.archived import name_archived
from llave.data.door import reason_of
from llave.data.encodings import decode_text
from llave.data.identity import legible
from llave.data.suffixes import ANIMATIONS, FILMS, PICTURES, SOUNDS
from llave.data.untar import Member
from llave.data.video import is_animated
from llave.encode.item import Item
from llave.errors import DataError, UserError
from llave.storage.client import StorageError
from llave.storage.location import Location, ObjectPath, location
from llave.storage.reading import opened, size_of

__all__ = ["TarCollection", "tar_files"]

CAPTIONS = {".txt", ".md", ".text", ".caption"}
TEXT_FIELDS = ("text", "caption")
MAX_ITEM_BYTES = 256 * 1024**2
"""Of all files of one item together, which are in memory at once."""


def tar_files(path: Location) -> Sequence[Location]:
    """The archives that a path, an address, or a glob of either names, sorted; none if it names something else."""
    if path.suffix.lower() != ".tar":
        return []
    if isinstance(path, ObjectPath):
        if path.is_file():
            return [path]
        return sorted(_matching(path), key=str) or _none(path)
    if path.is_dir():
        return []
    if path.is_file():  # whatever its name, brackets included
        return [path]
    files = sorted(found for name in glob.glob(str(path), recursive=True) if (found := Path(name)).is_file())
    return files or _none(path)


def _matching(pattern: ObjectPath) -> Iterator[ObjectPath]:
    """Objects whose keys a pattern fits, part by part; looked for below its last plain folder."""
    parts = pattern.key.split("/")
    folder = replace(pattern, key="/".join(takewhile(lambda part: not glob.has_magic(part), parts[:-1])))
    for found in folder.files():
        path = folder / found.key
        names = path.key.split("/")
        if len(names) == len(parts) and all(map(fnmatchcase, names, parts)):
            yield path


def _none(path: Location) -> NoReturn:
    raise UserError(f"{path}: no such archive")


class TarCollection:
    """Every item of some archives; an item's ``.json`` is its fields.

    A key is ``ARCHIVE/NAME``, the archive's path below the folder that holds all of them. A part is a whole archive,
    since a tar file is read from its start.

    Args:
        sounds: make items of them.
    """

    def __init__(self, files: Sequence[Location], *, sounds: bool = True) -> None:
        self._sounds = sounds
        self.notes: Sequence[str] = ()
        self.left_out: Counter[str] = Counter()
        names = [str(file if isinstance(file, ObjectPath) else file.absolute()) for file in files]
        common = os.path.commonpath([os.path.dirname(name) for name in names])
        self._folder = location(common)
        self.root, self.address = Path(common), str(self._folder)
        self._files = [os.path.relpath(name, common) for name in names]

    def parts(self, size: int) -> Iterator[Part]:
        """One archive each, whatever the size."""
        del size
        for file in self._files:
            yield {"tar": file}

    def read(self, part: Part) -> Iterator[Entry | BadEntry]:
        """The items of an archive, one at a time in memory."""
        return (entry for entry, _ in self.places(part))

    def places(self, part: Part) -> Iterator[tuple[Entry | BadEntry, str]]:
        """The items of an archive, each with where its picture lies (:mod:`llave.data.archived`); empty without one."""
        name = part["tar"]
        path = self._folder / name
        try:
            size = size_of(path)
            with opened(path) as file, tarfile.open(fileobj=file, mode="r|", tarinfo=Member) as archive:
                for key, members, starts in _items(archive, size):
                    entry = self._entry(f"{name[: -len('.tar')]}/{key}", members)
                    if entry is not None:
                        yield entry, _place(name, entry, members, starts)
        except StorageError:
            raise  # what is not read now may be read later, and would count as an error of the archive
        except Exception as error:  # whatever a damaged archive leads to
            reason = f"{path}: cannot read on ({reason_of(error)}); items after this place are missing"
            yield BadEntry(name, reason, hides=True), ""

    def state(self) -> str:
        """Of the archives."""
        return state_of((file, self._folder / file) for file in self._files)

    def size(self) -> int:
        """Archives, since only reading them tells more."""
        return len(self._files)

    def __iter__(self) -> Iterator[Entry | BadEntry]:
        self.left_out.clear()
        for part in self.parts(0):
            yield from self.read(part)

    def _entry(self, key: str, members: Mapping[str, bytes | str]) -> Entry | BadEntry | None:
        refused = next((content for content in members.values() if isinstance(content, str)), None)
        if refused is not None:
            return BadEntry(key, refused)
        files = {suffix: content for suffix, content in members.items() if isinstance(content, bytes)}
        try:
            fields = _fields(key, files.pop("json", None))
            text = _text(key, files)
            sounds = [suffix for suffix in files if _last(suffix) in SOUNDS]
            if not self._sounds:
                self.left_out.update(f"{_last(suffix)} ({NO_SOUND})" for suffix in sounds)
                files = {suffix: content for suffix, content in files.items() if suffix not in sounds}
            image, video, audio = _media(files)
            if text is None:
                text = next((str(fields.pop(name)) for name in TEXT_FIELDS if isinstance(fields.get(name), str)), "")
            if not text.strip() and image is None and video is None and audio is None:
                if sounds:
                    return None
                raise DataError(f"{key}: no text, picture, video or sound in it")
            kept = {name: scalar(value) for name, value in fields.items()}
            entry = Entry(key=key, item=Item(legible(text).strip(), image, video, audio=audio), name=key, fields=kept)
        except Exception as error:  # of one item, whatever is wrong with it
            return BadEntry(key, str(error))
        self.left_out.update(f".{suffix}" if suffix else "without a suffix" for suffix in files)
        return entry


def _place(name: str, entry: Entry | BadEntry, members: Mapping[str, bytes | str], starts: Mapping[str, int]) -> str:
    image = None if isinstance(entry, BadEntry) else entry.item.image
    if not isinstance(image, bytes):
        return ""
    first = next(starts[suffix] for suffix, content in members.items() if content is image)
    return name_archived(name, first, first + len(image) - 1, hashlib.sha256(image).hexdigest()[:16])


def _items(archive: tarfile.TarFile, size: int) -> Iterator[tuple[str, dict[str, bytes | str], dict[str, int]]]:
    """(key, what its files hold by suffix, where each begins); in place of what is not read, the reason.

    Args:
        size: of the archive, in bytes.
    """
    key, members, starts, held = "", dict[str, bytes | str](), dict[str, int](), 0
    for member in archive:
        path = PurePosixPath(member.name)
        whole = archive.offset - tarfile.BLOCKSIZE < size
        if whole and (not member.isreg() or path.name.startswith(".")):
            continue
        if whole and not _plain(path):
            yield repr(member.name), {"": f"{member.name!r}: not a name of a file; rename it"}, {}
            continue
        stem, _, suffix = path.name.partition(".")
        name = (path.parent / stem).as_posix().removeprefix("./")
        if name != key:
            if members:
                yield key, members, starts
            key, members, starts, held = name, {}, {}, 0
        if not whole:  # to skip it, tarfile would read to what it says
            raise tarfile.ReadError(f"it ends within {member.name!r:.200}")
        held += member.size
        if member.issparse():  # its size is what it says, not what the archive has
            members[suffix.lower()] = f"{member.name}: stored with holes; make the archive without --sparse"
        elif held > MAX_ITEM_BYTES:
            members[suffix.lower()] = f"{member.name}: more than {MAX_ITEM_BYTES:,} bytes in one item"
        else:
            file = archive.extractfile(member)
            assert file is not None  # a regular file
            members[suffix.lower()], starts[suffix.lower()] = file.read(), member.offset_data
    if members:
        yield key, members, starts


def _plain(path: PurePosixPath) -> bool:
    """A name below the archive's folder, as a file can have it."""
    return bool(path.name) and not path.is_absolute() and ".." not in path.parts and "\0" not in str(path)


def _text(key: str, files: dict[str, bytes]) -> str | None:
    """The first text among an item's files, which is taken out."""
    suffix = next((suffix for suffix in files if _last(suffix) in CAPTIONS), None)
    return None if suffix is None else decode_text(files.pop(suffix), f"{key}.{suffix}")


def _media(files: dict[str, bytes]) -> tuple[bytes | None, bytes | None, bytes | None]:
    """The first picture, film or sound among an item's files, which is taken out; a picture that moves is a film."""
    for suffix in files:
        if _last(suffix) in FILMS:
            return None, files.pop(suffix), None
        if _last(suffix) in SOUNDS:
            return None, None, files.pop(suffix)
        if _last(suffix) in PICTURES:
            content = files.pop(suffix)
            moves = _last(suffix) in ANIMATIONS and is_animated(content)
            return (None, content, None) if moves else (content, None, None)
    return None, None, None


def _last(suffix: str) -> str:
    return "." + suffix.rpartition(".")[2]


def _fields(key: str, content: bytes | None) -> dict[str, Any]:
    if content is None:
        return {}
    try:
        loaded = json.loads(content)
    except Exception as error:  # also of what nests too deeply
        raise DataError(f"{key}.json: {reason_of(error)}") from None
    return loaded if isinstance(loaded, dict) else {"json": loaded}
