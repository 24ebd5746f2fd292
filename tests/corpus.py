"""Broken files, and odd ones that are good, made by code; each with the one verdict that every door must give.

:mod:`tests.test_corpus` has the doors.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, PngImagePlugin

from tests.data.films import frames, write_film
from tests.data.test_formats import chunk, encoded, with_scans
from tests.data.test_orientation import ODD, exif, tag
from tests.data.test_pages import LOCKED, nested_forms

__all__ = ["Case", "media", "texts"]

Kind = Literal["picture", "film", "page", "text"]
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8))
COLOURS = ("red", "green", "blue")
NOT_SERVED = {"server": False}
"""The server takes pictures in JPEG, PNG, WebP and GIF, and no pages."""
LEGIBLE = {"Encoder": True, "encode": True, "search": True}
"""Doors that are given a text and not a file with it put a sign in place of half a character."""
AS_EVERYWHERE = {"encode": True}
"""``SentenceTransformer.encode`` takes an empty text."""


@dataclass(frozen=True, slots=True)
class Case:
    """One item.

    Args:
        name: of its file, and of a page in it.
        content: of the file, or the text.
        good: one vector; otherwise one error that names it.
        kind: what it is taken for.
        folder: whether a folder that is embedded gives this item: it takes an animation for a film, and names the
            pages of a document itself.
        but: verdicts of doors that take more or less than the others, on purpose.
    """

    name: str
    content: bytes | str
    good: bool
    kind: Kind = "picture"
    folder: bool = True
    but: Mapping[str, bool] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The name without the page."""
        return self.name.partition("#")[0]


def media(scratch: Path) -> list[Case]:
    """Pictures, films and pages."""
    return [*_honest(), *_exif(), *_cut(), *_structures(), *_animations(), *_documents(), *_films(scratch)]


def texts() -> list[Case]:
    """Texts as a table has them."""
    return [
        *(Case(f"honest text {n}", f"a {colour} thing", True, "text") for n, colour in enumerate(COLOURS)),
        Case("half a surrogate", "cut off \ud83d", False, "text", but=LEGIBLE),
        Case("NUL", "a\0b", True, "text"),
        Case("nothing", "", False, "text", but=AS_EVERYWHERE),
        Case("white space", " \n\t\u2003", False, "text", but=AS_EVERYWHERE),
        *(
            Case(f"literal {n}", f"what does {word} mean?", True, "text")
            for n, word in enumerate(("<image>", "<|image_pad|>", "[unused0]", "<|vision_start|>", "</s>"))
        ),
        Case("a literal alone", "<image>", True, "text"),
        Case("like a file", "no such picture.png", True, "text"),
        Case("long", "long " * 40_000, True, "text"),
    ]


def _honest() -> Iterator[Case]:
    for number, colour in enumerate(COLOURS):
        picture = Image.new("RGB", (40, 30), colour)
        picture.paste(NOISE.resize((9, 9)), (5 * number, 5))
        yield Case(f"honest {number}.png", encoded(picture, "PNG"), True)
    yield Case("a png.jpg", encoded(NOISE, "PNG"), True)
    yield Case("a jpeg.webp", encoded(NOISE, "JPEG", quality=77), True)
    for form in ("BMP", "TIFF", "AVIF", "ICO", "PPM", "JPEG2000"):
        suffix = {"TIFF": "tif", "JPEG2000": "jp2"}.get(form, form.lower())
        yield Case(f"honest.{suffix}", encoded(NOISE, form), True, but=NOT_SERVED)


def _exif() -> Iterator[Case]:
    rest = struct.pack("<iiq", -1, 0, 3)
    blocks = {name: exif(tag(274, 3, b"\6\0"), odd, rest=rest) for name, odd in ODD.items()}
    at = struct.pack("<I", 8 + 2 + 12 + 4)
    for kind, form in {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}.items():
        blocks[f"orientation of type {kind}"] = exif(tag(274, kind, struct.pack(f"<{form}", 6)))
    for kind, form in {16: "Q", 17: "q"}.items():
        blocks[f"orientation of type {kind}"] = exif(tag(274, kind, at), rest=struct.pack(f"<{form}", 6))
    blocks["orientation as text"] = exif(tag(274, 2, b"6\0"))
    blocks["orientation 999"] = exif(tag(274, 3, b"\xe7\3"))
    blocks["cut"] = exif(tag(274, 3, b"\6\0"), ODD["rational -1/0"], rest=rest)[:25]
    blocks["noise"] = b"Exif\0\0II*\0" + np.random.default_rng(1).bytes(65_000)
    for number, (name, block) in enumerate(blocks.items()):
        picture = NOISE.rotate(7 * number)  # content is identity: equal pixels in equal bytes would be one item
        for form in ("JPEG", "PNG", "WEBP"):
            name_of = f"exif {name.replace('/', ' by ')}.{form.lower().replace('jpeg', 'jpg')}"
            yield Case(name_of, encoded(picture, form, exif=block), True)
        if name != "noise":
            yield Case(f"exif {name.replace('/', ' by ')}.tif", _tiff_with(picture, block), True, but=NOT_SERVED)


