"""The jobs of docs/jobs.md, run as they stand there, in the order of the page."""

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from sentence_transformers import SentenceTransformer

from llave.cli.main import main
from tests.written_pdf import written_pdf

PAGE = (Path(__file__).parent.parent / "docs" / "jobs.md").read_text("utf-8")
JOBS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
COLOURS = ("red", "blue", "green", "orange", "black", "purple", "brown", "pink")
SHAPES = ("circle", "square", "triangle")


def draw(shape: str, colour: str, size: int) -> Image.Image:
    image = Image.new("RGB", (96, 96), "white")
    pen, box = ImageDraw.Draw(image), (48 - size, 48 - size, 48 + size, 48 + size)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.polygon([(48, box[1]), (box[0], box[3]), (box[2], box[3])], fill=colour)
    return image


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, nano_untouched: SentenceTransformer) -> Iterator[Path]:
    """What the page says is there; one folder for all jobs, since some build on others."""
    folder = tmp_path_factory.mktemp("jobs")
    nano_untouched.save_pretrained(str(folder / "models" / "mine"))
    (folder / "photos").mkdir()
    rows = []
    for shape in SHAPES:
        for colour in COLOURS:
            for number, size in enumerate((16, 28, 40)):
                name = f"photos/{shape}-{colour}-{number}.png"
                draw(shape, colour, size).save(folder / name)
                rows.append((name, f"a {('small', 'plain', 'large')[number]} {colour} {shape}"))
    draw("circle", "red", 28).save(folder / "photos" / "again.jpg", quality=80)
    (folder / "photos" / "notes.txt").write_text("shapes in eight colours")
    written_pdf(folder / "photos" / "page.pdf", "a page about circles")
    (folder / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("photo", "caption"), *rows])
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def run(job: str) -> list[int]:
    """The exit codes of a job's commands."""
    [block] = re.findall(r"```sh\n(.*?)```", JOBS[job], re.DOTALL)
    commands = block.strip().splitlines()
    assert 1 <= len(commands) <= 2
    codes = []
    for command in commands:
        llave, *words = shlex.split(command)
        assert llave == "llave"
        codes.append(main(words))
    return codes


def test_there_are_twelve() -> None:
    assert len(JOBS) == 12


def test_a_mixed_folder_is_searched(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("Search a mixed folder") == [1, 0]  # the broken picture is said, and costs itself alone
    out, err = capsys.readouterr()
    assert "75 items; 75 added" in out, out + err
    assert "broken.png" in out + err


@pytest.mark.slow
def test_a_table_becomes_a_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("A better model from a table") == [0]
    found = json.loads((place / "models/fitted/fit.json").read_text("utf-8"))
    assert found["status"] == "finished"
    assert found["scores"]["verdict"] in {"better", "worse", "undecided"}
    assert (place / "models/fitted/report.html").is_file()


@pytest.mark.slow
def test_adapters(place: Path) -> None:
    assert run("Adapters for a model directory") == [0]
    assert json.loads((place / "models/adapted/fit.json").read_text("utf-8"))["training"]["lora"] is True


def test_vectors_and_hits_leave(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = run("Take vectors and hits elsewhere")
    assert codes[1] == 0
    out = capsys.readouterr().out
    assert len(json.loads(out[out.index("[\n") :])) == 20
    assert list((place / "vectors").rglob("*.parquet"))


def test_duplicates(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("Find duplicates") in ([0], [1])
    assert "again.jpg" in capsys.readouterr().out
    assert (place / "dups.html").is_file()


def test_labels_without_training(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("Give labels without training") == [0, 0]
    with (place / "shapes.csv").open() as file:
        assert {row["label"] for row in csv.DictReader(file)} <= set(SHAPES)


def test_groups(place: Path) -> None:
    assert run("See groups") == [0]
    assert (place / "groups.html").is_file()


def test_hard_negatives_from_a_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("Mine hard negatives from a table") == [0, 0]
    assert "72 negatives for 72 rows" in capsys.readouterr().out


def test_a_benchmark_of_ones_own(place: Path) -> None:
    assert run("A benchmark of your own") == [0]
    found = json.loads((place / "runs/mine/results.json").read_text("utf-8"))
    assert sum(task["queries"] for task in found["datasets"].values()) == 144


def test_the_server_answers_its_clients(place: Path) -> None:
    job = "Serve to the clients that you have"
    [command] = re.findall(r"```sh\n(.*?)```", JOBS[job], re.DOTALL)
    [snippet] = re.findall(r"```python\n(.*?)```", JOBS[job], re.DOTALL)
    words = shlex.split(command)[1:]
    server = subprocess.Popen([sys.executable, "-m", "llave.cli.main", *words], stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        for line in server.stderr:
            if "ready" in line:
                break
        names: dict[str, object] = {}
        exec(compile(snippet, "docs/jobs.md", "exec"), names)
        assert len(names["answer"].data[0].embedding) == 384  # type: ignore[attr-defined]
        asked = urllib.request.Request(
            "http://127.0.0.1:8010/v1/search", b'{"text": "a circle"}', {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert json.loads(answer.read())["results"]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


@pytest.mark.slow
def test_two_models(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (place / "models/fitted").is_dir() or run("A better model from a table") == [0]  # what it builds on
    assert run("Two models beside each other") == [0, 0]
    assert (place / "runs/both/report.html").is_file()
