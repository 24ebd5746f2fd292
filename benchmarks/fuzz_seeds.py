"""Whole files of every format, made by code: what :mod:`benchmarks.fuzz` breaks."""

import io
import json
import tarfile
import zipfile
import zlib
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, PngImagePlugin

__all__ = [
    "archives",
    "avifs",
    "bmps",
    "documents",
    "films",
    "gifs",
    "jpegs",
    "lines",
    "moving",
    "others",
    "parquets",
    "pngs",
    "sheets",
    "tiffs",
    "webps",
    "zips",
]


def drawing(size: tuple[int, int] = (48, 40), seed: int = 0) -> Image.Image:
    """Noise with a circle on it."""
    noise_HWC = np.random.default_rng(seed).integers(0, 60, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise_HWC)
    ImageDraw.Draw(image).ellipse((2, 2, size[0] - 4, size[1] - 4), fill=(200, 40 * seed % 255, 30))
    return image


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x112], tags[0x11A], tags[0x10E] = 6, Fraction(72, 1), "a drawing"
    return tags


def moving(form: str, **options: Any) -> bytes:
    first, *rest = (drawing(seed=number) for number in range(4))
    return encoded(first, form, save_all=True, append_images=rest, duration=50, **options)


def jpegs() -> list[bytes]:
    image = drawing()
    return [
        encoded(image, "JPEG", exif=exif()),
        encoded(image, "JPEG", progressive=True, icc_profile=bytes(200), comment=b"note"),
        encoded(image.convert("L"), "JPEG"),
        encoded(image.convert("CMYK"), "JPEG", restart_marker_blocks=2),
    ]


def pngs() -> list[bytes]:
    image, info = drawing(), PngImagePlugin.PngInfo()
    info.add_text("note", "x" * 300, zip=True)
    clear = image.copy()
    clear.putalpha(image.convert("L"))
    deep = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    return [
        encoded(image, "PNG", pnginfo=info, exif=exif(), icc_profile=bytes(200)),
        encoded(clear, "PNG"),
        encoded(image.quantize(16), "PNG", transparency=3),
        encoded(deep, "PNG"),
        encoded(image.convert("1"), "PNG"),
        moving("PNG"),
    ]


def webps() -> list[bytes]:
    clear = drawing()
    clear.putalpha(drawing(seed=1).convert("L"))
    return [encoded(drawing(), "WEBP", exif=exif()), encoded(clear, "WEBP", lossless=True), moving("WEBP")]


def gifs() -> list[bytes]:
    image = drawing()
    return [
        encoded(image, "GIF"),
        moving("GIF", disposal=2, comment=b"note"),
        encoded(image.quantize(8), "GIF", transparency=2, interlace=1),
    ]


def tiffs() -> list[bytes]:
    first, *rest = (drawing((24, 20), seed) for seed in range(3))
    return [
        encoded(first, "TIFF", exif=exif()),
        encoded(first, "TIFF", compression="tiff_lzw", save_all=True, append_images=rest),
        encoded(first.convert("L"), "TIFF", compression="tiff_adobe_deflate", tiffinfo={317: 2}),
        encoded(first.convert("1"), "TIFF", compression="group4"),
        encoded(first, "TIFF", compression="jpeg"),
        encoded(first, "TIFF", big_tiff=True),
    ]


def bmps() -> list[bytes]:
    image = drawing((24, 20))
    clear = image.copy()
    clear.putalpha(image.convert("L"))
    return [encoded(form, "BMP") for form in (image, clear, image.quantize(16), image.convert("1"), image.convert("L"))]


def avifs() -> list[bytes]:
    clear = drawing((24, 20))
    clear.putalpha(drawing((24, 20), 1).convert("L"))
    return [encoded(drawing((24, 20)), "AVIF", exif=exif(), speed=10), encoded(clear, "AVIF", speed=10)]


