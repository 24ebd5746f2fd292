"""One process at a time in object storage, by conditional writes alone."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from llave.errors import UserError
from llave.storage import lease
from llave.storage.client import bucket
from llave.storage.lease import leased
from llave.storage.location import ObjectPath
from tests.storage.server import new_bucket


@pytest.fixture(params=["s3", "gs", "az"])
def folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectPath]:
    monkeypatch.setattr(lease, "RENEW", 0.3)
    monkeypatch.setattr(lease, "LOST", 2.0)
    monkeypatch.setattr(lease, "POLL", 0.2)
    with new_bucket(request.param) as address:
        yield ObjectPath.parse(address) / "photos.index"


def test_one_at_a_time(folder: ObjectPath) -> None:
    lock = folder / "write.lock"
    with leased(lock, folder, taken="taken"):
        (folder / "file").write_bytes(b"1")
        with pytest.raises(UserError, match=r"^taken \(process \d+ on .+\)$"), leased(lock, folder, taken="taken"):
            pytest.fail("held twice")
    assert not lock.is_file()
    with leased(lock, folder, taken="taken"):
        pass


def test_of_many_that_come_at_once_each_is_alone(folder: ObjectPath) -> None:
    inside: list[int] = []
    most: list[int] = []

    def hold(number: int) -> None:
        with leased(folder / "create.lock", folder, taken="", wait=True):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.1)
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, range(4)))
    assert most == [1] * 4


def test_what_a_killed_process_held_is_taken_over(folder: ObjectPath) -> None:
    lock = folder / "write.lock"
    lock.write_bytes(b'{"host": "elsewhere", "process": 1, "token": "x", "count": 3}')
    start = time.monotonic()
    with leased(lock, folder, taken="taken"):
        assert time.monotonic() - start >= 2.0
        (folder / "file").write_bytes(b"1")


def test_two_who_take_over_at_once(folder: ObjectPath) -> None:
    """One of them is told that the other one is alive."""
    lock = folder / "write.lock"
    lock.write_bytes(b"left by a process that was killed")
    taken: list[str] = []
    both = threading.Barrier(2)

    def take(name: str) -> None:
        both.wait()
        with leased(lock, folder, taken="taken"):
            taken.append(name)
            time.sleep(2)

    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(take, name) for name in "ab"]
    refused = [str(result.exception()) for result in results if result.exception()]
    assert len(taken) == 1
    assert len(refused) == 1
    assert refused[0].startswith("taken")


def test_who_was_away_too_long_writes_no_more(folder: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = folder / "write.lock"

    def away(self: object) -> None:
        """The thread of a process that is stopped."""

    monkeypatch.setattr(lease._Lease, "renew_again_and_again", away)  # as SIGSTOP does it, to this one alone
    with ExitStack() as held:
        held.enter_context(pytest.raises(UserError, match="another one writes there now"))  # at the end, too
        held.enter_context(leased(lock, folder, taken="taken"))
        (folder / "file").write_bytes(b"first")
        time.sleep(0.7)
        bucket(lock.scheme, lock.bucket).put(lock.key, b'{"token": "of another process that took over"}')
        with pytest.raises(UserError, match="another one writes there now"):
            (folder / "file").write_bytes(b"second")
    assert (folder / "file").read_bytes() == b"first"
    assert lock.is_file(), "the other one's"


def test_a_late_sign_of_life_is_one_if_nobody_came(folder: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease._Lease, "renew_again_and_again", lambda self: None)
    with leased(folder / "write.lock", folder, taken="taken"):
        time.sleep(1)
        (folder / "file").write_bytes(b"1")
    assert not (folder / "write.lock").is_file()


def test_it_is_renewed(folder: ObjectPath) -> None:
    with leased(folder / "write.lock", folder, taken="taken"):
        before = (folder / "write.lock").read_bytes()
        time.sleep(1)
        assert (folder / "write.lock").read_bytes() != before
