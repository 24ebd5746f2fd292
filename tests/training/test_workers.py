"""Batches are the same for any number of workers and of processes; broken pictures cost their rows alone."""

import io
import json
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from torch.utils.data import DataLoader

from llave.data.corpus import Corpus
from llave.data.sampler import GlobalBatchSampler
from llave.data.sources import find_source
from llave.data.train_table import open_table
from llave.errors import DataError
from llave.training.config import DataSetConfig, TrainConfig
from llave.training.prepare import prepare
from llave.training.row_errors import RowErrors, read_row_errors
from llave.training.rows import Collator, Use
from llave.training.run import train
from tests.gloo import in_processes
from tests.shapes import make_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"))


def corpus(data: Path, *names: str) -> Corpus:
    return Corpus({name: open_table(find_source(data, name)) for name in names})


def pixels(entries: list[Any], prompt: Any = None) -> dict[str, Any]:
    """A preprocessing that keeps what it was given: texts, prompts, and the sum of every picture."""
    texts = [
        entry if isinstance(entry, str) else entry.get("text", "") if isinstance(entry, dict) else ""
        for entry in entries
    ]
    pictures = [entry["image"] if isinstance(entry, dict) else entry for entry in entries if not isinstance(entry, str)]
    return {"texts": texts, "prompts": prompt, "sums": [sum(picture.tobytes()) for picture in pictures]}


def batches(data: Path, workers: int, errors: Path) -> list[dict[str, Any]]:
    rows = corpus(data, "naming", "t2i")
    sampler = GlobalBatchSampler(rows.ids(), batch_size=8, seed=1)
    collate = Collator(pixels, rows, errors=RowErrors(errors), seed=5, uses={"t2i": Use(hard_negatives=True)})
    numbers: Any = [{"row": row} for row in range(len(rows))]
    loader = DataLoader(
        numbers, batch_sampler=sampler, collate_fn=collate, num_workers=workers, persistent_workers=workers > 0
    )
    found = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        found += [
            {key: value.tolist() if key == "label" else value for key, value in batch.items()} for batch in loader
        ]
    return found


@pytest.mark.parametrize("broken", [False, True], ids=["whole", "broken"])
def test_batches_do_not_depend_on_the_number_of_workers(tmp_path: Path, broken: bool) -> None:
    """Order and content; with a missing and a truncated picture also the rows that stand in for theirs."""
    data = make_folder(tmp_path / "data")
    if broken:
        (data / "images" / "red_circle.png").write_bytes((data / "images" / "red_circle.png").read_bytes()[:70])
        (data / "images" / "blue_bar.png").unlink()
    found = {workers: batches(data, workers, tmp_path / f"{workers}.jsonl") for workers in (0, 1, 3)}
    assert len(found[0]) == 8
    assert found[0] == found[1] == found[3]
    assert all(len(batch["label"]) == 8 for batch in found[0])
    errors = [read_row_errors(tmp_path / f"{workers}.jsonl") for workers in (0, 1, 3)]
    assert errors[0] == errors[1] == errors[2]
    assert len(errors[0]) == (2 + 4 if broken else 0)  # two rows of naming; in t2i also as hard negatives
    if broken:
        reasons = {(Path(file).name, row): reason for (file, row), reason in errors[0].items()}
        assert "cannot decode" in reasons["naming.json", 0]
        assert any("no such picture" in reason for reason in reasons.values())


def test_a_collator_can_be_sent_to_another_process(data: Path) -> None:
    collate = Collator(pixels, corpus(data, "t2i"), uses={"t2i": Use("Query: ")})
    features = [{"row": row} for row in range(5)]
    again = pickle.loads(pickle.dumps(collate))(features)
    assert again["query_texts"] == collate(features)["query_texts"]
    assert again["query_texts"][0] == "Find: red circle"
    assert again["query_prompts"] == ["Query: "] * 5


