"""The parts of a run: read when they are asked for, and never all in memory."""

import tracemalloc
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from benchmarks.manifest import Simulated
from llave.bulk import manifest
from llave.bulk.manifest import load_manifest, open_manifest
from llave.bulk.part_lines import Lines, PartLines
from llave.errors import UserError
from tests.bulk.test_embed import settings


def test_a_large_manifest_takes_the_memory_of_a_part(
    tmp_path: Path, nano_untouched: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """300,000 names are 20 MB as text and 30 in memory; a part of 4,096 is half of one."""
    items = 300_000
    monkeypatch.setattr(manifest, "open_collection", lambda *_, **__: Simulated(items))
    chosen = settings(tmp_path, nano_untouched, shard_size=4096)
    tracemalloc.start()
    try:
        planned = open_manifest(tmp_path / "out", chosen)
        again = open_manifest(tmp_path / "out", chosen)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5e6
    assert len(planned.parts) == len(again.parts) == -(-items // 4096)
    assert planned.parts[-1]["files"][-1] == f"folder {(items - 1) % 1000}/picture {items - 1:08}.jpg"
    assert list(load_manifest(tmp_path / "out").parts[1:3]) == list(Simulated(items).parts(4096))[1:3]
    items -= 1
    with pytest.raises(UserError, match="not what it was"):
        open_manifest(tmp_path / "out", chosen)


def test_odd_names_come_back(tmp_path: Path) -> None:
    parts = [{"files": ["a\nb", "ä 漢 \udcff"]}, {"files": []}, {"files": ["c"] * 3}]
    lines = b"".join(Lines(parts))
    (tmp_path / "parts.jsonl").write_bytes(lines)
    found = PartLines(tmp_path / "parts.jsonl")
    assert list(found) == parts
    with pytest.raises(IndexError):
        found[3]
