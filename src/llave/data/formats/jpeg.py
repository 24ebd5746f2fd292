"""JPEG: its segments up to the first scan, and how many scans there are."""

import re

import numpy as np

from llave.data.formats.structure import Structure, Unreadable, cut_off, without
from llave.data.orientation import exif_orientation, xmp_orientation

__all__ = ["MAX_SCANS", "read"]

MAX_SCANS = 100
"""A progressive picture has some ten; each scan can make the decoder go over all pixels."""
MAX_SEGMENTS = 4096
FEW = 12  # scans that are not worth counting exactly
SOS, EOI = 0xDA, 0xD9
FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
BARE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a length."""
PIXELS = {0xE0, 0xEE}
"""Of the application's segments, JFIF's and Adobe's say how colours are stored. All others are metadata."""
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
MARKER = re.compile(rb"\xff[\x01-\xcf\xd9-\xfe]")
"""Any that ends a scan's data: neither a stuffed zero nor a restart."""


def read(data: bytes) -> Structure:
    """The first picture of the file.

    Raises:
        Unreadable: no frame, or more segments or scans than a picture has.
    """
    at, segments = 2, 0
    width = height = components = 0
    progressive = False
    exif = xmp = None
    dropped: list[tuple[int, int]] = []
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        kind = data[at + 1]
        if kind in (0x00, 0xFF) or kind in BARE:  # padding, junk
            at += 1 if kind == 0xFF else 2
            continue
        if kind in (SOS, EOI):
            break
        if at + 4 > len(data):
            break
        segments += 1
        if segments > MAX_SEGMENTS:
            raise Unreadable(f"more than {MAX_SEGMENTS:,} segments before the picture, the limit for a JPEG")
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if kind in FRAMES and at + 9 <= len(data):
            found = int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
            if found[0] * found[1] >= width * height:
                width, height = found
            components, progressive = data[at + 9] if at + 9 < len(data) else 0, kind in PROGRESSIVE
        elif kind == 0xE1 and exif is None and data.startswith(EXIF, at + 4):
            exif = exif_orientation(data[at + 4 : end])
        elif kind == 0xE1 and xmp is None and data.startswith(XMP, at + 4):
            xmp = xmp_orientation(data[at + 4 : end])
        if (0xE0 <= kind <= 0xEF and kind not in PIXELS) or kind == 0xFE:
            dropped.append((at, min(end, len(data))))
        at = max(end, at + 2)
    if not width:
        raise cut_off("JPEG")
    return Structure(
        format="JPEG",
        width=width,
        height=height,
        data=without(data, dropped),
        orientation=exif or xmp or 1,
        passes=1 if at < 0 or (not progressive and data[at + 4 : at + 5] == bytes([components])) else _scans(data, at),
    )


def _scans(data: bytes, start: int) -> int:
    """At most this many, from the first one on; exact where they are many."""
    bytes_N = np.frombuffer(data, np.uint8, offset=start)
    few = int(np.count_nonzero((bytes_N[:-1] == 0xFF) & (bytes_N[1:] == SOS)))  # several times as fast as bytes.count
    if few <= FEW:
        return max(few, 1)
    scans = 0
    while found := MARKER.search(data, start):
        kind, start = data[found.start() + 1], found.start() + 2
        if kind == EOI:  # what follows is not this picture: a gain map, a film
            break
        scans += kind == SOS
        if scans > MAX_SCANS:
            raise Unreadable(f"more than {MAX_SCANS} scans, the limit for a JPEG; save the picture anew")
        if kind not in BARE:
            start += int.from_bytes(data[start : start + 2], "big")
    return max(scans, 1)
