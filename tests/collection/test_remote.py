"""Collections in object storage: the entries of the same files here, a few of them on the disk at a time."""

import errno
import gc
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from PIL import Image

from llave.cli.quantize import of_collection
from llave.collection import remote
from llave.collection.collection import Collection, Columns
from llave.collection.entry import BadEntry, Entry
from llave.collection.open import open_collection
from llave.errors import UserError
from llave.models.model import EmbeddingModel
from llave.storage.client import StorageError
from llave.storage.location import ObjectPath
from tests.storage.server import Fault, new_bucket, running
from tests.written_pdf import written_pdf


@pytest.fixture
def bucket() -> Iterator[ObjectPath]:
    with new_bucket() as made:
        yield ObjectPath.parse(f"{made}/in here")


def upload(folder: Path, address: ObjectPath) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            (address / path.relative_to(folder).as_posix()).upload(path)


def read(collection: Collection, size: int = 4) -> list[tuple[Any, ...]]:
    """What entries are, their files by their content; read while it is there."""
    found: list[tuple[Any, ...]] = []
    for part in collection.parts(size):
        for entry in collection.read(part):
            if isinstance(entry, BadEntry):
                found.append((entry.key, entry.message.replace(str(collection.root), "ROOT")))
                continue
            item = entry.item
            files = (item.image, item.video, item.audio)
            content = [Path(str(f).split("#")[0]).read_bytes() if isinstance(f, Path) else f for f in files]
            found.append((entry.key, entry.name, item.text, item.kind, dict(entry.fields), *content))
    return sorted(found, key=lambda each: str(each[0]))


def put(folder: ObjectPath, name: str) -> None:
    """An object as another tool may name it."""
    amazons = boto3.client("s3", endpoint_url=running().url, region_name="us-east-1")
    amazons.put_object(Bucket=folder.bucket, Key=f"{folder.key}/{name}", Body=b"words")


