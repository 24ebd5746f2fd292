"""The queue: like with like, equal items once, no one harmed by a neighbour, and never more than there is room for."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.encode.forward import Outcome, Refused
from llave.encode.item import Modality
from llave.models.prompts import ModelInput
from llave.serving.admission import Admission, Memory
from llave.serving.batcher import Batcher, BatchPlan, Line, Prepared, choose
from llave.serving.engine import Engine
from llave.serving.errors import ApiError
from llave.serving.lanes import InThread
from llave.serving.limits import Limits
from llave.serving.metrics import Metrics

Queue = Batcher[ModelInput, Outcome]
PLAN = BatchPlan(tokens=100, items={"text": 8, "image": 2, "video": 1})


def item(name: str, tokens: int = 1, modality: Modality = "text", **options: Any) -> Prepared[ModelInput]:
    return Prepared((modality, name), modality, name, tokens, **options)


@given(
    st.lists(
        st.tuples(st.sampled_from(["text", "image", "video"]), st.integers(1, 150), st.sampled_from(["", "p"])),
        min_size=1,
        max_size=40,
    )
)
def test_a_batch_is_within_its_bounds(drawn: list[tuple[Modality, int, str]]) -> None:
    items = [item(str(n), tokens, modality, prompt=prompt) for n, (modality, tokens, prompt) in enumerate(drawn)]
    batch = choose(items, PLAN)
    assert batch[0] == 0
    assert len(set(batch)) == len(batch) <= PLAN.items[items[0].modality]
    chosen = [items[place] for place in batch]
    assert len({(entry.modality, entry.prompt) for entry in chosen}) == 1
    if len(batch) > 1:
        padded = max(entry.tokens for entry in chosen) * len(chosen)
        own = sum(entry.tokens for entry in chosen)
        assert padded <= PLAN.tokens
        assert padded - own <= max(PLAN.padding, PLAN.padding_share * own)


def test_like_lengths_stand_together() -> None:
    items = [item(str(n), tokens) for n, tokens in enumerate([10, 90, 11, 95, 9, 10])]
    assert sorted(choose(items, PLAN)) == [0, 2, 4, 5]
    large = [item(str(n), modality="image", num_bytes=60 << 20) for n in range(3)]
    assert choose(large, PLAN) == [0]


class Slow:
    """Stands where the model stands, and waits until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[ModelInput]] = []
        self.go = threading.Event()

    def __call__(self, modality: Modality, prompt: str | None, inputs: list[ModelInput]) -> list[Outcome]:
        self.batches.append(inputs)
        self.go.wait(10)
        if "fail" in inputs:
            raise RuntimeError("the model failed")
        return [np.array([float(len(str(entry)))], np.float32) for entry in inputs]


def run(
    work: Callable[[Queue, Slow], Coroutine[Any, Any, None]], plan: BatchPlan = PLAN, *, by_end: bool = False
) -> None:
    async def whole() -> None:
        slow = Slow()
        with ThreadPoolExecutor(1) as thread:
            batcher = Batcher(InThread(slow, thread), plan, Metrics(), by_end=by_end)
            async with batcher.running():
                await asyncio.wait_for(work(batcher, slow), 20)

    asyncio.run(whole())


async def started(slow: Slow, batches: int) -> None:
    while len(slow.batches) < batches:
        await asyncio.sleep(0.005)


def test_equal_items_are_encoded_once() -> None:
    async def work(batcher: Queue, slow: Slow) -> None:
        first = asyncio.create_task(batcher.results([item("a"), item("a"), item("bb")], Line()))
        await started(slow, 1)
        second = asyncio.create_task(batcher.results([item("a"), item("ccc")], Line()))  # "a" is in the model now
        await asyncio.sleep(0.02)
        slow.go.set()
        assert [float(vector[0]) for vector in await first] == [1, 1, 2]  # type: ignore[index]
        assert [float(vector[0]) for vector in await second] == [1, 3]  # type: ignore[index]
        assert slow.batches == [["a", "bb"], ["ccc"]]

    run(work)


