"""Whole runs on a handful of drawings with the nano model: all kinds of tables, a kill, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llave import evaluate
from llave.cli.main import main
from llave.data.mmeb import MMEBFolder
from llave.models.open import load_model
from tests.fit.conftest import COLOURS, WriteTable, draw, pairs
from tests.report.pages import check_self_contained, parse

FEW = ["--base", "nano", "--epochs", "1"]


def fitted(source: Path, out: Path, *options: str) -> dict[str, Any]:
    """What fit.json says."""
    assert main(["fit", str(source), "--out", str(out), *FEW, *options]) == 0
    found: dict[str, Any] = json.loads((out / "fit.json").read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def made(drawings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of pairs, with a bad row and one twice."""
    rows = [*pairs(), {"photo": "gone.png", "caption": "<gone>"}, pairs()[5]]
    table = drawings / "made.csv"
    table.write_text("photo,caption\n" + "".join(f"{row['photo']},{row['caption']}\n" for row in rows))
    out = tmp_path_factory.mktemp("fit") / "mine"
    fitted(table, out)
    return out


def test_what_a_run_leaves(made: Path) -> None:
    record = json.loads((made / "fit.json").read_text("utf-8"))
    assert record["status"] == "finished"
    assert record["data"]["rows"] == {"train": 46, "validation": 6, "test": 12}
    assert record["data"]["left_out"] == {"a picture that cannot be opened": 1, "duplicates": 1}
    assert [each["name"] for each in record["scores"]["datasets"]] == ["picture_to_text", "text_to_picture"]
    assert record["scores"]["overall"]["queries"] == 24
    assert record["scores"]["groups"] == 12
    assert record["scores"]["verdict"] in ("better", "worse", "undecided")
    left = {path.name for path in made.iterdir()}
    assert {"model.safetensors", "modules.json", "README.md", "report.html", "data", "metrics.jsonl"} <= left
    assert not {"training", "cache", "checkpoints", "best"} & left
    card = (made / "README.md").read_text("utf-8")
    assert "# mine" in card
    assert f"**{record['line']}**" in card
    assert "from 64 rows (pairs: pictures from `photo`, texts from `caption`), of which 46 were trained on" in card


def test_the_report(made: Path) -> None:
    check_self_contained(made / "report.html")
    page = parse(made / "report.html")
    record = json.loads((made / "fit.json").read_text("utf-8"))
    assert record["line"][1:] in page.text
    assert "left out: duplicates" in page.text
    assert "row 65" in page.text
    assert "gone.png" in page.text
    assert f"llave serve {made}" in page.text
    assert [value for tag, attributes in page.tags if tag == "img" and (value := attributes["src"])]


def test_scores_are_those_of_llave_eval(made: Path) -> None:
    """The written data and the written model give the scores that are told."""
    record = json.loads((made / "fit.json").read_text("utf-8"))
    result = evaluate(load_model(made, device="cpu"), made / "data", progress=False)
    assert {name: task.score for name, task in result.tasks.items()} == {
        each["name"]: each["b"] for each in record["scores"]["datasets"]
    }


def test_the_parts_are_a_folder_to_train_on(made: Path, tmp_path: Path) -> None:
    assert [len(MMEBFolder(made / "data").train("pairs"))] == [46]
    words = ["train", "--data", str(made / "data"), "--output", str(tmp_path / "again"), "--max_steps", "1"]
    assert main([*words, "--batch_size", "8", "--model", str(made)]) == 0


