"""Sounds in a bulk run."""

from pathlib import Path

import pytest

from llave.bulk.manifest import Settings, open_manifest
from llave.bulk.run import embed_collection
from llave.collection.collection import Columns
from llave.errors import UserError
from llave.models.model import EmbeddingModel
from tests.sounds import tone, write_sound


def test_bulk(hearing_model: EmbeddingModel, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_sound(tmp_path / "in" / "a.wav", tone(0.2))
    (tmp_path / "in" / "broken.wav").write_text("no sound")
    settings = Settings(
        input=str(tmp_path / "in"),
        columns=Columns(),
        model="x",
        fingerprint="x",
        prompt="",
        num_frames=8,
        shard_size=8,
        dimensions=24,
        precision="float32",
        format="parquet",
        keep=True,
        sounds=True,
    )
    report = embed_collection(open_manifest(tmp_path / "out", settings), hearing_model, progress=False)
    assert (report.vectors, report.errors, report.cut_sounds) == (1, 1, 0)
    with pytest.raises(UserError, match=r"nothing to embed \(left out: 2 \.wav \(this model takes no sounds\)\)"):
        open_manifest(tmp_path / "other", Settings(**{**vars(settings), "sounds": False}))
