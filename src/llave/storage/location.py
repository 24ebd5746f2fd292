"""A location that llave reads and writes: a path on this machine, or an address in object storage, as
``s3://bucket/key``, ``gs://bucket/key`` or ``az://container/key``."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from llave.errors import UserError
from llave.storage.client import SERVICES, again, bucket, remote
from llave.storage.held import check_held

if TYPE_CHECKING:
    from obstore import GetOptions

    from llave.storage.service import Store

__all__ = ["Found", "Location", "ObjectPath", "is_address", "is_below", "location"]

BEGIN = re.compile(rf"({'|'.join(SERVICES)}):/{{1,2}}")
"""With one stroke only, it has been through a pathlib.Path."""
ADDRESS = re.compile(rf"{BEGIN.pattern}([a-z0-9][a-z0-9._-]{{1,62}})(?:/(.*))?", re.DOTALL)

OTHER = re.compile(r"([a-z][a-z0-9+]+):/")


@dataclass(frozen=True, slots=True)
class Found:
    """An object.

    Args:
        key: below the folder that was listed.
        size: in bytes.
        tag: another one for another content.
        modified: seconds since 1970, on the server's clock.
    """

    key: str
    size: int
    tag: str
    modified: float

    @property
    def modified_ns(self) -> int:
        """The same in nanoseconds, as a copy on this machine has it."""
        return round(self.modified * 1e6) * 1000


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """An object, or a folder of such, in a bucket; it answers to the names of :class:`pathlib.Path`.

    Args:
        bucket: its name; a container, as Azure calls it.
        key: of the object, without a stroke at either end; empty is the bucket itself.
        scheme: which kind of object storage, of :data:`~llave.storage.client.SERVICES`.
    """

    bucket: str
    key: str = ""
    scheme: str = "s3"

    @classmethod
    def parse(cls, address: str) -> "ObjectPath":
        """Of ``s3://bucket/key``, ``gs://bucket/key`` or ``az://container/key``.

        Raises:
            ValueError: it is none.
        """
        found = ADDRESS.fullmatch(address)
        if found is None:
            raise ValueError(
                f"{address!r:.200} is no address of object storage (s3://bucket/key, gs://bucket/key, az://container/key)"
            )
        parts = [part for part in (found[3] or "").split("/") if part]
        if any(part in (".", "..") for part in parts):
            raise ValueError(f"{address!r:.200}: names of objects have no . or .. of their own")
        return cls(found[2], "/".join(parts), found[1])

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}".rstrip("/")

    def __truediv__(self, name: str) -> "ObjectPath":
        return replace(self, key=f"{self.key}/{name}".strip("/"))

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The ending of the name."""
        return Path(self.name).suffix

    @property
    def parent(self) -> "ObjectPath":
        """The folder that it is in."""
        return replace(self, key=self.key.rpartition("/")[0])

    def with_name(self, name: str) -> "ObjectPath":
        """Beside it."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> "ObjectPath":
        """With another ending."""
        return self.with_name(Path(self.name).with_suffix(suffix).name)

    def resolve(self) -> "ObjectPath":
        """There are no links."""
        return self

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """There are no folders: a name with strokes is all there is."""

    def exists(self) -> bool:
        """Whether there is an object of this name, or one below it."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Whether there is an object of this name.

        Raises:
            UserError: it cannot be known.
        """
        return self.head() is not None

    def is_dir(self) -> bool:
        """Whether there is an object below it.

        Raises:
            UserError: it cannot be known.
        """
        return next(self.files(), None) is not None

    def head(self) -> Found | None:
        """What is known of the object, or None where there is none.

        Raises:
            UserError: it cannot be known.
        """
        with remote(str(self)):
            try:
                found = self._store.head(self.key)
            except FileNotFoundError:
                next(self.files(), None)  # which a missing bucket refuses, with its name
                return None
        return _found(found, 0)

    def files(self) -> Iterator[Found]:
        """All objects below it, in the order of their names where the server has one, as S3 does. A list that is cut
        off is gone on with.

        Raises:
            UserError: they cannot be listed.
        """
        prefix, last, listed = f"{self.key}/" if self.key else "", None, None

        def more() -> list[Any] | None:
            nonlocal listed
            with remote(str(self)):
                try:
                    listed = listed or iter(self._store.list(prefix or None, offset=last))
                    return list(next(listed, ())) or None
                except Exception:
                    listed = None  # from the last name on
                    raise

        while (batch := again(more)) is not None:
            # Azure's server may begin at, or before, the name after which it was to go on
            yield from (_found(each, len(prefix)) for each in batch if last is None or each["path"] > last)
            last = batch[-1]["path"] if last is None else max(last, batch[-1]["path"])

    def folders(self) -> list[str]:
        """Names of the folders right below it."""
        with remote(str(self)):
            found = self._store.list_with_delimiter(f"{self.key}/" if self.key else None)["common_prefixes"]
        return [name.rstrip("/").rpartition("/")[2] for name in found]

    def read_bytes(self) -> bytes:
        """The whole content.

        Raises:
            FileNotFoundError: no such object.
            UserError: it cannot be read.
        """

        def work() -> bytes:
            with remote(str(self)):
                return bytes(self._store.get(self.key).bytes())

        return again(work)

    def copy_to(self, file: IO[bytes]) -> None:
        """Write the whole content to an open file, a part at a time.

        Raises:
            FileNotFoundError: no such object.
            UserError: it cannot be read.
        """
        with remote(str(self)):
            for part in self._store.get(self.key):
                file.write(part)

    def read_range(self, start: int, end: int, tag: str | None = None) -> bytes:
        """The bytes from one place up to another.

        Args:
            tag: of the object; another one by now is an error. None takes any.

        Raises:
            FileNotFoundError: no such object, where no tag is asked for.
            UserError: it cannot be read, or is another one.
        """

        def work() -> bytes:
            with remote(str(self)):
                asked: GetOptions = {"range": (start, end)} if tag is None else {"range": (start, end), "if_match": tag}
                found = self._store.get(self.key, options=asked)
                return bytes(found.bytes())

        try:
            return again(work)
        except OSError:
            if tag is None:
                raise
            raise UserError(f"{self}: was changed while it was read; do it again") from None

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole content."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Whole or not at all.

        Raises:
            UserError: it cannot be written, or what this process held alone has been lost.
        """
        check_held(str(self))
        with remote(str(self)):
            self._store.put(self.key, content)

    def upload(self, file: Path) -> None:
        """A file's content, whole or not at all, of any size.

        Raises:
            UserError: it cannot be written, or what this process held alone has been lost.
        """
        check_held(str(self))
        with remote(str(self)):
            self._store.put(self.key, file)

    def put_if(self, content: bytes, tag: str | None) -> str | None:
        """Write if nothing is there (``tag`` None), or what has this tag; its tag by now, or None if it is otherwise.

        Raises:
            UserError: it cannot be known or written.
        """
        mode: Any = "create" if tag is None else {"e_tag": tag}
        try:
            with remote(str(self)):
                if tag is not None and SERVICES[self.scheme].by_version:
                    about = self._store.head(self.key)
                    if _tag(about) != tag:
                        return None
                    mode["version"] = about["version"]
                return _tag(self._store.put(self.key, content, mode=mode))
        except OSError:  # another one, or gone, where a tag was asked for
            return None

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object; one that is not there is none.

        Raises:
            UserError: it cannot be removed, or what this process held alone has been lost.
        """
        check_held(str(self))
        with remote(str(self)), suppress(FileNotFoundError):
            self._store.delete(self.key)

    @property
    def _store(self) -> "Store":
        return bucket(self.scheme, self.bucket)


Location = ObjectPath | Path
"""Where something of llave's is."""


