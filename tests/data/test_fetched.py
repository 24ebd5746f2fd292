"""What is in object storage is fetched once, whole, and opened as the files that it is."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from llave import load_model
from llave.cli.parsing import parse
from llave.data import fetched as module
from llave.data.fetched import fetched, local
from llave.encode.cache import model_fingerprint
from llave.errors import UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.models.open import save_model
from llave.search.index import Index
from llave.search.info import IndexInfo
from llave.storage.location import ObjectPath
from llave.training.config import TrainConfig
from tests.storage.server import Fault, new_bucket, running


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ObjectPath]:
    monkeypatch.setenv("LLAVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "STEP", 1000)
    with new_bucket() as address:
        yield ObjectPath.parse(address) / "data"


def gets() -> int:
    return sum(method == "GET" and "data" in path for method, path in running().requests)


def test_once(folder: ObjectPath) -> None:
    (folder / "a.txt").write_bytes(b"a")
    (folder / "sub/é.bin").write_bytes(bytes(2500))
    found = fetched(str(folder), progress=False)
    assert {path.relative_to(found).as_posix() for path in found.rglob("*.*")} == {"a.txt", "sub/é.bin"}
    assert (found / "sub" / "é.bin").read_bytes() == bytes(2500)
    before = gets()
    assert fetched(folder, progress=False) == found
    assert gets() == before, "only listed"
    (folder / "a.txt").write_bytes(b"b")
    again = fetched(folder, progress=False)
    assert again != found
    assert ((again / "a.txt").read_bytes(), (found / "a.txt").read_bytes()) == (b"b", b"a")
    file = fetched(folder / "a.txt", progress=False)
    assert (file.name, file.read_bytes()) == ("a.txt", b"b")
    assert local(Path("here")) == Path("here")


def test_it_goes_on_where_it_was_cut(folder: ObjectPath) -> None:
    content = bytes(range(250)) * 20
    (folder / "large").write_bytes(content)
    (folder / "small").write_bytes(b"s")
    running().faults.append(Fault("denied", method="GET", part="small"))
    with pytest.raises(UserError, match="small: access denied"):
        fetched(folder, progress=False)
    running().faults[:] = [Fault("cut", times=2, method="GET", part="small")]
    before = [path for _, path in running().requests].count(f"/{folder.bucket}/data/large")
    assert (fetched(folder, progress=False) / "large").read_bytes() == content
    assert [path for _, path in running().requests].count(f"/{folder.bucket}/data/large") == before


def test_what_changes_meanwhile_is_not_mixed(folder: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_bytes(b"1" * 3000)
    read = ObjectPath.read_range

    def changed(self: ObjectPath, start: int, end: int, tag: str) -> bytes:
        if start == 2000:
            (folder / "file").write_bytes(b"2" * 3000)
        return read(self, start, end, tag)

    monkeypatch.setattr(ObjectPath, "read_range", changed)
    with pytest.raises(UserError, match="was changed while it was read"):
        fetched(folder, progress=False)
    monkeypatch.undo()
    assert (fetched(folder, progress=False) / "file").read_bytes() == b"2" * 3000


def test_nothing_there(folder: ObjectPath) -> None:
    with pytest.raises(UserError, match=r"data: nothing there$"):
        fetched(folder, progress=False)


def test_no_room(folder: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_bytes(b"1")
    full = shutil_usage(0)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: full)
    with pytest.raises(UserError, match=r"has room for 0\.0 GB"):
        fetched(folder, progress=False)


def shutil_usage(free: int) -> object:
    import shutil

    return type(shutil.disk_usage("/"))(free, free, free)


def test_a_model(
    folder: ObjectPath, tmp_path: Path, nano_untouched: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEP", 16 << 20)
    save_model(nano_untouched, tmp_path / "nano")
    for path in (path for path in (tmp_path / "nano").rglob("*") if path.is_file()):
        (folder / path.relative_to(tmp_path / "nano").as_posix()).upload(path)
    model = load_model(str(folder), device="cpu")
    assert model.source == str(folder)
    assert model_fingerprint(model) == model_fingerprint(load_model(tmp_path / "nano", device="cpu"))
    about = IndexInfo(model=str(folder), fingerprint="x", dimension=model.get_embedding_dimension() or 0)
    index = Index.create(tmp_path / "of somebody", about)
    before = gets()
    with pytest.raises(UserError, match="which you have not named on this machine, so that it is not fetched"):
        index.use_model()
    assert gets() == before


def test_data(folder: ObjectPath, tmp_path: Path) -> None:
    row = {"qry_text": "which?", "qry_img_path": "", "tgt_text": ["this", "that"], "tgt_img_path": ["", ""]}
    (folder / "eval/qa.jsonl").write_bytes(json.dumps(row).encode())
    assert [task.name for task in get_benchmark(str(folder)).tasks] == ["qa"]
    config = parse(
        TrainConfig,
        ["--data", str(folder), "--output", str(tmp_path / "out"), "--datasets", '{"qa": {}}'],
        command="train",
        description="",
        existing={"data": ""},
        fetched=("data",),
    )
    assert (config.data / "eval" / "qa.jsonl").is_file()
