"""Shards in object storage: those of a folder, whatever happens on the way."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.bulk.manifest import load_manifest, open_manifest
from llave.cli.main import main
from llave.errors import UserError
from llave.storage.location import ObjectPath
from llave.storage.locks import alone
from tests.bulk.test_embed import embed, settings, shards, texts
from tests.storage.server import Fault, new_bucket, running

__all__ = ["texts"]  # a fixture


@pytest.fixture
def out() -> Iterator[ObjectPath]:
    with new_bucket() as bucket:
        yield ObjectPath.parse(f"{bucket}/of us/vectors")


def content(out: ObjectPath) -> dict[str, bytes]:
    names = sorted(found.key for found in (out / "shards").files() if found.key.endswith(".parquet"))
    return {name: (out / "shards" / name).read_bytes() for name in names}


def test_the_shards_of_a_folder(
    out: ObjectPath, texts: Path, tmp_path: Path, nano_untouched: SentenceTransformer
) -> None:
    chosen = settings(texts, nano_untouched)
    here = open_manifest(tmp_path / "here", chosen)
    embed(here, nano_untouched)
    running().faults += [Fault("busy", 3, "PUT"), Fault("cut", 2, "GET", part="parts.jsonl")]
    report = embed(open_manifest(out, chosen), nano_untouched)
    assert (report.vectors, report.errors, report.embedded) == (57, 0, 57)
    assert content(out) == shards(here.out)
    assert {found.key for found in out.files() if not found.key.startswith("shards/")} == {
        "manifest.json", "parts.jsonl", "errors.jsonl",
    }  # fmt: skip
    (out / "shards" / "000002.parquet").unlink()
    (out / "shards" / "000004.parquet").unlink()
    again = embed(open_manifest(out, chosen), nano_untouched, workers=2)
    assert (again.vectors, again.embedded) == (57, 20)
    assert content(out) == shards(here.out)
    assert list(load_manifest(out).parts) == list(here.parts)


@pytest.fixture
def pictures(tmp_path: Path, picture: Callable[[int], Image.Image]) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    for number in range(14):
        picture(number).save(folder / ("deeper" if number % 3 else "") / f"{number:02}.png")
    (folder / "deeper" / "bad.png").write_bytes(b"no picture")
    (folder / "said.txt").write_text("a crab")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_from_a_bucket_to_a_bucket(
    out: ObjectPath, pictures: Path, tmp_path: Path, nano_untouched: SentenceTransformer, engine: str
) -> None:
    here = open_manifest(tmp_path / "here", settings(pictures, nano_untouched, shard_size=6, keep=True))
    embed(here, nano_untouched)
    source = out.with_name("pictures")
    for path in pictures.rglob("*.*"):
        (source / path.relative_to(pictures).as_posix()).upload(path)
    running().faults += [Fault("cut", 3, "GET", part=".png"), Fault("busy", 2, "GET", part=".png")]
    there = open_manifest(out, settings(source, nano_untouched, shard_size=6, keep=True))  # type: ignore[arg-type]
    report = embed(there, nano_untouched, workers=2, **({"engine": "ray"} if engine == "ray" else {}))
    assert (report.vectors, report.errors, report.embedded) == (15, 1, 15)
    rows = [sorted(_rows(content)) for content in (shards(here.out), content(out))]
    assert rows[0] == rows[1]
    (error,) = (out / "errors.jsonl").read_text().splitlines()
    assert json.loads(error)["error"].startswith(f"{source}/deeper/bad.png: ")
    (out / "shards" / "000001.parquet").unlink()
    again = embed(open_manifest(out, there.settings), nano_untouched)
    assert (again.vectors, again.embedded) == (
        15,
        pq.read_metadata(io.BytesIO(content(out)["000001.parquet"])).num_rows,
    )
    (source / "said.txt").unlink()
    with pytest.raises(UserError, match="not what it was when"):
        open_manifest(out, there.settings)


def _rows(shards: dict[str, bytes]) -> Iterator[tuple[Any, ...]]:
    """By name: a bucket lists them in another order than a folder."""
    for shard in shards.values():
        for row in pq.read_table(io.BytesIO(shard)).to_pylist():
            yield row["id"], row["text"], row["kind"], row["fields"], tuple(np.round(row["vector"], 5))


def test_one_process_at_a_time_and_nothing_else_there(
    out: ObjectPath, texts: Path, nano_untouched: SentenceTransformer
) -> None:
    manifest = open_manifest(out, settings(texts, nano_untouched))
    with alone(out), pytest.raises(UserError, match="another process writes there"):
        embed(manifest, nano_untouched)
    with pytest.raises(UserError, match="was begun with prompt"):
        open_manifest(out, settings(texts, nano_untouched, prompt="other"))
    with pytest.raises(UserError, match="holds something else"):
        open_manifest(out.parent, settings(texts, nano_untouched))
    lance = open_manifest(out.with_name("lance"), settings(texts, nano_untouched, format="lance"))
    with pytest.raises(UserError, match="--format lance is for a folder of this machine"):
        embed(lance, nano_untouched)


@pytest.fixture(params=["s3", "gs", "az"])
def anywhere(request: pytest.FixtureRequest) -> Iterator[ObjectPath]:
    with new_bucket(request.param) as bucket:
        yield ObjectPath.parse(f"{bucket}/of us/vectors")


def test_the_command(anywhere: ObjectPath, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = anywhere
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "bad.png").write_bytes(b"broken")
    (tmp_path / "pictures" / "good.txt").write_text("a crab")
    assert main(["embed", "nano", str(tmp_path / "pictures"), "--out", str(out), "--device", "cpu"]) == 1
    told = capsys.readouterr()
    assert f"{out}: 1 vectors of 384 dimensions (float32); 1 embedded now, 0 before" in told.out
    assert f"1 items could not be embedded: {out}/errors.jsonl" in told.err
    assert b"bad.png" in (out / "errors.jsonl").read_bytes()
    local = tmp_path / "one.parquet"
    local.write_bytes((out / "shards" / "000000.parquet").read_bytes())
    assert pq.read_table(local)["id"].to_pylist() == ["good.txt"]
    for file in (tmp_path / "pictures").iterdir():
        (out.with_name("input") / file.name).upload(file)
    words = ["embed", "nano", str(out.with_name("input")), "--out", str(out.with_name("other")), "--device", "cpu"]
    assert main(words) == 1
    assert content(out.with_name("other")) == content(out)
    assert main(words) == 0  # the same input, and its errors were told
    assert "0 embedded now, 1 before" in capsys.readouterr().out
    if out.scheme == "az":
        return
    running().faults.append(Fault("denied"))
    assert main(["embed", "nano", str(texts), "--out", str(out), "--device", "cpu"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
