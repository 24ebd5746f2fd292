"""The animated emoji beside the sample: the sample's split, files as published, the sixteen data sets untouched."""

import base64
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from llave.cli.main import main
from llave.data.check import check_folder
from llave.data.video import load_video
from llave.errors import UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.sample import fetch
from llave.sample.animated import add_animated, write_animated
from llave.sample.build import build_sample
from llave.sample.domain import Concept
from llave.sample.emoji import EMOJI
from llave.sample.fetch import Package

SETTINGS = {"seed": 0, "max_queries": 8}


def concept(code: str, label: str, *variants: str) -> Concept:
    return Concept(code, label, ("tag",), "group", "subgroup", ("noto",), (code, *variants))


CONCEPTS = [concept(f"1f98{digit}", f"animal {digit}") for digit in "0123456789"]
CONCEPTS += [concept("1f9d1", "person", "1f468"), concept("1f680", "rocket"), concept("1f681", "copter")]
UNSEEN = {"1f981", "1f983", "1f985", "1f680"}


def webp(grey: int, frames: int) -> bytes:
    pictures = [Image.new("RGB", (16, 16), (grey, 10 * place, 0)) for place in range(frames)]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "WEBP", save_all=True, append_images=pictures[1:], duration=40, lossless=True)
    return buffer.getvalue()


def pack(path: Path, files: dict[str, bytes]) -> Package:
    """A package as npm delivers it, with its integrity."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/assets/{name}.webp")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    integrity = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    return Package(path.name.removesuffix("-1.0.0.tgz"), "1.0.0", integrity, "MIT", "this test")


@pytest.fixture
def packages(tmp_path: Path) -> dict[Package, Path]:
    """Two packages; 1f680 and 1f681 share a file, 1f989 stands still, only a variant of the person moves."""
    one = {f"1F98{digit}": webp(20 * int(digit), 3) for digit in "01234"}
    two = {f"1f98{digit}": webp(20 * int(digit), 3) for digit in "5678"}
    two |= {"1f989": webp(1, 1), "1f468-fe0f": webp(255, 4), "1f680": webp(77, 2), "1f681": webp(77, 2)}
    paths = [tmp_path / "one-1.0.0.tgz", tmp_path / "two-1.0.0.tgz"]
    return {pack(path, files): path for path, files in zip(paths, (one, two), strict=True)}


def test_rows_follow_the_split(packages: dict[Package, Path], tmp_path: Path) -> None:
    out = tmp_path / "animated"
    summary = write_animated(out, packages, CONCEPTS, unseen=UNSEEN, settings=SETTINGS)
    assert (summary.concepts, summary.unseen) == (10, 3)
    assert summary.rows == {"t2v": 7, "v2t": 7, "t2v_ood": 3, "v2t_ood": 3}
    assert check_folder(out, progress=False) == []
    captions = {c.caption: c.key for c in CONCEPTS}
    for task in get_benchmark(str(out)).tasks:
        unseen = task.name.endswith("_ood")
        assert (task.meta_task, task.split) == ("retrieval", "ood" if unseen else "ind")
        for row in task.rows():
            codes = [Path(item.video).stem if item.video else captions[item.text] for item in row.candidates]
            text = row.query.text.removeprefix("Find the video: ")
            assert codes[0] == (captions[text] if not row.query.video else Path(row.query.video).stem)
            assert len(set(codes)) == len(codes) == (3 if unseen else 7)  # each query faces all of them
            assert all((code in UNSEEN) == unseen for code in codes)
    films = out / "videos" / "fluent"
    assert (films / "1f983.webp").read_bytes() == webp(60, 3)  # as published
    assert len(load_video(films / "1f9d1.webp")) == 4
    assert {path.stem for path in films.iterdir()}.isdisjoint({"1f680", "1f681", "1f989"})
    assert "| this test | two | 1.0.0 | MIT |" in (out / "LICENSES.md").read_text()
    before = (out / "MANIFEST.json").read_bytes()
    write_animated(out, packages, CONCEPTS, unseen=UNSEEN, settings=SETTINGS)
    assert (out / "MANIFEST.json").read_bytes() == before  # a function of its inputs
    few = write_animated(out, packages, CONCEPTS, unseen=UNSEEN, settings={"seed": 0, "max_queries": 2})
    assert few.rows == {"t2v": 2, "v2t": 2, "t2v_ood": 2, "v2t_ood": 2}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "sample"
    build_sample(out, scale=0.05, progress=False)
    return out


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of its own that has the sample's packages and no animations."""
    folder = tmp_path / "cache" / "sample"
    folder.mkdir(parents=True)
    for package in EMOJI.packages:
        (folder / package.tarball).symlink_to(fetch.cache_directory() / "sample" / package.tarball)
    return folder.parent


@pytest.mark.slow
def test_a_sample_gets_it_without_being_rebuilt(sample: Path, cache: Path, tmp_path: Path) -> None:
    about = json.loads((sample / "MANIFEST.json").read_text())
    seen = {path.stem for path in (sample / "images" / "noto").iterdir()} - set(about["unseen"])
    codes = [*sorted(about["unseen"])[:5], *sorted(seen)[:9], "1f4a9-1f4a9"]
    package = pack(cache / "sample" / "own-1.0.0.tgz", {code: webp(15 * place, 3) for place, code in enumerate(codes)})
    before = {path: path.stat().st_mtime_ns for path in sample.rglob("*") if path.is_file()}
    summary = add_animated(sample, packages=[package], cache=cache)
    assert (summary.concepts, summary.unseen) == (14, 5)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert add_animated(sample, packages=[package], cache=tmp_path / "none") == summary  # kept, and nothing is fetched
    rows = pq.read_table(sample / "animated" / "eval" / "t2v_ood.parquet").to_pylist()
    assert {Path(video).stem for row in rows for video in row["tgt_video_path"]} == set(codes[:5])
    described = json.loads((sample / "benchmark.json").read_text())["tasks"]
    assert [task.name for task in get_benchmark(str(sample)).tasks] == list(described)
    assert len(described) == 16  # what `--benchmark SAMPLE` means is what it was
    (tmp_path / "other" / "animated").mkdir(parents=True)
    with pytest.raises(UserError, match="not made by `llave data sample`"):
        add_animated(tmp_path / "other", packages=[package])


def test_offline_the_sample_is_there_and_one_line_says_what_is_not(
    sample: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stand-in npm, first on the path, that cannot reach the registry."""
    plain = tmp_path / "plain"
    shutil.copytree(sample, plain, ignore=shutil.ignore_patterns("animated"))
    content = json.loads((plain / "MANIFEST.json").read_text())
    content["settings"]["scale"] = 1.0  # the command has no flag for small copies
    (plain / "MANIFEST.json").write_text(json.dumps(content))
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\necho 'npm error network is down' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent))
    assert main(["data", "sample", "--out", str(plain), "--cache", str(cache), "--animated", "1"]) == 0
    said = capsys.readouterr()
    assert "plain: " in said.out
    assert said.err.count("\n") == 1
    assert "no animations: npm could not fetch @lobehub/fluent-emoji-anim-1@1.0.0" in said.err
    assert not (plain / "animated").exists()
    assert main(["data", "sample", "--out", str(plain), "--animated", "5"]) == 2
    assert "there are 4 packages of animations, not 5" in capsys.readouterr().err
