"""Decoded pictures are kept up to a number of bytes, the oldest go first."""

import pickle
from pathlib import Path

import pytest

from llave.data.picture_cache import PictureCache
from llave.errors import DataError
from tests.shapes import make_folder

BYTES = 4 * 48 * 48  # of one of the shapes


def test_kept_until_there_is_no_room(tmp_path: Path) -> None:
    images = make_folder(tmp_path) / "images"
    red, blue, green = (images / f"{colour}_bar.png" for colour in ("red", "blue", "green"))
    cache = PictureCache(2 * BYTES)
    first, second = cache.load(red), cache.load(blue)
    assert cache.load(red) is first  # now the newer of the two
    cache.load(green)
    assert cache.load(red) is first
    assert cache.load(blue) is not second
    assert pickle.loads(pickle.dumps(cache)).max_bytes == 2 * BYTES
    red.unlink()
    with pytest.raises(DataError, match="no such picture"):
        PictureCache(0).load(red)
