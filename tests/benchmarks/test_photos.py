"""The benchmark of photos: its ways to vectors agree."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.photo_folder import captions, write_model, write_photos
from benchmarks.photos import INFINITY, NEAR, PLAIN, _check, _least_cosine
from benchmarks.photos_peer import WAYS
from llave.errors import UserError

TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), TINY, vocabulary=64, side=32)


def test_the_ways_have_the_same_vectors(model: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", [(96, 64), (64, 96), (50, 50)])
    inputs = {"pictures": [str(path) for path in photos], "texts": captions(5)}
    ours, plain = (WAYS[name](str(model)) for name in ("llave", PLAIN))
    for kind, given in inputs.items():
        assert _least_cosine(ours(kind, given), plain(kind, given)) > NEAR
    vector_ND = ours("pictures", inputs["pictures"])
    _check({("llave", "pictures"): 1.0, (INFINITY, "texts"): 0.5}, vector_ND)
    with pytest.raises(UserError, match="vectors differ"):
        _check({("llave", "texts"): 0.9}, vector_ND)
    with pytest.raises(UserError, match="same vector"):
        _check({}, np.stack([vector_ND[0], vector_ND[0]]))


def test_the_photos_are_the_same_every_time(tmp_path: Path) -> None:
    one, other = (write_photos(tmp_path / name, [(64, 48)] * 2) for name in ("one", "other"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]
    assert one[0].read_bytes() != one[1].read_bytes()
    assert len(set(captions(200))) == 200