def test_who_goes_away_leaves_the_queue() -> None:
    async def work(batcher: Queue, slow: Slow) -> None:
        busy = asyncio.create_task(batcher.results([item("busy")], Line()))
        await started(slow, 1)
        gone = asyncio.create_task(batcher.results([item("gone"), item("shared")], Line()))
        stays = asyncio.create_task(batcher.results([item("shared"), item("stays")], Line()))
        await asyncio.sleep(0.02)
        assert batcher.waiting == 3
        gone.cancel()
        await asyncio.sleep(0.02)
        assert batcher.waiting == 2
        slow.go.set()
        await asyncio.gather(busy, stays)
        assert sorted(map(str, slow.batches[1])) == ["shared", "stays"]
        assert batcher.waiting == 0

    run(work)


def test_requests_take_turns() -> None:
    """A lone item does not wait for a request of many, which goes on where it was; nor do the later ones of two."""

    async def work(batcher: Queue, slow: Slow) -> None:
        many = asyncio.create_task(batcher.results([item(f"m{n:02}", 50) for n in range(20)], Line()))
        await started(slow, 1)
        lone = asyncio.create_task(batcher.results([item("lone", 50)], Line()))
        two = asyncio.create_task(batcher.results([item("two 1", 50), item("two 2", 50)], Line()))
        await asyncio.sleep(0.02)
        slow.go.set()
        await asyncio.gather(many, lone, two)
        order = [entry for batch in slow.batches for entry in batch]
        assert max(order.index(entry) for entry in ("lone", "two 1", "two 2")) < 10
        assert [entry for entry in order if str(entry)[0] == "m"] == [f"m{n:02}" for n in range(20)]

    run(work)


def test_a_long_item_does_not_wait_for_every_short_one() -> None:
    """Requests of one item are in the order of their coming, whatever their lengths."""

    async def work(batcher: Queue, slow: Slow) -> None:
        busy = asyncio.create_task(batcher.results([item("busy")], Line()))
        await started(slow, 1)
        names = [("long", 90), *((f"short {n}", 10) for n in range(20))]
        asked = [asyncio.create_task(batcher.results([item(name, tokens)], Line())) for name, tokens in names]
        await asyncio.sleep(0.02)
        slow.go.set()
        await asyncio.gather(busy, *asked)
        assert slow.batches[1] == ["long"]

    run(work)


def test_equal_requests_end_one_after_the_other() -> None:
    """Not all of them at last: the first one's wait is its own work, not everybody's."""

    async def work(batcher: Queue, slow: Slow) -> None:
        busy = asyncio.create_task(batcher.results([item("busy")], Line()))
        await started(slow, 1)
        ended: list[str] = []

        async def ask(name: str) -> None:
            await batcher.results([item(f"{name}{number}", 50) for number in range(6)], Line())
            ended.append(name)

        asked = [asyncio.create_task(ask(name)) for name in "abc"]
        await asyncio.sleep(0.02)
        slow.go.set()
        await asyncio.gather(busy, *asked)
        order = [str(entry)[0] for batch in slow.batches[1:] for entry in batch]
        assert order == [*"aaaaaabbbbbbcccccc"]
        assert ended == ["a", "b", "c"]

    run(work, by_end=True)


def test_like_lengths_are_looked_for_among_the_next_requests() -> None:
    """A batch of all requests' shortest items would leave every one of them waiting for the last batch."""

    async def work(batcher: Queue, slow: Slow) -> None:
        busy = asyncio.create_task(batcher.results([item("busy")], Line()))
        await started(slow, 1)
        names = "abcdefghijklmnop"
        asked = [[item(f"{name}{place}", 10 + 3 * place) for place in range(20)] for name in names]
        tasks = [asyncio.create_task(batcher.results(items, Line())) for items in asked]
        await asyncio.sleep(0.02)
        slow.go.set()
        await asyncio.gather(busy, *tasks)
        order = [str(entry) for batch in slow.batches[1:] for entry in batch]
        last = [max(place for place, entry in enumerate(order) if entry[0] == name) for name in names]
        assert sum(last) / len(last) < 0.75 * len(order)
        assert max(last[:2]) < len(order) / 2

    run(work, BatchPlan(tokens=2000, items={"text": 64}), by_end=True)


def test_one_failed_batch_is_not_the_end() -> None:
    async def work(batcher: Queue, slow: Slow) -> None:
        slow.go.set()
        assert await batcher.results([item("fail")], Line()) == [None]
        (vector,) = await batcher.results([item("after")], Line())
        assert isinstance(vector, np.ndarray)

    run(work)


