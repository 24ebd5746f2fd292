"""Collections in object storage: files are fetched a few ahead of what is read, and go when they have been.

So a bulk run reads a bucket of any size on a machine with a small disk, and on every node of a cluster by itself. An
object that cannot be read costs that item; where the service cannot be reached, the run ends and goes on later.
"""

import errno
import hashlib
import os
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any

from llave.collection.collection import Columns, Part
from llave.collection.entry import BadEntry, Entry
from llave.collection.folder import FolderCollection
from llave.collection.metadata import METADATA
from llave.collection.table import TableCollection
from llave.data.cache import cache_directory
from llave.data.fetched import fetched
from llave.data.pages import split_page
from llave.data.suffixes import DOCUMENTS
from llave.encode.item import Item
from llave.errors import DataError, UserError
from llave.files import own_folder, whole_file
from llave.storage.client import again
from llave.storage.location import Found, ObjectPath
from llave.storage.reading import of_itself

__all__ = ["RemoteFolder", "RemoteTable"]

WINDOW = 64
"""Files that are fetched at once, while those before them are read."""
THREADS = 8
KEPT = 2048
"""Files that are fetched after one before it goes: whoever reads has used it by then."""


NOT_FETCHED: Future[str] = Future()
NOT_FETCHED.set_result("")


class Stage:
    """A folder of this machine with some of the files of one in object storage; it goes with the object.

    Args:
        address: of the folder there.
    """

    def __init__(self, address: ObjectPath) -> None:
        self.address = address
        with ExitStack() as stack:
            self.root = stack.enter_context(own_folder(cache_directory() / "fetched" / "reading"))
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="llave-fetch")
            stack.callback(self._threads.shutdown, wait=False)  # one of its threads may be the last to let go of this
            weakref.finalize(self, stack.pop_all().close)
        self._lying: dict[Path, None] = {}

    def windows(
        self, names: Iterable[str], leave_out: Callable[[str], bool] = lambda _: False
    ) -> Iterator[dict[str, str]]:
        """The names in windows, each when its files are here, with what is wrong with them: empty if nothing is.

        Args:
            leave_out: whether a file is not fetched.

        Raises:
            StorageError: the service cannot be reached.
        """
        left = iter(names)
        ahead = self._begin(islice(left, WINDOW), leave_out)
        while ahead:
            now, ahead = ahead, self._begin(islice(left, WINDOW), leave_out)
            yield {name: future.result() for name, future in now.items()}
            while len(self._lying) > KEPT:
                path = next(iter(self._lying))
                del self._lying[path]
                path.unlink(missing_ok=True)

    def _begin(self, names: Iterable[str], leave_out: Callable[[str], bool]) -> dict[str, Future[str]]:
        begun = {}
        for name in names:
            if leave_out(name):
                begun[name] = NOT_FETCHED
                continue
            self._lying.pop(self.root / name, None)
            self._lying[self.root / name] = None  # the last to go, also where it has been here for long
            begun[name] = self._threads.submit(self._fetched, name)
        return begun

    def _fetched(self, name: str) -> str:
        try:
            with of_itself(self.address):
                self.fetch(name)
        except FileNotFoundError:
            return "went away meanwhile"
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(f"{self.root}: no room; the same command goes on when there is") from None
            return str(error)  # a name too long for a file, or that of a folder, too
        except DataError as error:
            return str(error)
        return ""

    def fetch(self, name: str) -> Path:
        """A file; one that is here already is left as it is.

        Raises:
            FileNotFoundError: no such object.
            DataError: its name is none of a file.
            StorageError: it cannot be read.
        """
        if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
            raise DataError(f"{name!r:.100} cannot be the name of a file")
        source, target = self.address / name, self.root / name
        if target.exists():
            return target
        if (about := source.head()) is None:
            raise FileNotFoundError(f"{source}: no such object")
        with whole_file(target, durable=False) as partial:

            def copy() -> None:
                with partial.open("wb") as file:
                    source.copy_to(file)

            again(copy)
            os.utime(partial, ns=(about.modified_ns, about.modified_ns))  # the same wherever it is fetched
        return target

    @contextmanager
    def told(self) -> Iterator[None]:
        """An error within names the address, and not the folder here."""
        try:
            yield
        except UserError as error:
            raise type(error)(str(error).replace(str(self.root), str(self.address))) from None

    def table(self, folder: PurePosixPath) -> Path | None:
        """The table of fields of a folder, where it has one."""
        for name in METADATA:
            with suppress(FileNotFoundError):
                return self.fetch((folder / name).as_posix())
        return None