def files(collection: Collection) -> set[str]:
    """What lies there whole."""
    found = {Path(folder) / name for folder, _, names in os.walk(collection.root) for name in names}
    inside = {path.relative_to(collection.root) for path in found}
    return {path.as_posix() for path in inside if not any(part.endswith(".partial") for part in path.parts)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nested, with fields, a document, what is left out and what is broken."""
    root = tmp_path / "local"
    (root / "a" / "deep er").mkdir(parents=True)
    (root / "a-b").mkdir()
    for number, name in enumerate(("a/1.png", "a/deep er/ü 2.png", "a-b/3.png", "z.png")):
        Image.new("RGB", (20, 20), (60 * number, 9, 9)).save(root / name)
    (root / "a" / "metadata.jsonl").write_text(
        "".join(
            json.dumps({"file_name": name, "stars": n}) + "\n" for n, name in enumerate(("1.png", "deep er/ü 2.png"))
        )
    )
    (root / "a" / "said.txt").write_text("of a whale")
    (root / "empty.txt").write_text("")
    written_pdf(root / "pages.pdf", "one", "two")
    (root / "program.exe").write_bytes(b"x")
    (root / ".hidden.png").write_bytes(b"x")
    (root / "a" / ".cache").mkdir()
    (root / "a" / ".cache" / "x.png").write_bytes(b"x")
    return root


def test_a_folder_is_read_as_it_is_here(folder: Path, bucket: ObjectPath) -> None:
    upload(folder, bucket)
    there, here = open_collection(bucket), open_collection(folder)
    assert read(there) == read(here)
    assert there.left_out == here.left_out == {".exe": 1}
    assert [key for part in there.parts(3) for key in part["files"]] == sorted(
        key for part in here.parts(3) for key in part["files"]
    )
    assert there.size() == here.size()
    assert {entry.key for entry in there} == {entry.key for entry in here}
    state = there.state()
    assert open_collection(str(bucket)).state() == state
    (folder / "a" / "1.png").write_bytes(b"another")
    (bucket / "a/1.png").upload(folder / "a" / "1.png")
    assert open_collection(bucket).state() != state


def test_few_files_are_here_at_a_time(tmp_path: Path, bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "WINDOW", 4)
    monkeypatch.setattr(remote, "KEPT", 8)
    (tmp_path / "t.txt").write_text("words")
    for number in range(60):
        (bucket / f"{number:03}.txt").upload(tmp_path / "t.txt")
    collection = open_collection(bucket)
    (part,) = collection.parts(100)
    lying, keys = [], []
    for entry in collection.read(part):
        keys.append(entry.key)
        lying.append(len(files(collection)))
        assert entry.key in files(collection)
    assert keys == [f"{number:03}.txt" for number in range(60)]
    assert max(lying) <= 8 + 2 * 4
    root = collection.root
    del collection
    assert not root.exists()


def test_one_object_costs_itself_and_an_outage_ends_the_reading(folder: Path, bucket: ObjectPath) -> None:
    upload(folder, bucket)
    whole = {entry[0] for entry in read(open_collection(bucket))}
    running().faults.append(Fault("denied", method="GET", part="3.png"))
    collection = open_collection(bucket)
    bad = {entry[0]: entry[-1] for entry in read(collection) if len(entry) == 2}
    assert bad.keys() == {"a-b/3.png", "empty.txt"}
    assert bad["a-b/3.png"].startswith(f"{bucket}/a-b/3.png: ")
    assert "access denied" in bad["a-b/3.png"]
    running().faults.clear()
    running().faults += [
        Fault("cut", 3, "GET", part=".png"),
        Fault("busy", 2, "GET"),
        Fault("cut", 2, "GET", part="list"),
    ]
    assert {entry[0] for entry in read(open_collection(bucket))} == whole
    running().faults.clear()
    collection = open_collection(bucket)
    parts = list(collection.parts(100))
    running().faults.append(Fault("denied"))
    with pytest.raises(StorageError, match="access denied"):
        list(collection.read(parts[0]))


def test_a_full_disk_ends_the_reading(folder: Path, bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is not the fault of each object that comes then."""
    upload(folder, bucket)
    collection = open_collection(bucket)
    parts = list(collection.parts(100))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(remote, "whole_file", full)
    with pytest.raises(UserError, match="no room; the same command goes on"):
        list(collection.read(parts[0]))


def test_what_went_away_and_names_that_are_none(tmp_path: Path, bucket: ObjectPath) -> None:
    (tmp_path / "t.txt").write_text("words")
    for name in ("a.txt", "b.txt"):
        (bucket / name).upload(tmp_path / "t.txt")
    put(bucket, f"{'n' * 300}.txt")
    collection = open_collection(bucket)
    (part,) = collection.parts(10)
    (bucket / "b.txt").unlink()
    found = {entry.key: entry for entry in collection.read(part)}
    assert isinstance(found["a.txt"], Entry)
    gone = found["b.txt"]
    assert isinstance(gone, BadEntry)
    assert gone.message == f"{bucket}/b.txt: went away meanwhile"
    (long,) = (entry for key, entry in found.items() if key.startswith("n"))
    assert "File name too long" in long.message
    put(bucket, "c/../../../d.txt")  # which no client of ours takes: the list ends there, and its line names it
    with pytest.raises(UserError, match=r"invalid path.*c/\.\./\.\./\.\./d\.txt.*rename or remove it"):
        list(open_collection(bucket).parts(10))
    with pytest.raises(UserError, match="nothing there"):
        open_collection(bucket / "nothing")


def test_a_table_and_the_files_that_its_rows_name(folder: Path, bucket: ObjectPath, tmp_path: Path) -> None:
    rows = [{"id": n, "image": name, "n": n} for n, name in enumerate(("a/1.png", "z.png", "a/1.png", "gone.png"))]
    rows += [
        {"id": 9, "image": "../outside.png"},
        {"id": 10, "text": "words alone"},
        {"id": 11, "image": "pages.pdf#page=2"},
    ]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    upload(folder, bucket)
    (tmp_path / "outside.png").write_bytes(b"x")
    there, here = open_collection(bucket / "t.jsonl"), open_collection(folder / "t.jsonl")

    def told(collection: Collection) -> list[tuple[Any, ...]]:
        found = [entry for part in collection.parts(3) for entry in collection.read(part)]
        good = [entry for entry in found if isinstance(entry, Entry)]
        images = [Path(str(e.item.image).split("#")[0]) for e in good if e.item.image is not None]
        return [
            [(e.key, e.name, e.item.text, dict(e.fields)) for e in good],
            [image.read_bytes() if image.is_file() else None for image in images],
            [(e.key, e.message) for e in found if isinstance(e, BadEntry)],
        ]  # fmt: skip

    assert told(there) == told(here)
    assert there.address == str(bucket)
    assert not (there.root / "program.exe").exists()


def test_archives_are_read_as_they_come(bucket: ObjectPath, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(picture, "PNG")
    for number in range(3):
        with tarfile.open(tmp_path / f"part-{number}.tar", "w") as archive:
            for item in range(4):
                for suffix, content in ((".png", picture.getvalue()), (".txt", f"{number} {item}".encode())):
                    member = tarfile.TarInfo(f"{item}{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        (bucket / "sub" / f"part-{number}.tar").upload(tmp_path / f"part-{number}.tar")
    (bucket / "sub" / "deeper" / "part-9.tar").upload(tmp_path / "part-0.tar")
    there = open_collection(f"{bucket}/sub/part-*.tar")
    here = open_collection(tmp_path / "part-*.tar")
    assert read(there) == read(here)
    assert len(read(there)) == 12
    assert files(there) == set() if there.root.exists() else True
    one = open_collection(bucket / "sub" / "part-1.tar")
    assert [entry[2] for entry in read(one)] == ["1 0", "1 1", "1 2", "1 3"]
    state = there.state()
    (bucket / "sub" / "part-1.tar").upload(tmp_path / "part-0.tar")
    assert there.state() != state
    with pytest.raises(UserError, match="no such archive"):
        open_collection(f"{bucket}/sub/no-*.tar")
    running().faults.append(Fault("denied", method="GET"))
    with pytest.raises(StorageError, match="access denied"):
        list(one.read({"tar": "part-1.tar"}))


def test_what_a_kill_leaves_goes_with_the_next(bucket: ObjectPath, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("words")
    (bucket / "a.txt").upload(tmp_path / "t.txt")
    collection = open_collection(bucket)
    list(collection)
    before = set(collection.root.parent.iterdir())
    killed = (
        "import os, signal, sys; from llave.collection.open import open_collection\n"
        "left = open_collection(sys.argv[1]); list(left); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(bucket)]).returncode == -signal.SIGKILL
    (left,) = set(collection.root.parent.iterdir()) - before
    assert (left / "a.txt").read_text() == "words"
    again = open_collection(bucket)
    assert not left.exists()
    assert collection.root.exists()
    assert again.root.exists()


def test_items_that_are_looked_at_first_are_still_there(
    folder: Path, bucket: ObjectPath, hearing_model: EmbeddingModel
) -> None:
    """As those on which a quantised model is measured, whose collection nobody else holds."""
    upload(folder, bucket)
    sample = of_collection(bucket, Columns())
    items = sample(hearing_model)
    gc.collect()
    images = [item.image for item in items if isinstance(item.image, Path)]
    assert len(images) >= 4
    assert all(Path(str(image).split("#")[0]).is_file() for image in images)


def test_errors_name_the_address(bucket: ObjectPath, tmp_path: Path) -> None:
    put(bucket, "a/b.txt")
    (tmp_path / "metadata.jsonl").write_text('{"stars": 3}\n')
    (bucket / "a" / "metadata.jsonl").upload(tmp_path / "metadata.jsonl")
    with pytest.raises(UserError, match=f"^{bucket}/a/metadata.jsonl row 1: no file_name"):
        list(open_collection(bucket).parts(9))
    (tmp_path / "t.jsonl").write_text("")
    (bucket / "t.jsonl").upload(tmp_path / "t.jsonl")
    with pytest.raises(UserError, match=f"^{bucket}/t.jsonl: "):
        open_collection(bucket / "t.jsonl")