def test_admission() -> None:
    admission = Admission(Limits(queue_items=10, queue_tokens=100))
    with admission.claim(8) as claim:
        claim.add("tokens", 60)
        with pytest.raises(ApiError) as caught, admission.claim(3):
            pass
        assert (caught.value.status, caught.value.retry_after) == (429, 1)
        with admission.claim(2) as other, pytest.raises(ApiError) as caught:
            other.add("tokens", 41)
        assert caught.value.status == 429
    assert admission.held == {"items": 0, "tokens": 0}
    with pytest.raises(ApiError) as caught, admission.claim(11):
        pass
    assert caught.value.status == 413
    assert admission.held == {"items": 0, "tokens": 0}


def test_memory_is_waited_for_in_order() -> None:
    async def work() -> None:
        memory, done = Memory(10), list[str]()

        async def hold(name: str, amount: int, turns: int) -> None:
            async with memory.hold(amount):
                assert memory.held <= 10
                for _ in range(turns):
                    await asyncio.sleep(0)
                done.append(name)

        tasks = [asyncio.create_task(hold(*args)) for args in (("a", 6, 5), ("b", 6, 1), ("c", 4, 1), ("huge", 99, 1))]
        await asyncio.sleep(0)
        waiting = asyncio.create_task(hold("cancelled", 5, 1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(*tasks)
        assert done[0] == "a"
        assert done[-1] == "huge"
        assert sorted(done) == ["a", "b", "c", "huge"]
        assert memory.held == 0

    asyncio.run(work())


class Frail(SentenceTransformer):
    """A model whose memory holds so many items, and which fails on some."""

    def __init__(self, model: SentenceTransformer, holds: int) -> None:
        super().__init__(modules=list(model), device="cpu")
        self.holds = holds

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **options: Any) -> dict[str, Any]:
        if len(inputs) > self.holds or "huge" in inputs:
            raise torch.OutOfMemoryError("no memory")
        if any(isinstance(entry, str) and entry.startswith("bad") for entry in inputs):
            raise ValueError("at 0x7f0011223344")
        return super().preprocess(inputs, prompt, **options)


def test_out_of_memory_halves_and_goes_on(nano_untouched: SentenceTransformer) -> None:
    frail = Frail(nano_untouched, holds=3)
    engine = Engine(frail, name="frail")
    texts: list[Any] = [f"text {number}" for number in range(10)]
    wanted = nano_untouched.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(np.stack(engine.encode("text", None, texts)), wanted, atol=1e-5)  # type: ignore[arg-type]
    frail.holds = 64
    pictures: list[Any] = [Image.new("RGB", (32, 32), (n, 0, 0)) for n in range(8)]
    calls: list[int] = []
    plain = frail.preprocess
    frail.preprocess = lambda inputs, prompt=None, **options: calls.append(len(inputs)) or plain(inputs, prompt)  # type: ignore[method-assign,func-returns-value,assignment]
    engine.encode("text", None, texts)
    engine.encode("image", None, pictures)
    assert calls[-1] == 8  # what texts taught says nothing of pictures
    assert max(calls[:-1]) <= 3


def test_bad_items_of_strangers(nano_untouched: SentenceTransformer) -> None:
    engine = Engine(Frail(nano_untouched, holds=8), name="frail")
    found = engine.encode("text", None, ["bad one", "good", "bad two", "huge"])
    kinds = [outcome.kind if isinstance(outcome, Refused) else "" for outcome in found]
    assert kinds == ["model", "", "model", "memory"]
    both = engine.encode("text", None, ["bad one", "bad two"])
    assert all(isinstance(outcome, Refused) for outcome in both)


def test_memory_of_waiters_that_end_together() -> None:
    """The first of two that are cancelled at once hands its turn on, and not to the other."""

    async def work() -> None:
        memory = Memory(10)

        async def hold(amount: int) -> None:
            async with memory.hold(amount):
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(hold(6)) for _ in range(4)]
        await asyncio.sleep(0)
        assert memory.held == 6
        for task in tasks[:3]:
            task.cancel()
        await asyncio.wait(tasks[:3])
        await asyncio.sleep(0)
        assert [task.cancelled() for task in tasks] == [True, True, True, False]
        assert memory.held == 6  # the last one's
        tasks[3].cancel()
        await asyncio.wait(tasks)
        assert memory.held == 0

    asyncio.run(asyncio.wait_for(work(), 20))