def test_a_row_without_a_negative_takes_another_positive(tmp_path: Path) -> None:
    """So that every rank has the same columns, whichever rows it has."""
    data = make_folder(tmp_path / "data")
    rows = json.loads((data / "train" / "t2i.json").read_text())
    for row in rows[1::2]:
        row["neg_text"] = row["neg_image_path"] = ""
    (data / "train" / "t2i.json").write_text(json.dumps(rows))
    collate = Collator(pixels, corpus(data, "naming", "t2i"), uses={"t2i": Use(hard_negatives=True)}, mixed=True)
    batch = collate([{"row": row} for row in range(32)])  # 16 of naming, 16 of t2i
    assert batch["label"].shape == (32, 3)
    assert (batch["label"][:, 2] != batch["label"][:, 1]).all()
    assert batch["negative_texts"][0] != batch["positive_texts"][0]
    alone = Collator(pixels, corpus(data, "naming", "t2i"), uses={"t2i": Use(hard_negatives=True)})
    assert alone([{"row": row} for row in range(4)])["label"].shape == (4, 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_outlives_broken_pictures(tmp_path: Path, workers: int) -> None:
    data = make_folder(tmp_path / "data")
    (data / "images" / "red_circle.png").write_bytes(b"not a picture")
    text = io.StringIO()
    settings = TrainConfig(
        data=data, output=tmp_path / "run", batch_size=8, max_steps=4, log_steps=1, verify_pictures=False,
        workers=workers, datasets={"naming": DataSetConfig()},
    )  # fmt: skip
    output = train(settings, console=Console(file=text, width=300))
    errors = read_row_errors(output / "errors.jsonl")
    assert list(errors) == [(str(data / "train" / "naming.json"), 0)]
    assert text.getvalue().count("a row could not be used and was replaced") == 1
    assert "1 rows were replaced" in text.getvalue()
    record = json.loads((output / "run.json").read_text())
    assert (record["steps"], record["rows"]["naming"], record["skipped"]) == (4, 16, [])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_set_without_a_single_picture_stops_in_one_line(tmp_path: Path, workers: int) -> None:
    data = make_folder(tmp_path / "data")
    for path in (data / "images").iterdir():
        path.unlink()
    settings = TrainConfig(
        data=data, output=tmp_path / "run", batch_size=8, max_steps=1, verify_pictures=False, workers=workers
    )
    with pytest.raises(DataError, match=r"^(t2i|naming): 32 rows in a row cannot be used; the first: .*png") as error:
        train(settings)
    assert "\n" not in str(error.value)


def test_resuming_decodes_nothing_of_what_it_skips(data: Path, tmp_path: Path) -> None:
    """Of four batches an epoch, the resumed run prepares the two that are left."""
    whole = TrainConfig(data=data, output=tmp_path / "run", batch_size=8, max_steps=2, save_steps=2, workers=0)
    first = prepare(whole, Console(quiet=True), "first")
    first.trainer.train()
    again = prepare(TrainConfig(**{**vars(whole), "max_steps": 4}), Console(quiet=True), "again")
    collate = again.trainer.data_collator
    calls: list[int] = []
    again.trainer.data_collator = lambda features: (calls.append(len(features)), collate(features))[1]
    again.trainer.data_collator.valid_label_columns = collate.valid_label_columns
    again.trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoints" / "checkpoint-2"))
    assert again.trainer.state.global_step == 4
    assert calls == [8, 8]


WORLD, ROWS = 2, 4


def _rank(rank: int, data: str, directory: str, resume: bool) -> None:
    """Train, and note the rows of every batch."""
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(WORLD), "MASTER_ADDR": "127.0.0.1",
    }  # fmt: skip
    _log_rows(Path(data), Path(directory), ROWS, f"{rank}-{resume}", checkpoint=6 if resume else None)


def _log_rows(data: Path, directory: Path, batch_size: int, name: str, checkpoint: int | None = None) -> None:
    settings = TrainConfig(
        data=data, output=directory / "run", batch_size=batch_size, max_steps=12, save_steps=6, keep_checkpoints=9,
        workers=1,
    )  # fmt: skip
    trainer = prepare(settings, Console(quiet=True), name).trainer
    collate = trainer.data_collator
    log = directory / f"{name}.txt"

    def logged(features: list[dict[str, Any]]) -> dict[str, Any]:
        with log.open("a") as file:
            file.write(json.dumps([feature["row"] for feature in features]) + "\n")
        return collate(features)

    logged.valid_label_columns = collate.valid_label_columns  # type: ignore[attr-defined]
    trainer.data_collator = logged
    path = directory / "run" / "checkpoints" / f"checkpoint-{checkpoint}"
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(path))


def _logged(path: Path) -> list[list[int]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_see_the_global_batches_of_one(data: Path) -> None:
    """Also when they go on inside the second epoch: 4 global batches an epoch, resumed at step 6."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for resume in (False, True):
            in_processes(_rank, str(data), name, resume, world=WORLD)
        alone = directory / "alone"
        alone.mkdir()
        _log_rows(data, alone, WORLD * ROWS, "one")
        one = _logged(alone / "one.txt")
        both = [_logged(directory / f"{rank}-False.txt") for rank in range(WORLD)]
        assert [left + right for left, right in zip(*both, strict=True)] == one
        assert len(one) == 12
        again = [_logged(directory / f"{rank}-True.txt") for rank in range(WORLD)]
        assert [left + right for left, right in zip(*again, strict=True)] == one[6:]
