"""Runs that are killed, shared among processes, or meet what a model cannot take."""

import json
import multiprocessing
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from llave import load_model
from llave.encode import encoder as encoding
from llave.encode.cache import EmbeddingCache
from llave.encode.encoder import GIVE_UP, Encoder
from llave.encode.forward import Forward, Outcome, Refused
from llave.encode.item import Item
from llave.encode.table import ItemTable, encode_table
from llave.errors import UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.runner import evaluate

BATCH = 4
KILLS = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets that share pictures; one picture is a copy of another under a second name."""
    root = tmp_path_factory.mktemp("long")
    (root / "images").mkdir()
    (root / "eval").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((48, 48)).save(root / "images" / f"{number}.png")
    (root / "images" / "copy.png").write_bytes((root / "images" / "0.png").read_bytes())
    names = [f"{number}.png" for number in range(12)]
    describe = [
        {"qry_text": f"<|image_1|>\nwhat is in number {row}?", "qry_img_path": names[row],
         "tgt_text": [f"thing {(row + step) % 12}" for step in range(6)], "tgt_img_path": [""] * 6}
        for row in range(12)
    ]  # fmt: skip
    find = [
        {"qry_text": f"find picture {'very ' * row}{row}", "qry_img_path": "",
         "tgt_text": [""] * 7, "tgt_img_path": [names[(row + step) % 12] for step in range(6)] + ["copy.png"]}
        for row in range(7)
    ]  # fmt: skip
    (root / "eval" / "describe.json").write_text(json.dumps(describe))
    (root / "eval" / "find.json").write_text(json.dumps(find))
    return root


class CountingForward(Forward):
    """Notes in a file how many items it is about to encode."""

    log: Path

    def __call__(self, inputs: Sequence[Any], *args: Any, **options: Any) -> list[Outcome]:
        with self.log.open("a") as file:
            file.write(f"{len(inputs)}\n")
        return super().__call__(inputs, *args, **options)


def _run(folder: Path, cache: Path, log: Path, out: Path) -> None:
    """What the killed process does."""
    torch.set_num_threads(1)
    CountingForward.log = log
    encoding.Forward = CountingForward  # type: ignore[misc]
    model = load_model("nano", device="cpu")
    result = evaluate(model, get_benchmark(folder), batch_size=BATCH, cache_dir=cache, progress=False)
    out.write_text(
        json.dumps({name: [row.scores.tolist() for row in task.rows] for name, task in result.tasks.items()})
    )


@pytest.mark.slow
def test_killed_ten_times_it_ends_with_the_same_scores_and_repeats_one_batch_at_most(
    folder: Path, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["llave.evaluation.runner", "llave.models.open", "sentence_transformers"])
    log, rng = tmp_path / "log", random.Random(0)

    def lines() -> int:
        return len(log.read_text().splitlines()) if log.exists() else 0

    undisturbed = context.Process(target=_run, args=(folder, tmp_path / "a", log, tmp_path / "a.json"))
    undisturbed.start()
    undisturbed.join()
    items = sum(map(int, log.read_text().split()))
    assert items == 12 + 12 + 12 + 7  # pictures with questions, things, pictures, searches: the copy is not encoded
    log.unlink()
    killed = 0
    while killed < KILLS:
        before = lines()
        process = context.Process(target=_run, args=(folder, tmp_path / "b", log, tmp_path / "b.json"))
        process.start()
        while lines() == before and process.is_alive():
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.06))
        process.kill()
        process.join()
        killed += process.exitcode == -9
        assert process.exitcode == -9, "it ended before it could be killed ten times; make the benchmark larger"
    last = context.Process(target=_run, args=(folder, tmp_path / "b", log, tmp_path / "b.json"))
    last.start()
    last.join()
    assert json.loads((tmp_path / "b.json").read_text()) == json.loads((tmp_path / "a.json").read_text())
    assert sum(map(int, log.read_text().split())) <= items + KILLS * BATCH
    assert not [path for path in (tmp_path / "b").rglob("*.tmp") if path.stat().st_size > 2**20]


@pytest.mark.slow
def test_two_processes_give_what_one_gives(nano_untouched: SentenceTransformer, folder: Path) -> None:
    benchmark = get_benchmark(folder)
    one = evaluate(nano_untouched, benchmark, batch_size=BATCH, progress=False)
    two = evaluate(nano_untouched, benchmark, batch_size=BATCH, processes=2, progress=False)
    assert one.encoded == two.encoded
    assert one.groups() == two.groups()
    for name, rows in one.scores.items():
        for expected, found in zip(rows, two.scores[name], strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-6)


class Dies(nn.Module):
    """A module that ends its process, as the kernel does when memory runs out."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        os._exit(9)


