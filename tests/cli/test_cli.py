"""The command line as its users meet it: help at once, one-line errors, exit codes, small jobs end to end."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import benchmarks
import llave
from benchmarks.commands import LossConfig
from llave.cli.analyze import AnalyzeConfig
from llave.cli.data import CheckConfig, DownloadConfig, SampleConfig, SummaryConfig
from llave.cli.doctor import DoctorConfig
from llave.cli.eval import EvalConfig
from llave.cli.main import COMMANDS, main
from llave.cli.mteb import MtebConfig
from llave.cli.parsing import parse
from llave.cli.quickstart import QuickstartConfig
from llave.mining.config import MineConfig
from llave.recipes import FOLDER
from llave.training.config import TrainConfig
from tests.shapes import make_folder

RECIPE = FOLDER / "nano.yaml"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "run"
    assert main(["train", "--data", str(data), "--output", str(out), "--batch_size", "8", "--max_steps", "2"]) == 0
    return out


def one_line(capsys: pytest.CaptureFixture[str], argv: list[str]) -> str:
    """The message of a user's mistake: exit code 2, one line on stderr, nothing on stdout."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("llave")
    return lines[0]


@pytest.mark.parametrize("argv", [["--help"], [], ["--version"]])
def test_help_and_version_do_not_wait_for_torch(argv: list[str]) -> None:
    script = (
        f"import sys; from llave.cli.main import main; code = main({argv!r})\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pyarrow', 'jsonargparse'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if argv == ["--version"]:
        assert done.stdout.startswith("llave 0.")
    else:
        assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("command", "config"),
    [
        ("quickstart", QuickstartConfig),
        ("train", TrainConfig),
        ("eval", EvalConfig),
        ("mteb", MtebConfig),
        ("analyze", AnalyzeConfig),
        ("bench loss", LossConfig),
        ("doctor", DoctorConfig),
        ("data sample", SampleConfig),
        ("data download", DownloadConfig),
        ("data mine", MineConfig),
        ("data check", CheckConfig),
        ("data summary", SummaryConfig),
    ],
)
def test_help_explains_every_option(command: str, config: type[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"llave {command}" in text
    for field in dataclasses.fields(config):
        assert f"--{field.name}" in text
        about = (config.__doc__ or "").split(f"        {field.name}: ")
        assert len(about) == 2, f"{config.__name__} does not document {field.name}"
        assert about[1].split()[0] in text.split(f"--{field.name}", 1)[1]


def test_the_public_names_come_without_torch_until_used() -> None:
    script = (
        "import sys, llave; assert 'torch' not in sys.modules\n"
        "from llave import HardnessWeightedLoss, hardness_weighted_loss, load_model\n"
        "assert {'HardnessWeightedLoss', 'hardness_weighted_loss', 'load_model'} < set(llave.__all__)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("first", [pytest.param("llave", marks=pytest.mark.slow), "sentence_transformers"])
def test_sentence_transformers_opens_our_model_after_import_llave(model: Path, first: str) -> None:
    second = {"llave": "sentence_transformers", "sentence_transformers": "llave"}[first]
    script = (
        f"import {first}, {second}\n"
        f"model = sentence_transformers.SentenceTransformer({str(model)!r}, device='cpu')\n"
        "assert model.encode(['a crab']).shape == (1, 384)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", ["nano", "nano.yaml", "recipes/nano.yaml", "--recipe=nano"])
def test_recipes_have_names_everywhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = parse(TrainConfig, [name, "--seed", "3"], command="train", description="", positional=("recipe",))
    assert (recipe.seed, recipe.loss.alpha, recipe.datasets["composed"].hard_negatives) == (3, 9.0, True)
    (tmp_path / "nano.yaml").write_text("model: nano\ndata: mine\noutput: run\n")
    mine = parse(TrainConfig, ["nano.yaml"], command="train", description="", positional=("recipe",))
    assert mine.data == Path("mine")  # a file of one's own comes first


def test_an_unknown_recipe_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nanno.yaml: no such recipe; llave's own are: ablations/candidates" in one_line(
        capsys, ["train", "nanno.yaml"]
    )
    assert "no such recipe" in one_line(capsys, ["ablate", "nano", "--grid", "plateu", "--out", "x"])


def test_mistakes_on_the_command_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no command 'trian'; there are: quickstart, fit, data, train" in one_line(capsys, ["trian"])
    assert "no command 'data chek'; there are: sample, download, pairs, mine, check, summary" in one_line(
        capsys, ["data", "chek"]
    )
    train = ["train", "--data", str(data), "--output", str(tmp_path / "run")]
    assert "learning_rat" in one_line(capsys, [*train, "--learning_rat", "1"])
    assert "epochs" in one_line(capsys, [*train, "--epochs", "many"])
    assert "batch_size must be at least 2, got 1" in one_line(capsys, [*train, "--batch_size", "1"])
    assert "precision" in one_line(capsys, [*train, "--precision", "fp64"])
    assert "unexpected 'extra'" in one_line(capsys, ["data", "check", str(data), "extra"])
    for content, key in (
        ({"bacth_size": 8}, "bacth_size"),
        ({"loss": {"alhpa": 9}}, "alhpa"),
        ({"datasets": {"t2i": {"wieght": 1}}}, "wieght"),
        ({"loss": {"reward": "other"}}, "other"),
    ):
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(yaml.safe_dump(content))
        assert key in one_line(capsys, ["train", str(recipe), *train[1:]])
    (tmp_path / "broken.yaml").write_text("data: [1, 2\noutput: }")
    assert "llave train" in one_line(capsys, ["train", str(tmp_path / "broken.yaml"), *train[1:]])
    assert "nowhere.yaml" in one_line(capsys, ["train", str(tmp_path / "nowhere.yaml"), *train[1:]])
    assert not (tmp_path / "run").exists()


def test_mistakes_about_files(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert "no model here" in one_line(capsys, ["eval", str(tmp_path / "empty"), "--benchmark", str(data)])
    assert "nowhere: no benchmark" in one_line(capsys, ["eval", "nano", "--benchmark", str(tmp_path / "nowhere")])
    assert "llave data download mmeb-v2 --out DIR" in one_line(capsys, ["eval", "nano", "--benchmark", "mmeb-v2"])
    assert "empty" in one_line(capsys, ["data", "check", str(tmp_path / "empty")])
    train = ["train", "--data", str(data), "--output"]
    assert "not empty and not a training run" in one_line(capsys, [*train, str(tmp_path / "full")])
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    assert "no data set fills a batch of 64" in one_line(capsys, [*train, str(tmp_path / "y")])
    assert "no data set cats" in one_line(capsys, [*train, str(tmp_path / "x"), "--datasets", "{cats: {}}"])


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("ok") and "torchvision fits torch" in line for line in lines)
    assert len(lines) < 24  # one screen
    assert main(["doctor", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)
    assert {"part", "name", "ok", "found", "remedy", "required"} == set(checks[0])
    version = importlib.metadata.version

    def without(missing: str) -> None:
        def lookup(name: str) -> str:
            if name == missing:
                raise importlib.metadata.PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(importlib.metadata, "version", lookup)

    without("tensorboard")
    assert main(["doctor"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "tensorboard" in line)
    assert line.startswith("-")
    assert "not installed" in line
    assert "pip install 'llave[track]'" in line
    without("sentence-transformers")
    assert main(["doctor"]) == 1
    assert any(
        line.startswith("MISSING  base      sentence-transformers") for line in capsys.readouterr().out.splitlines()
    )


def test_data_check_and_summary(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(data)]) == 0
    assert capsys.readouterr().out == f"0 problems in {data}\n"
    assert main(["data", "summary", str(data), "--json"]) == 0
    assert {
        row["data set"] if "data set" in row else next(iter(row.values()))
        for row in json.loads(capsys.readouterr().out)
    }
    assert main(["data", "summary", str(data)]) == 0
    assert "t2i" in capsys.readouterr().out
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    (broken / "images" / "red_bar.png").unlink()
    circle = broken / "images" / "red_circle.png"
    circle.write_bytes(circle.read_bytes()[:60])
    rows = json.loads((broken / "eval" / "naming.json").read_text())
    rows[2]["tgt_text"][1] = rows[2]["tgt_text"][0]
    (broken / "eval" / "naming.json").write_text(json.dumps(rows))
    assert main(["data", "check", str(broken), "--json"]) == 1
    problems = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"file", "row", "message"} <= set(problems[0])
    assert any(p["file"].endswith("naming.json") and p["row"] == 2 for p in problems)
    assert any("red_bar.png" in p["message"] for p in problems)
    assert any("red_circle.png" in p["message"] and "cannot decode" in p["message"] for p in problems)
    assert main(["data", "check", str(broken)]) == 1
    assert f"{len(problems)} problems in {broken}" in capsys.readouterr().out


def test_train_then_eval(data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["eval", str(model), "--benchmark", str(data), "--json", "--out", str(tmp_path / "out")]) == 0
    printed = json.loads(capsys.readouterr().out)
    stored = json.loads((tmp_path / "out" / "results.json").read_text())
    assert stored.pop("model")["model_name"] == str(model)
    assert printed == stored
    assert printed["datasets"]["t2i"]["queries"] == 16
    assert printed["ties"] == "strict"
    assert "| t2i" in (tmp_path / "out" / "results.md").read_text()
    assert len((tmp_path / "out" / "predictions" / "t2i.jsonl").read_text().splitlines()) == 16
    assert main(["eval", str(model), "--benchmark", str(data), "--limit", "3", "--out", str(tmp_path / "few")]) == 0
    said = capsys.readouterr().out
    assert "mean over data sets" in said
    assert f"report: {tmp_path / 'few' / 'report.html'}\n" in said
    assert "t2i" in (tmp_path / "few" / "report.html").read_text()
    # A picture in two files of other bytes ties with itself: wrong by default, right in the original's counting.
    twins = tmp_path / "twins"
    shutil.copytree(data, twins)
    rows = json.loads((twins / "eval" / "t2i.json").read_text())
    for row in rows:
        copy = "copy_of_" + row["tgt_img_path"][0]
        Image.open(twins / "images" / row["tgt_img_path"][0]).save(twins / "images" / copy, compress_level=0)
        row["tgt_text"], row["tgt_img_path"] = row["tgt_text"][:2], [row["tgt_img_path"][0], copy]
    (twins / "eval" / "t2i.json").write_text(json.dumps(rows))
    score = {}
    for ties in ("strict", "v1"):
        assert main(["eval", str(model), "--benchmark", str(twins), "--ties", ties, "--json"]) == 0
        score[ties] = json.loads(capsys.readouterr().out)["datasets"]["t2i"]["p_at_1"]
    assert score == {"strict": 0.0, "v1": 1.0}


def test_eval_skips_counts_and_says_so(
    data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    circle = broken / "images" / "red_circle.png"
    circle.write_bytes(circle.read_bytes()[:60])
    capsys.readouterr()
    assert main(["eval", str(model), "--benchmark", str(broken), "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)["datasets"]
    assert (found["naming"]["skipped"], found["naming"]["reduced"]) == (1, 0)
    # There the picture is a candidate of every row: the positive of one, a negative of the others.
    assert (found["t2i"]["queries"], found["t2i"]["skipped"], found["t2i"]["reduced"]) == (15, 1, 15)
    assert "left out" in err
    assert "red_circle.png" in err
    assert "Traceback" not in err


def test_analyze(data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    out = tmp_path / "analysis"
    assert main(["analyze", str(model), str(data), "--out", str(out), "--compare", "nano", "--gallery", "2"]) == 0
    assert capsys.readouterr().out == f"{out / 'report.html'}\n"
    html = (out / "report.html").read_text()
    assert "Hardest negatives" in html
    assert html.count('class="case"') == 4  # two data sets
    gap = json.loads((out / "gap.json").read_text())
    assert list(gap["models"]) == ["nano", "run"]
    assert {"positive", "hard", "easy", "gap_hard", "overlap"} <= set(gap["models"]["run"]["datasets"]["t2i"])
    assert (out / "groups.svg").stat().st_size > 1000


@pytest.mark.slow
def test_ctrl_c_is_not_a_crash(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    command = [sys.executable, "-m", "llave.cli.main", "train", "--data", str(data), "--output", str(output)]
    command += ["--batch_size", "8", "--max_steps", "2000", "--log_steps", "1"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # Whoever started the tests in the background may have had the signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 240
    while not (output / "metrics.jsonl").exists():
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "llave: interrupted; the same command goes on from here" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_quickstart_end_to_end_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two steps of training on a small sample, first rows evaluated: every file, and a second run does nothing."""
    argv = ["quickstart", "--out", str(tmp_path / "run"), "--max_steps", "2", "--limit", "6", "--scale", "0.1"]
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert "report.html" in text
    assert "Try next" in text
    run = tmp_path / "run"
    results = json.loads((run / "results.json").read_text())
    assert results["seeds"] == [0]
    assert list(results["models"]) == ["infonce", "hardness", "own_negatives"]
    assert [each["model"] for each in results["paired"]] == ["hardness", "own_negatives"]
    about = results["models"]["hardness"]
    assert (about["alpha"], about["temperature"]) == (9.0, 0.05)
    assert {"p_at_1", "queries", "ci95", "positive", "hard", "easy"} <= set(about["datasets"]["t2i_ood"])
    for name in results["models"]:
        assert (run / "models" / name / "model.safetensors").is_file()
        assert not (run / "models" / name / "checkpoints").exists()
        card = (run / "models" / name / "README.md").read_text("utf-8")
        assert "Precision@1 on sample (the first 6 rows of each data set)" in card
        assert "| t2i_ood |" in card
        assert "Not evaluated" not in card
    weights = run / "models" / "hardness" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert main(argv) == 0
    assert "is finished already" in capsys.readouterr().err
    assert weights.stat().st_mtime_ns == before
    assert json.loads((run / "results.json").read_text()) == results


def test_measurements_that_are_not_there(tmp_path: Path) -> None:
    """As after ``pip install llave``, where nothing but the package is."""
    package = tmp_path / "site-packages" / "llave"
    shutil.copytree(Path(llave.__file__).parent, package, ignore=shutil.ignore_patterns("static", "__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    command = [sys.executable, "-m", "llave.cli.main", "bench", "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "LLAVE_BENCHMARKS=" in done.stderr
    environment["LLAVE_BENCHMARKS"] = str(Path(benchmarks.__file__).parent)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "serve     our server" in done.stdout


def test_a_name_of_nothing_is_told_before_libraries_are_imported(tmp_path: Path) -> None:
    commands = [
        ["index", "nano", "nothing"],
        ["embed", "nano", "nothing", "--out", "vectors"],
        ["fit", "nothing.csv"],
        ["train", "nano", "--data", "nothing"],
        ["serve", "nano", "--index", "nothing"],
        ["search", "crab", "--index", "nothing"],
    ]
    script = (
        "import json, sys; from llave.cli.main import main\n"
        "codes = [main(command) for command in json.loads(sys.argv[1])]\n"
        "print(codes, 'torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, json.dumps(commands)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout == f"{[2] * len(commands)} False\n"
    lines = ran.stderr.splitlines()
    assert len(lines) == len(commands)
    assert all("nothing" in line and ": no " in line for line in lines)