def _tiff_with(picture: Image.Image, block: bytes) -> bytes:
    """A TIFF whose own directory has the entries of an EXIF block besides its own, out of order as they may be."""
    data = bytearray(encoded(picture, "TIFF"))
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    entries = data[start + 2 : start + 2 + 12 * count]
    odd = block[16 : 16 + 12 * int.from_bytes(block[14:16], "little")]
    directory = struct.pack("<H", count + len(odd) // 12) + entries + odd[: len(odd) // 12 * 12] + bytes(4)
    data[4:8] = len(data).to_bytes(4, "little")
    return bytes(data + directory)


def _cut() -> Iterator[Case]:
    for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        suffix = {"JPEG": "jpg", "TIFF": "tif"}.get(form, form.lower())
        whole = encoded(NOISE, form)
        for share in (3, 30, 60, 90):
            part = whole[: len(whole) * share // 100]
            yield Case(f"{share} percent.{suffix}", part, False)
        yield Case(f"0 bytes.{suffix}", b"", False)
        yield Case(f"1 byte.{suffix}", whole[:1], False)


def _structures() -> Iterator[Case]:
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "x" * 3_000_000, zip=True)
    yield Case("large text.png", encoded(NOISE.rotate(3), "PNG", pnginfo=info), True)
    yield Case("large profile.png", encoded(NOISE.rotate(4), "PNG", icc_profile=bytes(3_000_000)), True)
    yield Case("a text.png", b"no picture at all, but words\n" * 9, False)
    yield Case("a page of the web.jpg", b"<!doctype html><title>404</title>", False)
    yield Case("spider.png", encoded(NOISE.convert("F"), "SPIDER"), False)
    yield Case("scans.jpg", with_scans((800, 600), 3000), False)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1_000_000)))
    yield Case("60,000 square.png", b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""), False)
    boxes = encoded(NOISE, "AVIF")
    for name, box in {"iloc": b"iloc", "iprp": b"iprp", "meta": b"meta", "ispe": b"ispe"}.items():
        at = boxes.index(box)
        broken = boxes[: at - 4] + b"\xff\xff\xff\xff" + boxes[at : at + 8] + bytes(8) + boxes[at + 16 :]
        yield Case(f"box {name}.avif", broken, False)


def _animations() -> Iterator[Case]:
    first, *rest = frames(6)
    moving = {form: encoded(first, form, save_all=True, append_images=rest) for form in ("GIF", "WEBP", "PNG")}
    for form, data in moving.items():
        yield Case(f"moving.{form.lower()}", data, True, "film")
        yield Case(f"first frame.{form.lower()}", data, True, folder=False)
    for error, cut in _unusual_cuts(moving["GIF"]).items():
        in_header = error is struct.error  # of a frame; those before it are whole
        yield Case(f"cut with {error.__name__}.gif", moving["GIF"][:cut], in_header, "film")
    still = Image.new("P", (3, 3))
    endless = encoded(still, "GIF")
    image = endless.index(b"\x2c", 13)
    endless = endless[:image] + endless[image:-1] * 210_000 + b"\x3b"
    yield Case("very many frames.gif", endless, False, "film")


def _unusual_cuts(data: bytes) -> dict[type[Exception], int]:
    """Where Pillow raises what nobody expects; and in the last frame, in case that it has learnt better."""
    found: dict[type[Exception], int] = {OSError: len(data) - 8}
    for cut in range(len(data) // 4, len(data) - 2):
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data[:cut])) as image:
                for number in range(6):
                    image.seek(number)
                    image.load()
        except (OSError, EOFError):
            continue
        except Exception as error:
            found[type(error)] = cut
    return found


def _documents() -> Iterator[Case]:
    first, *rest = (NOISE.rotate(90 * turn) for turn in range(3))
    whole = encoded(first, "PDF", save_all=True, append_images=rest)
    yield Case("three.pdf#page=2", whole, True, "page", but=NOT_SERVED)
    yield Case("three.pdf#page=4", whole, False, "page", folder=False)
    yield Case("cut.pdf#page=1", whole[:300], False, "page")
    locked = LOCKED.replace(b"OWNER", b"41" * 32).replace(b"USER", b"42" * 32)
    yield Case("locked.pdf#page=1", locked, False, "page")
    none = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
    yield Case("no pages.pdf#page=1", none + b"trailer<</Root 1 0 R/Size 3>>\n%%EOF", False, "page")
    yield Case("forms.pdf#page=1", nested_forms(), False, "page")
    yield Case("words.pdf#page=1", b"no document", False, "page")
    first, *rest = (NOISE.rotate(90 * turn) for turn in range(3))  # Pillow keeps how it saved the others
    scan = encoded(first, "TIFF", save_all=True, append_images=rest)
    yield Case("scan.tif#page=3", scan, True, "page", but=NOT_SERVED)
    yield Case("scan.tif#page=4", scan, False, "page", folder=False)


def _films(scratch: Path) -> Iterator[Case]:
    for suffix, codec in (("mp4", "libx264"), ("webm", "libvpx")):
        whole = write_film(scratch / f"f.{suffix}", frames(8), codec=codec).read_bytes()
        yield Case(f"honest.{suffix}", whole, True, "film")
        yield Case(f"cut.{suffix}", whole[: len(whole) * 6 // 10], False, "film")
        yield Case(f"words.{suffix}", b"no film", False, "film")
        yield Case(f"0 bytes.{suffix}", b"", False, "film")
    yield Case("sound alone.mp4", _sound(scratch / "s.mp4"), False, "film")


def _sound(path: Path) -> bytes:
    import av

    with av.open(str(path), "w") as film:
        stream = film.add_stream("aac", rate=16_000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16_000
        film.mux(stream.encode(sound))
        film.mux(stream.encode())
    return path.read_bytes()