def is_address(text: object) -> bool:
    """Whether it names an object or folder in object storage."""
    return isinstance(text, ObjectPath) or ADDRESS.fullmatch(str(text)) is not None


def location(text: str | Location) -> Location:
    """A path, or an address.

    Raises:
        UserError: an address of a kind that llave does not speak, or none that can be.
    """
    if isinstance(text, ObjectPath):
        return text
    if BEGIN.match(str(text)) is not None:
        try:
            return ObjectPath.parse(str(text))
        except ValueError as error:
            raise UserError(str(error)) from None
    if (kind := OTHER.match(str(text))) is not None:
        raise UserError(f"{text}: of object storage, llave speaks s3://, gs:// and az://, not {kind[1]}://")
    return Path(text)


def is_below(path: Location, folder: Location) -> bool:
    """Whether a path is in a folder, or the folder itself, as they are written."""
    if isinstance(path, ObjectPath) and isinstance(folder, ObjectPath):
        return path == folder or str(path).startswith(f"{folder}/")
    return isinstance(path, Path) and isinstance(folder, Path) and path.is_relative_to(folder)


def _found(about: Any, skip: int) -> Found:
    return Found(about["path"][skip:], about["size"], _tag(about), about["last_modified"].timestamp())


def _tag(about: Any) -> str:
    """Always in its quotes, which Azure's lists leave out."""
    tag = str(about["e_tag"])
    return tag if '"' in tag else f'"{tag}"'
