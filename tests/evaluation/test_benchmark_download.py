"""`llave data download mmeb-v2 | mmeb` from copies of the repositories: complete, checked, repeatable, safe."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from llave.cli.main import main
from llave.data.untar import unpack_tar
from llave.errors import DataError
from llave.evaluation.benchmarks import get_benchmark, get_spec
from tests.evaluation.mmeb_tree import build_v1, build_v2


def _files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The repositories of MMEB-V2 as they are at the hub, and the folder that their download must become."""
    root = tmp_path_factory.mktemp("hub")
    tree, hub = root / "tree", root / "hub"
    build_v2(tree)
    shutil.copytree(tree / "rows", hub)
    bundle = hub / "TIGER-Lab" / "MMEB-V2"
    frames = bundle / "video-tasks" / "frames"
    frames.mkdir(parents=True)
    (bundle / "image-tasks").mkdir()
    with tarfile.open(bundle / "image-tasks" / "mmeb_v1.tar.gz", "w:gz") as archive:
        archive.add(tree / "image-tasks", "MMEB")
    for name, inside in (("video_cls", ""), ("video_ret", ""), ("video_mret", "video_mret"), ("video_qa", "video_qa")):
        with tarfile.open(frames / f"{name}.tar.gz", "w:gz") as archive:
            archive.add(tree / "video-tasks" / "frames" / name, inside)
    whole = (frames / "video_qa.tar.gz").read_bytes()
    step = len(whole) // 5 + 1
    for part in range(5):
        (frames / f"video_qa.tar.gz-{part:02d}").write_bytes(whole[part * step : (part + 1) * step])
    return hub, tree


def test_all_of_mmeb_v2_from_a_copy(hub: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, tree = hub
    out = tmp_path / "out"
    shutil.copytree(tree / "video-tasks" / "videos", out / "video-tasks" / "videos")  # films that one has already
    command = ["data", "download", "mmeb-v2", "--out", str(out), "--source", str(source)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.count(": ready") == 78
    assert f"llave eval MODEL --benchmark mmeb-v2 --root {out}" in said
    assert len(get_benchmark("mmeb-v2", root=out).tasks) == 78
    for folder in ("rows", "image-tasks", "video-tasks/frames"):
        wanted = _files(tree / folder)
        found = {name: content for name, content in _files(out / folder).items() if ".llave-download" not in name}
        assert set(wanted) <= set(found)
        assert all(found[name] == content for name, content in wanted.items())
    changed = out / "image-tasks" / "0.png"
    before = changed.stat().st_mtime_ns
    assert main(command) == 0  # nothing is unpacked again
    assert changed.stat().st_mtime_ns == before


def test_only_what_is_chosen(hub: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, _ = hub
    out = tmp_path / "out"
    arguments = ["--out", str(out), "--source", str(source)]
    assert main(["data", "download", "mmeb-v2", *arguments, "--tasks", "MSR-VTT,ViDoRe_docvqa"]) == 0
    assert not (out / "image-tasks").exists()
    assert sorted(path.name for path in (out / "video-tasks" / "frames").iterdir()) == ["video_ret"]
    assert {task.name for task in get_benchmark("mmeb-v2", root=out, tasks="MSR-VTT,ViDoRe_docvqa").tasks} == {
        "MSR-VTT",
        "ViDoRe_docvqa",
    }
    assert main(["data", "download", "mmeb-v2", *arguments, "--tasks", "MSRVTT"]) == 2
    assert "no 'MSRVTT' in mmeb-v2; there are: A-OKVQA" in capsys.readouterr().err
    assert main(["data", "download", "mmeb-v2", "--out", str(out), "--source", str(tmp_path), "--tasks", "K700"]) == 2
    assert "no such folder (--source)" in capsys.readouterr().err


def test_mmeb_v1_from_a_copy(tmp_path: Path) -> None:
    tree, source = tmp_path / "tree", tmp_path / "hub" / "TIGER-Lab" / "MMEB-eval"
    build_v1(tree)
    for spec in get_spec("mmeb").tasks:
        (source / spec.name).mkdir(parents=True)
        shutil.copy(tree / "eval" / f"{spec.name}.parquet", source / spec.name / "test-00000-of-00001.parquet")
    with zipfile.ZipFile(source / "images.zip", "w") as archive:
        for path in (tree / "images").iterdir():
            archive.write(path, path.name)
    out = tmp_path / "out"
    command = ["data", "download", "mmeb", "--out", str(out), "--source", str(tmp_path / "hub")]
    assert main(command) == 0
    assert _files(out / "eval") == _files(tree / "eval")
    assert _files(out / "images") == _files(tree / "images")
    assert main(command) == 0


def _tar(path: Path, members: list[tarfile.TarInfo], content: bytes = b"x") -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return path


def test_archives_are_not_trusted(tmp_path: Path) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    for members, message in (
        ([tarfile.TarInfo("../out.txt")], "leads out of the folder"),
        ([tarfile.TarInfo("/out.txt")], "leads out of the folder"),
        ([link], "is a link, a device or a file with holes"),
    ):
        with pytest.raises(DataError, match=message):
            unpack_tar([_tar(tmp_path / "bad.tar", members)], tmp_path / "folder")
    assert not list(tmp_path.glob("out.txt"))
    good = _tar(tmp_path / "good.tar", [tarfile.TarInfo("a/b.txt")], b"0123456789")
    with pytest.raises(DataError, match="over the limit of bytes"):
        unpack_tar([good], tmp_path / "folder", max_file_bytes=9)
    cut = tmp_path / "cut.tar"
    cut.write_bytes(good.read_bytes()[:515])
    with pytest.raises(DataError, match=r"cannot unpack|ends within"):
        unpack_tar([cut], tmp_path / "folder")
    assert not (tmp_path / "folder" / "a" / "b.txt").exists()
    assert unpack_tar([good], tmp_path / "folder", strip="a") == 1
    assert (tmp_path / "folder" / "b.txt").read_bytes() == b"0123456789"
