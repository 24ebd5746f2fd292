"""What is fuzzed: of every format the whole files, and the door that they pass in llave."""

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import fuzz_seeds as seeds
from llave.collection.entry import BadEntry
from llave.collection.tar import TarCollection
from llave.data.images import load_image, picture_size
from llave.data.pages import count_pages, load_page
from llave.data.tables import count_rows, read_table
from llave.data.unzip import unpack
from llave.data.video import VideoLimits, is_animated, load_video
from llave.errors import DataError

__all__ = ["FORMATS", "Format"]

SECONDS = 5.0
"""That a file may take of what can be slow."""
Door = Callable[[bytes, Path], object]


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Args:
        suffix: of its files.
        seeds: whole files, that the door takes.
        door: given the bytes and a file that holds them; a result, or an error of the user's.
        mutations: of a whole run.
        words: that mean something in the format.
        repaired: a file with its checksums made right, so that a change gets past them.
    """

    suffix: str
    seeds: Callable[[], Sequence[bytes]]
    door: Door
    mutations: int
    words: Sequence[bytes] = ()
    repaired: Callable[[bytes], bytes] | None = None


def with_png_checksums(data: bytes) -> bytes:
    """As far as its chunks can be followed."""
    fixed, at = bytearray(data), 8
    while at + 12 <= len(fixed):
        end = at + 8 + int.from_bytes(fixed[at : at + 4], "big")
        fixed[end : min(end + 4, len(fixed))] = zlib.crc32(fixed[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(fixed[: len(data)])


def with_tar_checksums(data: bytes) -> bytes:
    """As far as its members can be followed."""
    fixed, at = bytearray(data), 0
    while at + 512 <= len(fixed) and any(fixed[at : at + 512]):
        fixed[at + 148 : at + 156] = b" " * 8
        fixed[at + 148 : at + 156] = b"%06o\0 " % sum(fixed[at : at + 512])
        try:
            at += 512 + -(-int(fixed[at + 124 : at + 135], 8) // 512) * 512
        except ValueError:
            break
    return bytes(fixed)


def picture(data: bytes, path: Path) -> None:
    picture_size(data[:4096])
    is_animated(data)
    load_image(data, seconds=SECONDS)


def film(data: bytes, path: Path) -> None:
    load_video(path, num_frames=3, limits=VideoLimits(seconds=SECONDS))


def document(data: bytes, path: Path) -> None:
    for page in range(1, min(count_pages(path, seconds=SECONDS), 2) + 1):
        load_page(path, page, dpi=72, max_pixels=100_000, seconds=SECONDS)


def scan(data: bytes, path: Path) -> None:
    count_pages(path, seconds=SECONDS)
    load_image(path, seconds=SECONDS)


def table(data: bytes, path: Path) -> None:
    rows = list(read_table(path))
    broken = [row for row in rows if isinstance(row, DataError)]
    good = [row for row in rows if not isinstance(row, DataError)]
    json.dumps(good, ensure_ascii=False, default=str).encode()  # what follows a reader can count on that
    if broken:
        raise broken[0]
    if len(rows) != count_rows(path):
        raise AssertionError(f"{len(rows)} rows read and {count_rows(path)} counted")


def archive(data: bytes, path: Path) -> None:
    broken = [entry for entry in TarCollection([path]) if isinstance(entry, BadEntry)]
    if broken:
        raise DataError(f"{path}: {broken[0].message}")


def zipped(data: bytes, path: Path) -> None:
    folder = path.with_suffix(f".{path.stem}.d")
    unpack(path, folder, max_file_bytes=1 << 20, max_total_bytes=4 << 20)


MARKERS = [bytes([0xFF, kind]) for kind in (0xC0, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD, 0xE1, 0xE2, 0xD9, 0xD0)]
CHUNKS = [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"zTXt", b"iCCP", b"iTXt"]
BOXES = [b"ftyp", b"moov", b"trak", b"stbl", b"stsz", b"stco", b"stss", b"ctts", b"mdat", b"meta", b"iloc", b"ispe"]
JSON_WORDS = [
    b"\\ud83d",
    b"\\u0000",
    b"[" * 2000,
    b"{" * 2000,
    b"\n",
    b'"',
    b"1e999",
    b"NaN",
    b"9" * 5000,
    b"\xe2\x80\xa8",
]
CSV_WORDS = [b'"', b'""', b",", b"\n", b"\r", b"\0", b"\xff", b"x" * 140_000, b"\xef\xbb\xbf", b"\xff\xfe"]
PDF_WORDS = [
    b"/Kids[2 0 R]",
    b"/Count 99999999",
    b"stream",
    b"endobj",
    b"<<",
    b">>",
    b"/Filter/LZWDecode",
    b"6 0 R",
    b"Do ",
]
TAR_WORDS = [b"GNU.sparse.size=99999999999\n", b"path=", b"\0", b"../", b"77777777777", b"L", b"x", b"S", b"2"]
ZIP_WORDS = [b"PK\1\2", b"PK\3\4", b"PK\5\6", b"../", b"\0", b"\xff\xff\xff\xff"]

FORMATS = {
    "jpeg": Format(".jpg", seeds.jpegs, picture, 40_000, MARKERS),
    "png": Format(".png", seeds.pngs, picture, 40_000, CHUNKS, with_png_checksums),
    "webp": Format(
        ".webp", seeds.webps, picture, 40_000, [b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"EXIF", b"ALPH"]
    ),
    "gif": Format(".gif", seeds.gifs, picture, 40_000, [b"\x2c", b"\x21\xf9\4", b"\x21\xff\x0b", b"\x3b"]),
    "bmp": Format(".bmp", seeds.bmps, picture, 40_000, [b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0", b"\x28\0\0\0"]),
    "jsonl": Format(".jsonl", seeds.lines, table, 30_000, JSON_WORDS),
    "csv": Format(".csv", seeds.sheets, table, 20_000, CSV_WORDS),
    "tar": Format(".tar", seeds.archives, archive, 40_000, TAR_WORDS, with_tar_checksums),
    "zip": Format(".zip", seeds.zips, zipped, 8_000, ZIP_WORDS),
    "parquet": Format(".parquet", seeds.parquets, table, 30_000, [b"PAR1"]),
    "tiff": Format(".tif", seeds.tiffs, scan, 20_000, [b"II*\0", b"MM\0*", b"II+\0"]),
    "avif": Format(".avif", seeds.avifs, picture, 20_000, BOXES),
    "ico, ppm, jp2": Format(".ico", seeds.others, picture, 15_000, [b"P6", b"\xff\x4f\xff\x51", b"\x89PNG\r\n\x1a\n"]),
    "pdf": Format(".pdf", seeds.documents, document, 20_000, PDF_WORDS),
    "animations": Format(
        ".gif",
        lambda: [seeds.moving("GIF"), seeds.moving("PNG"), seeds.moving("WEBP")],
        film,
        20_000,
        [b"fcTL", b"ANMF", b"\x2c"],
    ),
    "mp4": Format(".mp4", partial(seeds.films, "libx264", "mp4"), film, 10_000, BOXES),
    "webm": Format(
        ".webm", partial(seeds.films, "libvpx", "webm"), film, 6_000, [b"\x1a\x45\xdf\xa3", b"\x16\x54\xae\x6b"]
    ),
}