class RemoteFolder(FolderCollection):
    """A folder in object storage, read as :class:`~llave.collection.folder.FolderCollection` reads one of this machine,
    in the order of the keys.

    Args:
        address: of the folder.
        sounds: make items of audio files.
    """

    def __init__(self, address: ObjectPath, *, sounds: bool = True) -> None:
        self._stage = Stage(address)
        self.leave_out: Callable[[Entry], bool] | None = None
        """Whether an entry's file is not fetched, since whoever goes through all of them does not read it."""
        self._found: dict[str, Found] = {}
        self._without: dict[str, Entry] = {}
        with self._stage.told():
            super().__init__(self._stage.root, sounds=sounds, find=self._stage.table)
        self.address = str(address)

    def read(self, part: Part) -> Iterator[Entry | BadEntry]:
        """The entries of a part, each of whose files is here until the next thousands are."""
        return self._each(part["files"])

    def state(self) -> str:
        """Of every object that is read, and of the tables of fields."""
        digest = hashlib.sha256()
        left_out = Counter[str]()
        for found in self._listed():
            name = PurePosixPath(found.key).name
            if name in METADATA or self._takes(name, left_out):
                digest.update(f"{found.key}:{found.size}:{found.tag}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def __iter__(self) -> Iterator[Entry | BadEntry]:
        return self._each(self._all_names())

    def _each(self, names: Iterable[str]) -> Iterator[Entry | BadEntry]:
        for window in self._stage.windows(names, self._is_left_out):
            for name, wrong in window.items():
                if name in self._without:
                    yield self._without.pop(name)
                elif wrong:
                    yield BadEntry(name, f"{self.address}/{name}: {wrong}")
                else:
                    yield from super().read({"files": [name]})
                self._found.pop(name, None)

    def _is_left_out(self, name: str) -> bool:
        """Whether an entry, made from what the listing says of it, does without its file. A document's pages are
        counted in the file."""
        if self.leave_out is None or PurePosixPath(name).suffix.lower() in DOCUMENTS:
            return False
        try:
            fields, caption = self._about(name)
            stamp = self._stamp(name, caption)
            entry = Entry(key=name, item=Item(caption, self.root / name), name=name, stamp=stamp, fields=fields)
        except DataError:  # which is said when it is read
            return False
        if left_out := self.leave_out(entry):
            self._without[name] = entry
        return left_out

    def _stamp(self, name: str, caption: str) -> str:
        """What :func:`~llave.collection.entry.stamp_of` says of a file that was fetched, and of its tag."""
        if (found := self._found.get(name)) is None:
            return super()._stamp(name, caption)
        digest = hashlib.sha256(f"{caption}\n{found.tag}".encode("utf-8", "surrogatepass")).hexdigest()
        return f"{found.size}:{found.modified_ns}:{digest[:16]}"

    def _all_names(self) -> Iterator[str]:
        with self._stage.told():
            yield from super()._all_names()

    def _names(self, folder: Path, left_out: Counter[str]) -> Iterator[str]:
        for found in self._listed():
            name = PurePosixPath(found.key).name
            if name not in METADATA and self._takes(name, left_out):
                if self.leave_out is not None:
                    self._found[found.key] = found
                yield found.key

    def _listed(self) -> Iterator[Found]:
        """What is neither hidden nor the mark of a folder."""
        last = ""
        for found in self._stage.address.files():
            if found.key < last:
                raise UserError(f"{self.address}: is listed in no order, which makes no parts; fetch it first")
            last = found.key
            if not found.key.endswith("/") and not any(part.startswith(".") for part in found.key.split("/")):
                yield found


class RemoteTable(TableCollection):
    """A table in object storage, fetched once, and the files that its rows name, fetched as they are read.

    Args:
        address: of the table.
        columns, sounds: see :class:`~llave.collection.table.TableCollection`.
    """

    def __init__(self, address: ObjectPath, columns: Columns, *, sounds: bool = True) -> None:
        self._stage = Stage(address.parent)
        here = self._stage.root / address.name
        here.symlink_to(fetched(address))
        with self._stage.told():
            super().__init__(here, columns, sounds=sounds)
        self.address = str(address.parent)

    def _entries(self, rows: Iterator[Any], start: int) -> Iterator[Entry | BadEntry]:
        while window := list(islice(rows, WINDOW)):
            names = dict.fromkeys(chain.from_iterable(map(self._named, window)))
            for _ in self._stage.windows(names):
                pass  # what is not there, its row says
            yield from super()._entries(iter(window), start)
            start += len(window)

    def _named(self, row: Any) -> Iterator[str]:
        """The files of a row."""
        for ours in ("image", "video", "audio") if isinstance(row, Mapping) else ():
            value = row.get(self.chosen.columns.get(ours, ""))
            if isinstance(value, Mapping):
                value = None if value.get("bytes") else value.get("path")
            if isinstance(value, str) and ":" not in value:
                yield split_page(Path(value))[0].as_posix()
