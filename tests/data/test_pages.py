"""Pages of real PDF documents as pictures."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pypdfium2 as pdfium
import pytest
from PIL import Image

from llave.data.images import load_image
from llave.data.media import media_bytes
from llave.data.pages import count_pages, load_page, page_paths, page_text, split_page
from llave.errors import DataError, UserError
from tests.written_pdf import written_pdf

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
LOCKED = b"""%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>> endobj
4 0 obj <</Filter/Standard/V 1/R 2/P -4/O<OWNER>/U<USER>>> endobj
trailer <</Root 1 0 R/Size 5/Encrypt 4 0 R/ID[<00><00>]>>
%%EOF"""
"""A document whose password is not the empty one."""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """Three pages of 1 x 2 inches, each of one colour."""
    first, *rest = (Image.new("RGB", (72, 144), colour) for colour in COLOURS)
    path = tmp_path / "a b.pdf"
    first.save(path, save_all=True, append_images=rest, resolution=72)
    return path


def near(colour: object, wanted: tuple[int, ...]) -> bool:
    assert isinstance(colour, tuple)
    return all(abs(a - b) < 12 for a, b in zip(colour, wanted, strict=True))


def test_paths_of_pages() -> None:
    assert split_page("a/b.pdf#page=3") == (Path("a/b.pdf"), 3)
    assert split_page(Path("A.PDF#page=12")) == (Path("A.PDF"), 12)
    for plain in ("a.pdf", "a.png#page=3", "a.pdf#page=", "a.pdf#page=-1", "#page=1", "a#page=1.png"):
        assert split_page(plain) == (Path(plain), None)


def test_a_page_is_a_picture(document: Path) -> None:
    for number, colour in enumerate(COLOURS, 1):
        page = load_image(f"{document}#page={number}")
        assert page.size == (144, 288)  # 144 dots per inch
        assert page.mode == "RGB"
        assert near(page.getpixel((70, 140)), colour)
    assert load_image(Path(f"{document}#page=2")).tobytes() == load_page(document, 2).tobytes()
    assert load_page(document, 1, dpi=72).size == (72, 144)


def test_a_large_page_is_drawn_smaller(document: Path, tmp_path: Path) -> None:
    small = load_page(document, 1, max_pixels=5000)
    assert 4500 < small.width * small.height <= 5000
    poster = pdfium.PdfDocument.new()
    poster.new_page(14400, 14400)
    poster.save(tmp_path / "poster.pdf")
    drawn = load_page(tmp_path / "poster.pdf", 1)
    assert 15_000_000 < drawn.width * drawn.height <= 16_000_000
    assert drawn.getpixel((5, 5)) == (255, 255, 255)


def test_what_is_wrong_is_named(document: Path, tmp_path: Path) -> None:
    for page in (0, 4):
        with pytest.raises(DataError, match=rf"a b\.pdf: no page {page}; the document has pages 1 to 3"):
            load_image(f"{document}#page={page}")
    with pytest.raises(DataError, match=r"name a page of it: a b\.pdf#page=1"):
        load_image(document)
    with pytest.raises(DataError, match=r"gone\.pdf: no such document"):
        load_image(tmp_path / "gone.pdf#page=1")
    (tmp_path / "broken.pdf").write_bytes(document.read_bytes()[:200])
    (tmp_path / "text.pdf").write_text("no document")
    for name in ("broken", "text"):
        with pytest.raises(DataError, match=rf"{name}\.pdf: not a PDF"):
            load_page(tmp_path / f"{name}.pdf", 1)
    (tmp_path / "locked.pdf").write_bytes(LOCKED.replace(b"OWNER", b"41" * 32).replace(b"USER", b"42" * 32))
    with pytest.raises(DataError, match=r"locked\.pdf: encrypted"):
        load_page(tmp_path / "locked.pdf", 1)


def test_the_pages_of_a_folder(document: Path, tmp_path: Path) -> None:
    below = tmp_path / "more"
    below.mkdir()
    Image.new("RGB", (9, 9)).save(below / "z.PDF", format="PDF")
    (tmp_path / "notes.txt").write_text("")
    assert page_paths(tmp_path) == [*(f"a b.pdf#page={n}" for n in (1, 2, 3)), "more/z.PDF#page=1"]
    assert all(load_image(tmp_path / path).width for path in page_paths(tmp_path))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none: no PDF in this folder"):
        page_paths(tmp_path / "none")


def test_threads_take_turns(document: Path) -> None:
    numbers = [1, 2, 3] * 20
    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(lambda number: load_page(document, number), numbers))
    for number, page in zip(numbers, pages, strict=True):
        assert near(page.getpixel((70, 140)), COLOURS[number - 1])


def test_keys_tell_pages_apart(document: Path, tmp_path: Path) -> None:
    def key(name: str) -> bytes:
        return b"".join(media_bytes(Path(name)))

    first = key(f"{document}#page=1")
    assert first != key(f"{document}#page=2")
    copy = tmp_path / "copy.pdf"
    copy.write_bytes(document.read_bytes())
    assert key(f"{copy}#page=1") == first
    copy.write_bytes(document.read_bytes() + b"\n%")
    assert key(f"{copy}#page=1") != first


def test_the_text_of_a_page(document: Path, tmp_path: Path) -> None:
    file = written_pdf(tmp_path / "letter.pdf", "Dear Mr Umlaut,", "the invoice of May")
    assert page_text(file, 1, most=100) == "Dear Mr Umlaut,"
    assert page_text(file, 2, most=100) == "the invoice of May"
    assert page_text(file, 2, most=11) == "the invoice"
    assert page_text(document, 1, most=100) == ""  # a scan
    assert page_text(tmp_path / "scan.tiff", 1, most=100) == ""
    with pytest.raises(DataError, match=r"letter\.pdf"):
        page_text(file, 3, most=100)


def test_without_the_extra_the_message_says_what_to_install(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"pip install 'llave\[media\]'"):
        load_image(f"{document}#page=1")


def test_pages_of_a_tiff(tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    first, *rest = (Image.new("RGB", (72, 144), colour) for colour in COLOURS)
    for compression in (None, "tiff_lzw", "jpeg"):
        first.save(scan, save_all=True, append_images=rest, compression=compression)
        assert count_pages(scan) == 3
        for number, colour in enumerate(COLOURS, 1):
            page = load_image(f"{scan}#page={number}")
            assert (page.size, page.mode) == ((72, 144), "RGB")
            assert near(page.getpixel((70, 140)), colour)
        assert near(load_image(scan).getpixel((0, 0)), COLOURS[0])
    with pytest.raises(DataError, match=r"scan\.tif: no page 4; it has pages 1 to 3"):
        load_image(f"{scan}#page=4")
    first.save(scan)
    assert count_pages(scan) == 1


def test_smaller_copies_in_a_tiff_are_no_pages(tmp_path: Path) -> None:
    first, *rest = (Image.new("RGB", (72, 144), colour) for colour in COLOURS)
    for image, kind in zip(rest, (1, 0), strict=True):
        image.encoderinfo = {"tiffinfo": {254: kind}}  # type: ignore[attr-defined]
    first.save(tmp_path / "a.tiff", save_all=True, append_images=rest)
    assert count_pages(tmp_path / "a.tiff") == 2
    assert near(load_image(f"{tmp_path}/a.tiff#page=2").getpixel((0, 0)), COLOURS[2])


def test_a_tiff_whose_directories_go_round(tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    Image.new("L", (4, 4)).save(scan)
    data = bytearray(scan.read_bytes())
    start = int.from_bytes(data[4:8], "little")
    after = start + 2 + 12 * int.from_bytes(data[start : start + 2], "little")
    data[after : after + 4] = data[4:8]
    scan.write_bytes(data)
    assert count_pages(scan) == 1
    for cut in range(0, len(data), 7):
        scan.write_bytes(data[:cut])
        assert count_pages(scan) == 1


@pytest.mark.parametrize("broken", ["the file ends", "an offset out of the file", "a directory of 65,535 entries"])
def test_pages_after_a_broken_directory_are_missed(tmp_path: Path, broken: str) -> None:
    scan = tmp_path / "scan.tif"
    pages = [Image.new("L", (4, 4), shade) for shade in (0, 100, 200)]
    pages[0].save(scan, save_all=True, append_images=pages[1:])
    data = bytearray(scan.read_bytes())
    at, directories = 4, []
    while offset := int.from_bytes(data[at : at + 4], "little"):
        directories.append((at, offset))
        at = offset + 2 + 12 * int.from_bytes(data[offset : offset + 2], "little")
    pointer, third = directories[2]
    if broken == "the file ends":
        del data[third + 5 :]
    elif broken == "an offset out of the file":
        data[pointer : pointer + 4] = b"\xff" * 4
    else:
        data[third : third + 2] = b"\xff" * 2
    scan.write_bytes(data)
    assert count_pages(scan) == 3
    assert load_image(f"{scan}#page=2").getpixel((0, 0)) == (100, 100, 100)
    with pytest.raises(DataError, match=r"scan\.tif.*truncated or corrupt"):
        load_image(f"{scan}#page=3")


def test_a_page_without_end_costs_one_page(document: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.pdf"
    bomb.write_bytes(nested_forms())
    assert count_pages(bomb) == 1
    with pytest.raises(DataError, match=r"bomb\.pdf: more than 0\.5 s of decoding, the limit"):
        load_page(bomb, 1, seconds=0.5)
    assert load_page(document, 1).size == (144, 288)


def nested_forms() -> bytes:
    """A form that draws a form ten times, nine levels deep."""
    parts = ["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>"]
    parts.append("<</Parent 2 0 R/MediaBox[0 0 600 600]/Contents 4 0 R/Resources<</XObject<</F 5 0 R>>>>>>")
    parts.append("<</Length 4>>stream\n/F Do\nendstream")
    for level in range(9):
        deeper = f"/Resources<</XObject<</F {6 + level} 0 R>>>>" if level < 8 else ""
        content = "/F Do " * 10 if level < 8 else "0 0 1 1 re f"
        entries = f"<</Subtype/Form/BBox[0 0 600 600]{deeper}/Length {len(content)}>>"
        parts.append(f"{entries}stream\n{content}\nendstream")
    body = "".join(f"{number} 0 obj\n{part}\nendobj\n" for number, part in enumerate(parts, 1))
    return f"%PDF-1.5\n{body}trailer<</Size {len(parts) + 1}/Root 1 0 R>>\n%%EOF".encode()