@pytest.mark.slow
def test_a_process_that_dies_is_reported(nano_untouched: SentenceTransformer, folder: Path) -> None:
    model = SentenceTransformer(modules=[*nano_untouched, Dies()], device="cpu")
    with pytest.raises(UserError, match="a process ended with code 9"):
        evaluate(model, get_benchmark(folder), batch_size=BATCH, processes=2, progress=False)


class Picky(nn.Module):
    """Refuses batches with a long text, or with more items than it has memory for."""

    def __init__(self, longest: int, memory: int = 64) -> None:
        super().__init__()
        self.longest = longest
        self.memory = memory
        self.batches: list[int] = []

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        batch, length = features["attention_mask"].shape
        if batch > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if length > self.longest:
            raise ValueError(f"{length} tokens are too many")
        self.batches.append(batch)
        return features


def test_an_item_that_the_model_refuses_costs_no_other_one(nano_untouched: SentenceTransformer) -> None:
    model = SentenceTransformer(modules=[*nano_untouched, Picky(longest=20)], device="cpu")
    texts = ["a cat", "word " * 40, "a dog", "a house by the sea", "a boat"]
    found = Encoder(model)([Item(text) for text in texts])
    assert [isinstance(outcome, Refused) for outcome in found] == [False, True, False, False, False]
    assert "42 tokens are too many" in str(found[1])
    expected = nano_untouched.encode([texts[0], *texts[2:]], show_progress_bar=False)
    np.testing.assert_allclose(np.stack([v for v in found if not isinstance(v, Refused)]), expected, atol=1e-6)


def test_a_model_that_refuses_everything_ends_a_long_run_and_no_short_one(nano_untouched: SentenceTransformer) -> None:
    encoder = Encoder(SentenceTransformer(modules=[*nano_untouched, Picky(longest=1)], device="cpu"))
    some = [Item(f"number {n}") for n in range(GIVE_UP - 1)]
    assert all(isinstance(outcome, Refused) and outcome.kind == "model" for outcome in encoder(some))
    with pytest.raises(UserError, match=f"refuses {GIVE_UP} items of {GIVE_UP}"):
        encoder([Item("one more")])


def test_a_batch_that_does_not_fit_the_memory_is_halved_and_the_next_is_smaller(
    nano_untouched: SentenceTransformer,
) -> None:
    picky = Picky(longest=200, memory=3)
    forward = Forward(SentenceTransformer(modules=[*nano_untouched, picky], device="cpu"))
    texts = [f"number {n}" for n in range(8)]
    found = forward(texts)
    assert picky.batches == [2, 2, 2, 2]
    expected = nano_untouched.encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(np.stack([v for v in found if not isinstance(v, Refused)]), expected, atol=1e-6)
    forward(texts)
    assert picky.batches[4:] == [2, 2, 2, 2]  # without trying eight again
    none = Forward(SentenceTransformer(modules=[*nano_untouched, Picky(longest=200, memory=0)], device="cpu"))
    assert [outcome.kind for outcome in none(texts) if isinstance(outcome, Refused)] == ["memory"] * 8


def test_equal_content_is_encoded_once_and_many_shards_become_one(
    nano_untouched: SentenceTransformer, folder: Path, tmp_path: Path
) -> None:
    (task,) = [task for task in get_benchmark(folder).tasks if task.name == "find"]
    table = ItemTable()
    numbers = [table.add(task.folder, candidate) for row in task.rows() for candidate in row.candidates]
    cache = EmbeddingCache(tmp_path, "model")
    found = encode_table(Encoder(nano_untouched, batch_size=1), table, cache=cache, progress=False)
    assert (len(set(numbers)), found.encoded) == (13, 12)
    assert len(np.unique(found.same_U)) == 12
    assert len(list(tmp_path.rglob("*.safetensors"))) == 12
    again = EmbeddingCache(tmp_path, "model")
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    second = encode_table(Encoder(nano_untouched, batch_size=5), table, cache=again, progress=False)
    assert second.encoded == 0
    np.testing.assert_array_equal(second.embedding_UD, found.embedding_UD)