def others() -> list[bytes]:
    image = drawing((24, 20))
    return [
        *(encoded(image, "ICO", sizes=[(16, 16), (24, 20)], bitmap_format=kind) for kind in ("png", "bmp")),
        encoded(image, "PPM"),
        encoded(image.convert("1"), "PPM"),
        encoded(image, "JPEG2000"),
        encoded(image.convert("L"), "JPEG2000", no_jp2=True),
    ]


def documents() -> list[bytes]:
    first, *rest = (drawing((24, 20), seed) for seed in range(2))
    text = b"BT /F 9 Tf 2 9 Td (words) Tj ET 0 0 9 9 re f /X Do"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[]>>>>",
        b"<</Type/Pages/Kids[3 0 R 3 0 R]/Count 2>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 40 40]/Contents 4 0 R"
        b"/Resources<</Font<</F 5 0 R>>/XObject<</X 6 0 R>>>>>>",
        b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(zlib.compress(text)), zlib.compress(text)),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Subtype/Form/BBox[0 0 30 30]/Length 12>>stream\n1 1 3 3 re f \nendstream",
    ]
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, each) for number, each in enumerate(objects, 1))
    return [
        encoded(first, "PDF", save_all=True, append_images=rest, resolution=72),
        b"%%PDF-1.5\n%btrailer<</Size 7/Root 1 0 R>>\n%%%%EOF" % body,
    ]


def films(codec: str, container: str) -> list[bytes]:
    found = []
    for count, gap in ((6, 3), (12, 12)):
        file = io.BytesIO()
        with av.open(file, "w", format=container) as film:
            stream: Any = film.add_stream(codec, rate=10, options={"g": str(gap)})
            stream.width, stream.height, stream.pix_fmt = 48, 40, "yuv420p"
            for number in range(count):
                film.mux(stream.encode(av.VideoFrame.from_image(drawing(seed=number))))
            film.mux(stream.encode())
        found.append(file.getvalue())
    return found


ROWS = [{"text": f"crème {number}", "score": number / 3, "tags": ["a", "b"], "image": None} for number in range(20)]


def parquets() -> list[bytes]:
    table = pa.Table.from_pylist([{**row, "blob": bytes(range(9)), "fields": {"a": 1}} for row in ROWS])
    times = pa.table({"when": pa.array([0, 1, 2], pa.timestamp("us", "UTC")), "text": ["a", "b", "c"]})
    found = []
    for each, options in (
        (table, {}),
        (table, {"compression": "zstd", "row_group_size": 7, "use_dictionary": False}),
        (times, {"compression": "none", "data_page_version": "2.0", "store_schema": False}),
    ):
        file = io.BytesIO()
        pq.write_table(each, file, **options)
        found.append(file.getvalue())
    return found


def lines() -> list[bytes]:
    plain = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS[:6])
    escaped = "".join(json.dumps({"text": "\U0001f600", "deep": [[[row]]]}) + "\n" for row in ROWS[:3])
    return [plain.encode(), escaped.encode(), plain.encode("utf-16"), b"\xef\xbb\xbf" + plain.encode()]


def sheets() -> list[bytes]:
    plain = 'text,image,"a b"\n' + "".join(f'"crème, {number}",p{number}.png,"say ""x"""\n' for number in range(6))
    return [plain.encode(), plain.replace("\n", "\r\n").encode("utf-8-sig"), plain.encode("cp1252")]


def archives() -> list[bytes]:
    members = {"a.png": encoded(drawing((8, 8)), "PNG"), "a.txt": b"words", "a.json": b'{"x": [1]}', "b/c.txt": b"more"}
    found = []
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as archive:
            for name, content in members.items():
                member = tarfile.TarInfo(name if form == tarfile.USTAR_FORMAT else f"{'long' * 40}/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        found.append(file.getvalue()[: -8 * 512])  # of the zeros at the end, enough are left
    return found


def zips() -> list[bytes]:
    found = []
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            archive.writestr("images/a.png", encoded(drawing((8, 8)), "PNG"))
            archive.writestr("t.json", json.dumps(ROWS))
            archive.mkdir("empty")
        found.append(file.getvalue())
    return found
