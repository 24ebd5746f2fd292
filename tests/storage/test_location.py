"""An address in object storage answers as a path does, and what goes wrong there is said in a line, soon."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llave.errors import UserError
from llave.files import whole_file, write_json
from llave.storage.changes import mark
from llave.storage.client import StorageError, bucket
from llave.storage.location import ObjectPath, location
from tests.storage.server import Fault, new_bucket, running

SCHEMES = ("s3", "gs", "az")


@pytest.fixture(params=SCHEMES)
def folder(request: pytest.FixtureRequest) -> Iterator[ObjectPath]:
    """Of each kind of object storage."""
    with new_bucket(request.param) as address:
        yield ObjectPath.parse(address) / "some folder"


@pytest.fixture
def s3() -> Iterator[ObjectPath]:
    with new_bucket() as address:
        yield ObjectPath.parse(address) / "some folder"


@pytest.fixture(params=["s3", "gs"])
def faulty(request: pytest.FixtureRequest) -> Iterator[ObjectPath]:
    """On a server that misbehaves if it is told to."""
    with new_bucket(request.param) as address:
        yield ObjectPath.parse(address) / "some folder"


def test_addresses() -> None:
    found = ObjectPath.parse("s3://bucket/a/b.json")
    assert (found.bucket, found.key, found.name, found.suffix) == ("bucket", "a/b.json", "b.json", ".json")
    assert str(found.parent) == "s3://bucket/a"
    assert str(found.with_suffix(".txt")) == "s3://bucket/a/b.txt"
    assert str(ObjectPath.parse("s3://bucket/")) == "s3://bucket"
    assert location(Path("s3://bucket/a")) == ObjectPath("bucket", "a")
    assert location(Path("gs://bucket/a")) == ObjectPath("bucket", "a", "gs")
    assert str(ObjectPath.parse("az://container/a/b").parent / "c") == "az://container/a/c"
    assert location("photos.index") == Path("photos.index")
    for wrong in ("s3://", "s3://bucket/../other", "az://UPPER/x", "abfss://bucket/a", "https://host/a"):
        with pytest.raises(UserError, match="s3://"):
            location(wrong)


def test_as_a_path(folder: ObjectPath) -> None:
    file = folder / "é #1.json"
    assert not file.is_file()
    assert not folder.is_dir()
    with pytest.raises(FileNotFoundError):
        file.read_bytes()
    write_json(file, {"a": 1})
    assert file.is_file()
    assert folder.is_dir()
    assert not folder.is_file()
    assert file.read_text() == '{\n  "a": 1\n}\n'
    before = mark(file)
    assert mark(file) == before
    file.write_bytes(b"other")
    assert mark(file) != before
    with whole_file(folder / "below" / "large") as partial:
        partial.write_bytes(b"x" * 6_000_000)
    assert {(each.key, each.size) for each in folder.files()} == {("é #1.json", 5), ("below/large", 6_000_000)}
    assert folder.folders() == ["below"]
    file.unlink()
    file.unlink(missing_ok=True)
    assert not file.is_file()


def test_a_writer_that_fails_writes_nothing(folder: ObjectPath) -> None:
    def half() -> None:
        with whole_file(folder / "table") as partial:
            partial.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert not folder.exists()


def test_conditional_writes(folder: ObjectPath) -> None:
    file = folder / "lock"
    assert file.put_if(b"0", '"0"') is None
    first = file.put_if(b"1", None)
    assert first is not None
    assert file.put_if(b"2", None) is None
    second = file.put_if(b"2", first)
    assert second not in (None, first)
    assert file.put_if(b"3", first) is None
    assert file.read_bytes() == b"2"


@pytest.mark.parametrize(("kind", "times"), [("busy", 2), ("cut", 2), ("slow", 2)])
def test_what_passes_is_waited_for(faulty: ObjectPath, kind: str, times: int) -> None:
    content = os.urandom(100_000)
    file = faulty / "file"
    fault = Fault(kind, times=times, part="file", seconds=0.3)
    if kind != "cut":
        running().faults.append(fault)
    file.write_bytes(content)
    if kind == "cut":
        running().faults.append(fault)
    assert file.read_bytes() == content
    assert fault.hit == times


@pytest.mark.parametrize(("kind", "said"), [("busy", "the server is busy"), ("denied", "access denied")])
def test_what_stays_is_said_in_a_line(faulty: ObjectPath, kind: str, said: str) -> None:
    running().faults.append(Fault(kind))
    start = time.monotonic()
    for act in (faulty.read_bytes, faulty.is_dir, faulty.is_file, lambda: faulty.write_bytes(b"")):
        with pytest.raises(UserError, match=f"^{faulty.scheme}://bucket-[^\n]*some folder: {said}[^\n]*$"):
            act()
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_such_bucket(scheme: str) -> None:
    with new_bucket(scheme):
        file = ObjectPath("bucket-of-nobody", "file", scheme)
        for act in (file.read_bytes, file.is_dir, file.is_file, lambda: file.write_bytes(b"")):
            with pytest.raises(UserError, match=f"{scheme}://bucket-of-nobody/file: no such bucket"):
                act()


def test_no_server(s3: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(UserError, match="some folder: cannot be reached"):
        s3.is_file()
    assert time.monotonic() - start < 40


def test_no_credentials(s3: ObjectPath, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UserError, match="no credentials; set AWS_ACCESS_KEY_ID"):
        s3.is_file()
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[work]\naws_access_key_id=a\naws_secret_access_key=b\n")
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert not s3.is_file()
    monkeypatch.setenv("AWS_PROFILE", "home")
    for name in ("AWS_REGION", "AWS_ENDPOINT_URL"):
        with pytest.raises(UserError, match="home"):
            s3.is_file()
        monkeypatch.delenv(name)
    with pytest.raises(UserError, match=r"~/\.aws: .*home"):
        s3.is_file()


def test_clear_text_only_where_the_user_says_so(s3: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(UserError, match="set AWS_ALLOW_HTTP=true for a server of your own"):
        s3.is_file()


def test_no_secret_is_shown(s3: ObjectPath) -> None:
    running().faults.append(Fault("denied"))
    with pytest.raises(UserError) as raised:
        s3.read_bytes()
    assert "a-secret-of-the-tests" not in f"{raised.value} {bucket('s3', s3.bucket)!r}"


def test_a_forked_process_reads_what_its_parent_had_opened(folder: ObjectPath) -> None:
    """As the workers of a training run: obstore's threads are not there, and nothing waits for them."""
    faulty = folder.scheme != "az"
    for name in ("a.txt", "b/c.txt"):
        (folder / name).write_bytes(name.encode())
    about = (folder / "a.txt").head()
    assert about is not None
    listed = sorted(folder.files(), key=lambda each: each.key)

    def check() -> None:
        assert (folder / "a.txt").read_bytes() == b"a.txt"
        assert (folder / "a.txt").head() == about
        assert (folder / "a.txt").read_range(2, 5, about.tag) == b"txt"
        assert sorted(folder.files(), key=lambda each: each.key) == listed
        with pytest.raises(FileNotFoundError):
            (folder / "none").read_bytes()
        with pytest.raises(UserError, match="was changed while it was read"):
            (folder / "a.txt").read_range(0, 1, '"another"')

    if faulty:
        running().faults.append(Fault("cut", 1, "GET", part="a.txt"))
    child = multiprocessing.get_context("fork").Process(target=check)
    child.start()
    child.join(60)
    ended = child.exitcode
    child.kill()
    assert ended == 0
    if not faulty:
        return
    denied = multiprocessing.get_context("fork").Process(target=_refused, args=(folder,))
    running().faults.append(Fault("denied"))
    denied.start()
    denied.join(60)
    ended = denied.exitcode
    denied.kill()
    assert ended == 0


