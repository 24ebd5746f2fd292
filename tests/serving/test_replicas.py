"""Several model processes: one that ends costs no answer, what ends it is refused, and none is left behind."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llave.errors import UserError
from llave.serving.arrivals import result_of
from llave.serving.batcher import Batcher, BatchPlan, Line, Prepared
from llave.serving.errors import ApiError
from llave.serving.metrics import Metrics
from llave.serving.replicas import Replicas
from llave.serving.suspects import MOST, Lost, Suspects
from tests.serving import light_models

Queue = Batcher[str, tuple[str, int]]
PLAN = BatchPlan(tokens=1000, items={"text": 8})


def item(text: str) -> Prepared[str]:
    return Prepared(("text", text), "text", text, 1)


class Fleet:
    """Processes, and the queue before them."""

    def __init__(self, replicas: Replicas, queue: Queue, metrics: Metrics) -> None:
        self.replicas, self.queue, self.metrics = replicas, queue, metrics

    async def ask(self, *texts: str) -> list[Any]:
        return await self.queue.results([item(text) for text in texts], Line())

    def ends(self) -> float:
        """Of processes, so far."""
        return sum(self.value("llave_replica_ends_total", number) for number in range(self.replicas.count))

    def value(self, name: str, number: int) -> float:
        """Of a metric of one process."""
        return self.metrics.registry.get_sample_value(name, {"replica": str(number)}) or 0.0

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").write_text("first")
    return tmp_path


def run(folder: Path, work: Callable[[Fleet], Coroutine[Any, Any, None]], count: int, seconds: float = 30) -> list[int]:
    """Do it with processes; returns those that were there at the end."""

    async def whole() -> list[int]:
        metrics, replicas = Metrics(), Replicas(partial(light_models.load, folder), count, seconds=seconds)
        async with replicas.running(metrics):
            await replicas.profiles()
            queue = Queue(replicas.lanes(0), PLAN, metrics)
            async with queue.running():
                fleet = Fleet(replicas, queue, metrics)
                await asyncio.wait_for(fleet.until(lambda: replicas.num_ready == count), 60)
                await asyncio.wait_for(work(fleet), 60)
            return replicas.pids

    return asyncio.run(whole())


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_batches_go_to_whichever_is_free(folder: Path) -> None:
    async def work(fleet: Fleet) -> None:
        slow = asyncio.create_task(fleet.ask("slow"))
        await asyncio.sleep(0.1)
        others = [await fleet.ask(f"text {number}") for number in range(4)]
        assert not slow.done()
        [(text, busy)] = await slow
        assert text == "SLOW"
        assert [found for [found] in others] == [(f"TEXT {number}", 1 - busy) for number in range(4)]
        assert {number for [(_, number)] in [await fleet.ask(f"more {n}") for n in range(4)]} == {0, 1}  # in turn

    left = run(folder, work, 2)
    assert len(left) == 2
    assert not any(map(is_running, left))


def test_those_that_are_free_share_what_waits(folder: Path) -> None:
    async def work(fleet: Fleet) -> None:
        found = await fleet.ask(*(f"text {number}" for number in range(9)))
        assert [text for text, _ in found] == [f"TEXT {number}" for number in range(9)]
        assert sorted(Counter(number for _, number in found).values()) == [3, 3, 3]

    run(folder, work, 3)


def test_one_that_is_killed_costs_no_answer(folder: Path) -> None:
    async def work(fleet: Fleet) -> None:
        asked = asyncio.create_task(fleet.ask("slow", "a", "b"))
        await asyncio.sleep(0.2)
        busy = next(n for n in (0, 1) if fleet.value("llave_replica_items", n) == 2)
        os.kill(fleet.replicas.pids[busy], signal.SIGKILL)
        assert await asked == [("SLOW", 1 - busy), ("A", 1 - busy), ("B", 1 - busy)]
        assert fleet.replicas.num_ready == 1
        await fleet.until(lambda: fleet.replicas.num_ready == 2)  # it was started again
        assert fleet.ends() == 1
        os.kill(fleet.replicas.pids[0], signal.SIGSTOP)  # and one that is idle: nobody notices but the next batch
        os.kill(fleet.replicas.pids[0], signal.SIGKILL)
        assert [found[0][0] for found in [await fleet.ask("c"), await fleet.ask("d")]] == ["C", "D"]

    run(folder, work, 2)


def test_all_are_killed(folder: Path) -> None:
    async def work(fleet: Fleet) -> None:
        for pid in fleet.replicas.pids:
            os.kill(pid, signal.SIGKILL)
        await fleet.until(lambda: fleet.replicas.num_ready == 0)
        assert [text for text, _ in await fleet.ask("waits for the next one")] == ["WAITS FOR THE NEXT ONE"]

    run(folder, work, 2)


def test_what_kills_a_process_kills_two_of_them(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(fleet: Fleet) -> None:
        pids = fleet.replicas.pids
        slow = [asyncio.create_task(fleet.ask("slow")), asyncio.create_task(fleet.ask("slow "))]
        await asyncio.sleep(0.05)  # so that these stand in one batch
        first, *others = await fleet.ask("kill", "a", "b", "c")
        assert isinstance(first, Lost)
        assert [text for text, _ in others] == ["A", "B", "C"]
        assert fleet.ends() == 2
        assert sum(map(is_running, pids)) == 1
        [again] = await fleet.ask("kill")  # at once, whatever is free
        assert isinstance(again, Lost)
        assert again.seconds > 50
        assert fleet.ends() == 2
        await asyncio.gather(*slow)
        with pytest.raises(ApiError, match="two of the model's processes ended with this item") as caught:
            result_of(again, fleet.metrics, "text", "input[0]")
        assert (caught.value.status, caught.value.param, caught.value.code) == (503, "input[0]", "model_ended")
        assert 50 < (caught.value.retry_after or 0) <= 60

    run(folder, work, 3)
    assert "by signal 9 (no memory left?)" in caplog.text


def test_a_batch_that_hangs(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(fleet: Fleet) -> None:
        hung, *fine = await fleet.ask("hang", "a", "b")
        assert isinstance(hung, Lost)
        assert [text for text, _ in fine] == ["A", "B"]

    start = time.monotonic()
    run(folder, work, 2, seconds=1.0)
    assert time.monotonic() - start < 60
    assert "its batch took more than 1 s" in caplog.text


def test_an_error_of_the_model_ends_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(fleet: Fleet) -> None:
        assert await fleet.ask("fail") == [None]
        assert [text for text, _ in await fleet.ask("a")] == ["A"]
        assert fleet.ends() == 0

    run(folder, work, 2)
    assert "secret of the model" in caplog.text


def test_one_that_starts_with_another_model_is_not_used(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(fleet: Fleet) -> None:
        (folder / "model").write_text("retrained")
        os.kill(fleet.replicas.pids[0], signal.SIGKILL)
        await fleet.until(lambda: "the model's files are others" in caplog.text)
        assert fleet.replicas.num_ready == 1
        assert [found for [found] in [await fleet.ask("a"), await fleet.ask("b")]] == [("A", 1), ("B", 1)]

    run(folder, work, 2)


def test_models_that_do_not_load(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def profiles() -> Any:
        replicas = Replicas(partial(light_models.load, folder), 2, seconds=30)
        async with replicas.running(Metrics()):
            return await asyncio.wait_for(replicas.profiles(), 60)

    (folder / "broken 1").touch()
    assert asyncio.run(profiles())[0].name == "letters"
    (folder / "broken 0").touch()
    with pytest.raises(UserError, match="no model for"):
        asyncio.run(profiles())


def test_suspects_are_few_and_forgotten() -> None:
    suspects = Suspects()
    assert not suspects
    assert suspects.add("a") is None
    assert "a" in suspects
    suspects.clear("a")
    assert "a" not in suspects
    assert suspects.add("a") is None
    assert isinstance(suspects.add("a"), Lost)
    for number in range(MOST):
        suspects.add(number)
    assert suspects.refused("a") is None
    assert MOST - 1 in suspects
