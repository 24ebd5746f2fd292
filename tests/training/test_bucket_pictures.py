"""Pictures that stay in a bucket: the weights of a run that has them here, and nothing of them on the disk."""

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from llave.cli.main import main
from llave.data.cache import cache_directory
from llave.storage.location import ObjectPath
from tests.models.tiny_backbones import build
from tests.shapes import make_folder
from tests.storage.server import Fault, new_bucket, running

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket() -> Iterator[ObjectPath]:
    with new_bucket() as made:
        yield ObjectPath.parse(f"{made}/pictures")


@pytest.fixture
def data(tmp_path: Path, bucket: ObjectPath) -> Path:
    """A folder whose pictures are here and there; ``tables`` beside it has none."""
    folder = make_folder(tmp_path / "data")
    for path in (folder / "images").rglob("*.*"):
        (bucket / path.relative_to(folder / "images").as_posix()).upload(path)
    shutil.copytree(folder / "train", tmp_path / "tables" / "train")
    return folder


def words(data: Path, output: Path, *more: str) -> list[str]:
    return ["train", "--data", str(data), "--batch_size", "8", "--max_steps", "3", "--output", str(output), *more]


@pytest.mark.parametrize("model", ["nano", "llava_onevision"])
def test_the_weights_are_those_of_pictures_here(data: Path, bucket: ObjectPath, tmp_path: Path, model: str) -> None:
    if model != "nano":
        build(model, tmp_path)
    options = ("--model", model if model == "nano" else str(tmp_path / model))
    assert main(words(data, tmp_path / "here", *options)) == 0
    running().faults += [Fault("cut", 2, "GET", part=".png"), Fault("busy", 2, "GET")]
    before = set(cache_directory().rglob("*.png"))
    assert main(words(tmp_path / "tables", tmp_path / "there", "--images", str(bucket), *options)) == 0
    assert set(cache_directory().rglob("*.png")) == before
    here, there = (load_file(tmp_path / name / "model.safetensors") for name in ("here", "there"))
    assert all((here[name] == there[name]).all() for name in here)


def test_the_weights_are_those_of_archives(data: Path, bucket: ObjectPath, tmp_path: Path) -> None:
    """Pairs of tar archives, the pictures read where they lie in a bucket, beside the same pictures as files."""
    pictures = sorted((data / "images").rglob("*.png"))[:24]
    plain = tmp_path / "plain"
    (plain / "train").mkdir(parents=True)
    for number in range(2):
        with tarfile.open(tmp_path / f"part-{number}.tar", "w") as archive:
            for path in pictures[number::2]:
                text = tmp_path / f"{path.stem}.txt"
                text.write_text(f"the picture {path.stem}")
                archive.add(path, f"{path.stem}.png")
                archive.add(text, f"{path.stem}.txt")
        (bucket / f"part-{number}.tar").upload(tmp_path / f"part-{number}.tar")
    assert main(["data", "pairs", f"{bucket}/part-*.tar", str(tmp_path / "listed")]) == 0
    for name in ("pairs_t2i", "pairs_i2t"):
        rows = pq.read_table(tmp_path / "listed" / "train" / f"{name}.parquet").to_pylist()
        stems = [(row["qry"] if name == "pairs_t2i" else row["pos_text"]).rpartition(" ")[2] for row in rows]
        column = "pos_image_path" if name == "pairs_t2i" else "qry_image_path"
        files = {path.stem: str(path) for path in pictures}
        plain_rows = [{**row, column: files[stem]} for row, stem in zip(rows, stems, strict=True)]
        pq.write_table(pa.Table.from_pylist(plain_rows), plain / "train" / f"{name}.parquet")
    build("llava_onevision", tmp_path)  # nano's pictures are standardised in the order of their names, here another one
    model = ("--model", str(tmp_path / "llava_onevision"), "--workers", "2")
    assert main(words(plain, tmp_path / "here", *model)) == 0
    assert main(words(tmp_path / "listed", tmp_path / "there", "--images", str(bucket), *model)) == 0
    here, there = (load_file(tmp_path / name / "model.safetensors") for name in ("here", "there"))
    assert all((here[name] == there[name]).all() for name in here)


def test_a_picture_costs_its_rows_and_an_outage_ends_the_run(
    data: Path, bucket: ObjectPath, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del data
    names = sorted(found.key for found in bucket.files())
    (bucket / names[0]).unlink()
    running().faults.append(Fault("denied", method="GET", part=names[1]))
    output = tmp_path / "run"
    run = words(tmp_path / "tables", output, "--images", str(bucket), "--workers", "0")
    assert main(run) == 0
    left_out = json.loads((output / "run.json").read_text())["skipped"]
    reasons = {row["reason"] for row in left_out}
    assert any(f"{bucket}/{names[0]}: no such object" in reason for reason in reasons)
    assert any(f"{bucket}/{names[1]}: access denied" in reason for reason in reasons)
    capsys.readouterr()
    running().faults += [Fault("denied", method="GET")]
    assert main(words(tmp_path / "tables", tmp_path / "other", "--images", str(bucket))) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "access denied" in line
    running().faults.clear()
    teacher = ("--loss.teacher", "nano", "--loss.teacher_margin", "0.0")
    assert main(words(tmp_path / "tables", tmp_path / "taught", "--images", str(bucket), *teacher)) == 2
    assert "pictures in a bucket are read by training alone" in capsys.readouterr().err
    assert not (tmp_path / "taught" / "model.safetensors").exists()