def test_a_finished_run_says_so(made: Path, drawings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (made / "model.safetensors").stat().st_mtime_ns
    fitted(drawings / "made.csv", made)
    printed = capsys.readouterr()
    assert "is finished already" in printed.err
    assert json.loads((made / "fit.json").read_text("utf-8"))["line"] in printed.out
    assert (made / "model.safetensors").stat().st_mtime_ns == before
    assert main(["fit", str(drawings / "made.csv"), "--out", str(made), *FEW, "--seed", "1"]) == 2
    assert "holds a model with another seed; choose another --out" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_model(made: Path, drawings: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    words = ["fit", str(drawings / "made.csv"), "--out", str(out), *FEW]
    command = [sys.executable, "-m", "llave.cli.main", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(out.glob("training/*/checkpoints/*/trainer_state.json")):
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert json.loads((out / "fit.json").read_text("utf-8"))["status"] == "running"
    assert list(out.glob("training/*/checkpoints/*"))
    assert main(words) == 0
    record, whole = (json.loads((folder / "fit.json").read_text("utf-8")) for folder in (out, made))
    assert record["scores"] == whole["scores"]
    ours, theirs = load_file(out / "model.safetensors"), load_file(made / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in made.iterdir())


def test_a_model_that_training_has_spoilt_is_not_kept(made: Path, drawings: Path, tmp_path: Path) -> None:
    """No checkpoint is as good on the validation part, so the start model is what comes out, and the card says so."""
    source, out = str(drawings / "made.csv"), tmp_path / "spoilt"
    words = ["fit", source, "--out", str(out), "--base", str(made), "--epochs", "4", "--learning_rate", "0.5"]
    assert main(words) == 0
    record = json.loads((out / "fit.json").read_text("utf-8"))
    assert record["training"]["validation_best"] < record["training"]["validation_before"]
    assert record["training"]["kept"] == "start"
    assert (record["scores"]["verdict"], record["scores"]["overall"]["difference"]) == ("undecided", 0.0)
    assert "no checkpoint was better than the start model" in record["advice"]
    ours, theirs = load_file(out / "model.safetensors"), load_file(made / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert "unchanged: no checkpoint was better" in (out / "README.md").read_text("utf-8")


def test_a_folder_of_labels(drawings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "by colour"
    for number in range(64):
        place = folder / COLOURS[number % 4]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes((drawings / f"{number}.png").read_bytes())
    draw(0)[0].save(folder / "loose.png")
    (folder / "red" / "broken.png").write_bytes(b"\x89PNG")
    record = fitted(folder, tmp_path / "out", "--minutes", "0.001")
    assert "classes: pictures from `files`, labels from `names of folders`" in capsys.readouterr().err
    assert record["data"]["labels"] == 4
    assert record["data"]["left_out"] == {"in no folder of a label": 1, "a picture that cannot be opened": 1}
    assert [each["name"] for each in record["scores"]["datasets"]] == ["picture_to_label"]
    assert record["training"]["steps"] == 1, "the budget is a step"
    row = MMEBFolder(tmp_path / "out" / "data").eval("picture_to_label")[0]
    corpus = MMEBFolder(tmp_path / "out" / "data").corpus("picture_to_label")
    assert len(row.candidates) == 1
    assert sorted(item.text for item in corpus) == sorted(COLOURS[:4])


@pytest.mark.slow
def test_triplets(table: WriteTable, drawings: Path, tmp_path: Path) -> None:
    """Queries are texts, the others pictures; half of the negatives are other rows' positives."""
    for n in range(32):
        draw(n)[0].rotate(45).save(drawings / f"turned-{n}.png")
    rows = [
        {
            "query": f"find {draw(n)[1]}",
            "positive": f"{n}.png",
            "negative": f"turned-{n}.png" if n < 32 else f"{(n + 8) % 64}.png",
        }
        for n in range(64)
    ]
    record = fitted(table("triplets.csv", rows), tmp_path / "out")
    assert record["data"]["kind"] == "triplets"
    assert record["data"]["negatives_dropped"] > 0
    assert [each["name"] for each in record["scores"]["datasets"]] == ["query_to_positive"]
    corpus = MMEBFolder(tmp_path / "out" / "data").corpus("query_to_positive")
    test_rows = MMEBFolder(tmp_path / "out" / "data").eval("query_to_positive")
    assert len(corpus) > len(test_rows) == 12


@pytest.mark.slow
def test_pairs_of_texts_with_adapters(tmp_path: Path) -> None:
    """A sentence that is an answer too is no query in that direction: it would find itself."""
    path = tmp_path / "pairs.jsonl"
    rows = [{"anchor": f"question number {n}", "positive": f"the answer is {n}"} for n in range(60)]
    rows += [{"anchor": f"the answer is {n}", "positive": f"indeed {n}"} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = fitted(path, tmp_path / "out", "--lora", "yes", "--learning_rate", "1e-5")
    assert record["training"]["lora"]
    assert record["training"]["learning_rate"] == 1e-5
    assert record["data"]["pictures"] is None
    asked = {each["name"]: each["queries"] for each in record["scores"]["datasets"]}
    assert asked == {"query_to_positive": 12, "positive_to_query": 12}
    assert record["data"]["not_asked"] == {"query_to_positive": 12, "positive_to_query": 12}
    assert (tmp_path / "out" / "adapter").is_dir()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.csv"], "nowhere.csv: no such folder or file"),
        (["pairs.txt"], "pairs.txt: neither a folder of labels nor a table"),
        (["few.csv"], "20 usable rows: at least 50 are needed"),
        (["few.csv", "--base", "/no/such/model"], "/no/such/model: no such directory"),
        (["few.csv", "--epochs", "0"], "--epochs must be above 0"),
        (["few.csv", "--picture", "nothing"], "no column 'nothing' for --picture"),
        (["one_label"], "one_label: a folder of labels has two folders or more"),
        (["parts", "--label", "x"], "a folder has no columns"),
        (["parts"], "test, train are parts, not labels"),
    ],
)
def test_what_is_refused(
    words: list[str],
    message: str,
    table: WriteTable,
    drawings: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    table("few.csv", pairs(20))
    (drawings / "pairs.txt").write_text("x")
    for name in ("one_label/red", "parts/train", "parts/test"):
        (drawings / name).mkdir(parents=True, exist_ok=True)
    source = str(drawings / words[0])
    out = tmp_path / "out"
    assert main(["fit", source, "--out", str(out), "--base", "nano", *words[1:]]) == 2
    captured = capsys.readouterr().err
    assert message in captured
    assert captured.splitlines()[-1].startswith("llave: ")
    assert not out.exists()


def test_a_folder_of_something_else_stays(
    tmp_path: Path, table: WriteTable, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["fit", str(table("any.csv", pairs())), "--out", str(tmp_path), *FEW]) == 2
    assert "not empty, and not of `llave fit`" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"asked": 3, "status": "running"}', '{"asked": {}}', "\0"])
def test_a_damaged_record_is_named(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pairs.csv").write_text("query,answer\na,b\n")
    out = tmp_path / "out"
    out.mkdir()
    (out / "fit.json").write_text(content)
    assert main(["fit", str(tmp_path / "pairs.csv"), "--out", str(out), "--base", "nano"]) == 2
    assert f"fit.json: damaged; remove {out}, or choose another --out" in capsys.readouterr().err