def test_a_list_is_gone_on_with_where_it_was_cut(folder: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by Azure's server, which may begin a list at the name after which it was to go on, or at its start."""
    names = [f"{number:04}" for number in range(60)]
    for name in names:
        (folder / name).write_bytes(b"x")
    store = bucket(folder.scheme, folder.bucket)
    cut = iter([True, False])

    def list_in_parts(prefix: str | None, *, offset: str | None = None) -> Iterator[object]:
        for batch in store.list(prefix, offset=offset, chunk_size=25):
            yield batch
            if next(cut, False):
                raise OSError("error decoding response body")

    class Parts:
        list = staticmethod(list_in_parts)

    monkeypatch.setattr(ObjectPath, "_store", Parts)
    assert [each.key for each in folder.files()] == names


def test_of_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    with new_bucket("az") as address:
        file = ObjectPath.parse(address) / "file"
        file.write_bytes(b"a")
        account, key, place = (
            os.environ[f"AZURE_STORAGE_{name}"] for name in ("ACCOUNT_NAME", "ACCOUNT_KEY", "ENDPOINT")
        )
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "AAAA")
        with pytest.raises(UserError, match="file: access denied") as raised:
            file.read_bytes()
        assert "AAAA" not in str(raised.value)
        for name in ("ACCOUNT_NAME", "ACCOUNT_KEY", "ENDPOINT"):
            monkeypatch.delenv(f"AZURE_STORAGE_{name}")
        with pytest.raises(UserError, match="none is named: set AZURE_STORAGE_ACCOUNT_NAME"):
            file.read_bytes()
        parts = f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};BlobEndpoint={place};"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", parts)
        assert file.read_bytes() == b"a"
        monkeypatch.delenv("AZURE_ALLOW_HTTP")
        with pytest.raises(UserError, match="set AZURE_ALLOW_HTTP=true for a server of your own"):
            file.read_bytes()


def test_who_has_signed_in_nowhere_is_told_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine's own account is asked last: an address that nobody answers at, here."""
    for name in [each for each in os.environ if each.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "nobody")
    monkeypatch.setenv("AZURE_MSI_ENDPOINT", "http://127.0.0.1:9/token")
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    start = time.monotonic()
    with pytest.raises(UserError, match="az://box/file: no credentials; run `az login`"):
        location("az://box/file").read_bytes()
    assert time.monotonic() - start < 60


def _refused(folder: ObjectPath) -> None:
    with pytest.raises(StorageError, match="access denied"):
        (folder / "a.txt").read_bytes()
