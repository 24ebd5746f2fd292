"""One rule for what the numbers of a picture look like, whichever file, array or library they come from.

The rule sees the picture's mode and values alone, never its file, so that a picture that a user opened and the file
that it came from give one vector.

- **Transparency** (RGBA, LA, PA, premultiplied RGBa and La, a palette's or a colour's) is laid on white.
- **Deep grey** (16 and 32 bits) is read in the smallest of 8, 10, 12, 14 and 16 bits that holds it.
- **Fractions** are read as 0..1, or like deep grey where they go beyond.
- What fits no such range (negative, over 65,535, fractions that fill less than a quarter of theirs) is stretched from
  its least to its greatest value.
- One value in 1,024 at either end is not counted when the range is sought: a hot pixel does not turn the rest black. It
  becomes white or black, as does what is infinite; what is no number is black.
- **Lab** goes through its profile; CMYK, YCbCr, HSV and 1-bit as Pillow converts them, without colour management.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

__all__ = ["to_rgb"]

RANGES = (255, 1023, 4095, 16383, 65535)
OUTLIERS = 1024  # one value in so many
FEW = 256  # values, of which none is an outlier
ABSENT = 1e30
"""A number this far from zero marks a missing pixel (geographers write -3.4e38)."""


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of any Pillow mode, by the rule above. The picture itself where it is that already."""
    clear = image.info.get("transparency")
    if image.mode == "RGB" and clear is None:
        return image
    if image.mode.startswith(("I", "F")):  # Pillow's own conversion clips these at 255, leaving white
        values = np.asarray(image)
        grey = _grey(values)
        if isinstance(clear, int | float):
            grey[values == clear] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
        assert converted is not None  # not in place
        return converted
    if image.mode in {"La", "RGBa"}:
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode in {"RGBA", "LA", "PA"} or clear is not None:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _grey(values_HW: NDArray[Any]) -> NDArray[np.uint8]:
    """0 to 255, (H, W), of integers or fractions."""
    whole = values_HW.dtype.kind in "iu"
    values: NDArray[Any] = values_HW.astype(np.float64 if values_HW.dtype.itemsize > 2 else np.float32)
    known = values.ravel() if whole else values[np.abs(values) < ABSENT]  # nor what is no number
    if not known.size:
        return np.where(values > 0, 255, 0).astype(np.uint8)
    aside = max(1, known.size // OUTLIERS) if known.size >= FEW else 0
    ordered = np.partition(known, (aside, known.size - 1 - aside))
    low, high = float(ordered[aside]), float(ordered[-1 - aside])
    start, end = _range(low, high, whole)
    with np.errstate(invalid="ignore", over="ignore"):
        scaled: NDArray[Any] = np.clip((values - start) * (255.0 / (end - start)), 0, 255).round()
    grey_HW: NDArray[np.uint8] = np.nan_to_num(scaled, nan=0.0).astype(np.uint8)
    return grey_HW


def _range(low: float, high: float, whole: bool) -> tuple[float, float]:
    """The values that become black and white."""
    ranges = RANGES if whole else (1, *RANGES)
    holding = next((most for most in ranges if high <= most), None)
    fills = holding is not None and (high > holding / 4 or (holding == RANGES[0] and whole))
    if holding is not None and low >= 0 and (fills or low == high):
        return 0, holding
    return (low, high) if low < high else (low, low + 1)
