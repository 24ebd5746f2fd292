"""What a picture looks like, so that a copy of it is known that was made smaller, or compressed once more.

A *look* is 12x12 cells of brightness and 4x4 of each colour, and the detail: what 32x32 cells of brightness have beyond
their neighbours. Two pictures are near if no cell differs by more than a limit, and their details correlate: the first
tells apart what differs in one place or in colour alone, as a perceptual hash does not; the second tells apart pages of
text, which are alike in the large. A mean of cells differs by no more than they do, so that a k-d tree of such means
finds all candidates (:class:`NearLooks`), and there is no list of all pairs.

The usual 64-bit perceptual hash (pHash) is said beside it: on small symmetrical pictures its bits turn over by
themselves, so that nothing is decided by it (docs/sort.md).
"""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree

from llave.errors import UserError

__all__ = ["NEAR", "Looks", "NearLooks"]

NEAR = 20
"""Of 255: how much a cell of a copy differs at most."""
DETAIL = 0.65
"""How much the details of a copy correlate at least."""
ASPECT = 1.06
"""By how much width to height may differ, as rounding makes them."""
FLAT = 3.0
"""Of 255: a picture without more detail than this is of one colour, or a gradient, and says nothing."""
BRIGHT, COLOUR, FINE = 12, 4, 32
BILINEAR = Image.Resampling.BILINEAR


class Looks:
    """The looks of pictures, by their places.

    Args:
        count: of places; one that nothing is added to has no look.
    """

    def __init__(self, count: int) -> None:
        self.there = np.zeros(count, bool)
        self.flat = np.zeros(count, bool)
        self.aspect_N = np.ones(count, np.float32)
        self.tone_NC = np.zeros((count, BRIGHT**2 + 2 * COLOUR**2), np.uint8)
        self.detail_NF = np.zeros((count, FINE**2), np.int8)
        self.hash_N = np.zeros(count, np.uint64)

    def add(self, place: int, encoded: bytes) -> None:
        """The look of an encoded picture.

        Raises:
            UserError: the package imagehash is not installed.
        """
        try:
            from imagehash import phash
        except ImportError:
            raise UserError("near duplicates need the package imagehash: pip install 'llave[search]'") from None
        with Image.open(io.BytesIO(encoded)) as opened:
            image = opened.convert("RGB")
        self.there[place] = True
        self.aspect_N[place] = image.width / image.height
        brightness, *colours = image.convert("YCbCr").split()
        cells = [np.asarray(brightness.resize((BRIGHT, BRIGHT), BILINEAR)).ravel()]
        cells += [np.asarray(each.resize((COLOUR, COLOUR), BILINEAR)).ravel() for each in colours]
        self.tone_NC[place] = np.concatenate(cells)
        fine_FF = np.asarray(brightness.resize((FINE, FINE), BILINEAR), np.float32)
        detail_F = (fine_FF - uniform_filter(fine_FF, 3, mode="nearest")).ravel()
        most = float(np.abs(detail_F).max())
        self.flat[place] = most < FLAT
        self.detail_NF[place] = np.round(detail_F * (127 / max(most, FLAT)))
        self.hash_N[place] = np.packbits(phash(image).hash.ravel()).view(np.uint64)[0]

    def difference(self, one: int, others: NDArray[np.intp]) -> NDArray[np.int64]:
        """The largest of a cell (M,), of 255, from a picture to others."""
        there_MC = self.tone_NC[others].astype(np.int16)
        largest_M: NDArray[np.int64] = np.abs(there_MC - self.tone_NC[one]).max(axis=1).astype(np.int64)
        return largest_M

    def alike(self, one: int, others: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether shape and detail (M,) are those of a copy, whatever the cells; never of what is flat."""
        detail_MF, own_F = self.detail_NF[others].astype(np.float32), self.detail_NF[one].astype(np.float32)
        norms_M = np.linalg.norm(detail_MF, axis=1) * np.linalg.norm(own_F)
        detailed_M = detail_MF @ own_F >= DETAIL * np.maximum(norms_M, 1e-9)
        ratio_M = self.aspect_N[others] / self.aspect_N[one]
        usable_M = self.there[others] & ~self.flat[others] & bool(self.there[one] & ~self.flat[one])
        shaped_M: NDArray[np.bool_] = usable_M & detailed_M & (np.maximum(ratio_M, 1 / ratio_M) <= ASPECT)
        return shaped_M

    def hash_distance(self, one: int, other: int) -> int:
        """Bits, of 64, in which the perceptual hashes differ."""
        return int(np.bitwise_count(self.hash_N[one] ^ self.hash_N[other]))


class NearLooks:
    """Which pictures are near to one.

    Args:
        looks: of all.
        most: that a cell may differ, of 255.
    """

    def __init__(self, looks: Looks, most: float = NEAR) -> None:
        self._looks, self._most = looks, most
        self._usable = np.flatnonzero(looks.there & ~looks.flat)
        self._mean_NM = _means(looks.tone_NC)
        self._tree = cKDTree(self._mean_NM[self._usable]) if len(self._usable) else None

    def __call__(self, places: Sequence[int]) -> list[NDArray[np.intp]]:
        """Places of the pictures that are near, for each."""
        return [self._of(place) for place in places]

    def _of(self, place: int) -> NDArray[np.intp]:
        if self._tree is None or self._looks.flat[place] or not self._looks.there[place]:
            return np.zeros(0, np.intp)
        found = self._tree.query_ball_point(self._mean_NM[place], self._most + 1e-6, p=np.inf)
        near_M = self._usable[np.asarray(found, np.intp)]
        near_M = near_M[self._looks.difference(place, near_M) <= self._most]
        return near_M[self._looks.alike(place, near_M)]


def _means(tone_NC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Of 3x3 parts of the brightness, and of each colour: (N, 11)."""
    bright_N = tone_NC[:, : BRIGHT**2].reshape(-1, 3, BRIGHT // 3, 3, BRIGHT // 3).mean(axis=(2, 4), dtype=np.float32)
    colour_N = tone_NC[:, BRIGHT**2 :].reshape(-1, 2, COLOUR**2).mean(axis=2, dtype=np.float32)
    return np.concatenate([bright_N.reshape(len(tone_NC), -1), colour_N], axis=1)
