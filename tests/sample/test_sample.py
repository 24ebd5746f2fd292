"""The sample data set: a function of its seed, nothing unseen in training, and clean by our own checks."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from llave.data.check import check_folder
from llave.errors import UserError
from llave.sample import fetch
from llave.sample.build import META_TASKS, build_sample
from llave.sample.emoji import EMOJI

SCALE = 0.12
ROWS = "16bb34679e8df55724f6c9131607c1c065687865f519b0bd5161f397b41a7095"
"""SHA-256 of all rows at this scale: docs/ has figures of this sample, which another domain must leave as it is."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "sample"
    build_sample(out, scale=SCALE, max_queries=60, progress=False)
    return out


def manifest(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "MANIFEST.json").read_text("utf-8"))
    return content


def rows(root: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((root / split).glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            yield path.stem, row


def hexcode(path: str) -> str:
    return Path(path).stem


@pytest.mark.slow
def test_every_byte_is_a_function_of_the_seed(sample: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    build_sample(again, scale=SCALE, max_queries=60, progress=False)
    build_sample(other, scale=SCALE, max_queries=60, progress=False, seed=1)
    assert manifest(sample)["sha256"] == manifest(again)["sha256"]
    assert (sample / "MANIFEST.json").read_bytes() == (again / "MANIFEST.json").read_bytes()
    on_disk = {str(path.relative_to(sample)) for path in sample.rglob("*") if path.is_file()}
    assert on_disk == {*manifest(sample)["sha256"], "MANIFEST.json"}
    assert manifest(other)["unseen"] != manifest(sample)["unseen"]
    assert manifest(other)["sha256"]["train/t2i.parquet"] != manifest(sample)["sha256"]["train/t2i.parquet"]


def test_the_rows_are_those_that_were_published(sample: Path) -> None:
    digest = hashlib.sha256()
    for split in ("train", "eval"):
        for entry in rows(sample, split):
            digest.update(json.dumps(entry).encode())
    assert digest.hexdigest() == ROWS


def test_training_sees_no_unseen_concept_and_no_twemoji(sample: Path) -> None:
    unseen = set(manifest(sample)["unseen"])
    assert len(unseen) > 30
    ood_texts = {row["tgt_text"][0] for name, row in rows(sample, "eval") if name == "i2t_ood"}
    ood_names = {text.split(" (")[0] for text in ood_texts}
    assert len(ood_names) == len(unseen)
    pictures: set[str] = set()
    for name, row in rows(sample, "train"):
        used = {row[key] for key in ("qry_image_path", "pos_image_path", "neg_image_path")} - {""}
        pictures |= used
        assert not any(path.startswith("twemoji/") for path in used)
        assert not unseen & {hexcode(path) for path in used if not path.startswith("scenes/")}
        assert all(path.startswith("scenes/train/") for path in used if path.startswith("scenes/"))
        texts = {row["pos_text"], row["neg_text"]}
        assert not texts & (ood_texts | ood_names), (name, row)
        if name in {"t2i", "grounding"}:
            assert row["qry"].removeprefix("Find: ").split(" (")[0] not in ood_names
    assert any(path.startswith("scenes/train/") for path in pictures)
    # The in-distribution queries are drawings that training never showed.
    held_out = {row["qry_img_path"] for name, row in rows(sample, "eval") if name in {"group", "i2t", "i2i"}}
    assert held_out
    assert not held_out & pictures


def test_rows_are_as_mmeb_wants_them(sample: Path) -> None:
    tasks = json.loads((sample / "benchmark.json").read_text())["tasks"]
    expected = {name + end for name in META_TASKS for end in ("", "_ood")}
    assert set(tasks) == expected == {path.stem for path in (sample / "eval").glob("*.parquet")}
    assert {path.stem for path in (sample / "train").glob("*.parquet")} == set(META_TASKS)
    unseen = set(manifest(sample)["unseen"])
    for name, row in rows(sample, "eval"):
        assert tasks[name] == {
            "meta": META_TASKS[name.removesuffix("_ood")],
            "split": "ood" if name.endswith("_ood") else "ind",
        }
        candidates = list(zip(row["tgt_text"], row["tgt_img_path"], strict=True))
        assert len(candidates) == len(set(candidates)) >= 3
        if name in {"t2i_ood", "i2t_ood"}:
            assert len(candidates) == len(unseen)
        match name.removesuffix("_ood"):
            case "i2i":  # the positive is the same concept by another artist
                positive = row["tgt_img_path"][0]
                assert hexcode(positive) == hexcode(row["qry_img_path"])
                assert Path(positive).parent != Path(row["qry_img_path"]).parent
            case "composed":  # its own drawing must be among the wrong ones, or the text would not matter
                assert row["qry_img_path"] in row["tgt_img_path"][1:]
            case "grounding":
                assert row["tgt_img_path"][0].startswith(row["qry_img_path"].removesuffix(".png") + "-")


def test_the_folder_is_whole(sample: Path) -> None:
    assert check_folder(sample, decode=True) == []
    licences = (sample / "LICENSES.md").read_text()
    for package in EMOJI.packages:
        assert f"| {package.name} | {package.version} | {package.licence} |" in licences
    with Image.open(sample / "contact.png") as sheet:
        sheet.load()
        assert sheet.width > 500
        assert sheet.height > 500
        assert len(sheet.convert("RGB").getcolors(1 << 24) or []) > 100


def test_a_finished_sample_is_kept_and_anything_else_is_refused(sample: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sample.rglob("*")}
    summary = build_sample(sample, scale=SCALE, max_queries=60, progress=False)
    assert {path: path.stat().st_mtime_ns for path in sample.rglob("*")} == before
    assert summary.rows["train/t2i"] == sum(name == "t2i" for name, _ in rows(sample, "train"))
    assert summary.unseen == len(manifest(sample)["unseen"])
    with pytest.raises(UserError, match="a sample with other settings"):
        build_sample(sample, scale=SCALE, max_queries=60, seed=2, progress=False)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not a sample data set"):
        build_sample(tmp_path, progress=False)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_content_that_is_not_the_pinned_one_is_refused(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in npm, first on the path, delivers a changed tarball under the right name."""
    package = min(EMOJI.packages, key=lambda p: (fetch.cache_directory() / "sample" / p.tarball).stat().st_size)
    original = fetch.cache_directory() / "sample" / package.tarball
    changed = tmp_path / "changed.tgz"
    changed.write_bytes(original.read_bytes()[:-1] + b"\0")
    cache = tmp_path / "cache"
    (cache / "sample").mkdir(parents=True)
    for other in EMOJI.packages:
        if other is not package:
            (cache / "sample" / other.tarball).symlink_to(fetch.cache_directory() / "sample" / other.tarball)
    tools = tmp_path / "bin"
    tools.mkdir()
    npm = tools / "npm"
    npm.write_text(f'#!/bin/sh\n{shutil.which("cp")} "{changed}" "./{package.tarball}"\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(UserError, match="not the pinned content; refusing to use it"):
        build_sample(tmp_path / "out", cache=cache, progress=False)
    assert not (cache / "sample" / package.tarball).exists()
    assert not (tmp_path / "out").exists()
    npm.write_text("#!/bin/sh\necho 'npm error network is down' >&2\nexit 1\n")
    with pytest.raises(UserError, match=r"could not fetch .*network is down; check the network"):
        build_sample(tmp_path / "out", cache=cache, progress=False)


@pytest.mark.slow
def test_the_full_sample(tmp_path: Path) -> None:
    out = tmp_path / "sample"
    summary = build_sample(out, progress=False)
    assert summary.unseen >= 300
    assert summary.concepts >= 1600
    assert check_folder(out, decode=True) == []
    for name, count in summary.rows.items():
        if name.startswith("eval/"):
            assert 300 <= count <= 1000, name
    for name, row in rows(out, "eval"):
        if name in {"t2i_ood", "i2t_ood"}:
            assert len(row["tgt_text"]) == summary.unseen
