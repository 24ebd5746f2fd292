"""Decoded pictures, kept as long as there is room."""

from collections import OrderedDict

from PIL import Image

from llave.data.training_pictures import load_picture
from llave.storage.location import Location

__all__ = ["PictureCache"]


class PictureCache:
    """The pictures used last, up to a number of bytes; pickles empty.

    Args:
        max_bytes: of the decoded pictures together (Pillow takes 4 for a pixel in RGB).
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._bytes = 0
        self._pictures: OrderedDict[Location, Image.Image] = OrderedDict()

    def __reduce__(self) -> tuple[type["PictureCache"], tuple[int]]:
        return PictureCache, (self.max_bytes,)

    def load(self, path: Location) -> Image.Image:
        """The picture, decoded now or before.

        Raises:
            DataError: as :func:`llave.data.training_pictures.load_picture`.
        """
        picture = self._pictures.pop(path, None)
        if picture is None:
            picture = load_picture(path)
            self._bytes += _size(picture)
        self._pictures[path] = picture
        while self._bytes > self.max_bytes:
            self._bytes -= _size(self._pictures.popitem(last=False)[1])
        return picture


def _size(picture: Image.Image) -> int:
    return 4 * picture.width * picture.height
