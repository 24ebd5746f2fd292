"""``llave eval --out`` and ``llave eval repeat``: equal bits are equal, and every difference is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llave.cli.main import main
from llave.evaluation.record import RunRecord, differences
from tests.models.tiny_encoders import bert

Outcome = tuple[int, list[str], str]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts alone, with options that are not the defaults."""
    root = tmp_path_factory.mktemp("repeat")
    (root / "data" / "eval").mkdir(parents=True)
    words = ("cat", "dog", "boat")
    rows = [
        {"qry_text": f"the {word} ", "qry_img_path": "", "tgt_text": [word, *words], "tgt_img_path": [""] * 4}
        for word in words
    ]
    (root / "data" / "eval" / "t.json").write_text(json.dumps(rows))
    argv = ["eval", str(bert(root / "bert")), "--benchmark", str(root / "data"), "--out", str(root / "out")]
    argv += ["--preset", "siglip2-base-patch16-256", "--compat", "llave", "--ties", "strict", "--limit", "2"]
    argv += ["--query_prompt", "find: it"]
    assert main([*argv, "--device", "cpu", "--json"]) == 0
    return root


@pytest.fixture
def repeat(evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Of the results with a change made to them."""

    def run(change: Callable[[dict[str, Any]], Any] = lambda content: None, *options: str) -> Outcome:
        content = json.loads((evaluated / "out" / "results.json").read_text())
        change(content)
        (tmp_path / "results.json").write_text(json.dumps(content))
        capsys.readouterr()
        code = main(["eval", "repeat", str(tmp_path / "results.json"), *options])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


def test_the_record(evaluated: Path) -> None:
    stored = json.loads((evaluated / "out" / "results.json").read_text())
    run = RunRecord.from_json(stored["run"], "results.json")
    assert run.options["limit"] == 2
    assert (run.options["compat"], run.options["ties"], run.options["max_length"]) == ("llave", "strict", 64)
    assert run.options["benchmark"] == str(evaluated / "data")
    assert run.model["source"] == run.options["model"]
    assert len(run.model["weights"]) == len(run.model["settings"]) == len(stored["vectors"]) == 64
    assert {"llave", "torch", "transformers", "sentence-transformers", "pillow"} <= set(run.versions)
    assert {"device", "threads", "name"} <= set(run.machine)
    assert run.batches == {"items": 64, "tokens": 2048, "processes": 1}
    settings = {each["name"]: each for each in run.preset["settings"]}
    assert settings["max_length"]["here"].startswith("64")
    assert settings["ties"]["state"] == "not stated"
    assert "siglip2-base-patch16-256" in (evaluated / "out" / "report.html").read_text()
    if run.code:  # in a checkout of git
        assert len(run.code["commit"]) == 40


def test_again_is_equal(repeat: Callable[..., Outcome], tmp_path: Path) -> None:
    code, lines, err = repeat(lambda content: None, "--out", str(tmp_path / "again"))
    assert code == 0, err
    assert lines[-3:] == ["vectors: bit for bit the same", lines[-2], "equal"]
    assert lines[-2].startswith("t: hit@1 ")
    assert lines[-2].endswith(": equal")
    assert json.loads((tmp_path / "again" / "results.json").read_text())["run"]["options"]["limit"] == 2


def test_every_difference_is_named(repeat: Callable[..., Outcome]) -> None:
    def change(content: dict[str, Any]) -> None:
        content["run"]["versions"]["torch"] = "1.0"
        content["run"]["model"]["weights"] = "0" * 64
        content["run"]["machine"]["device"] = "tpu"
        content["vectors"] = "f" * 64
        content["cached"] = 3
        content["datasets"]["t"] |= {"score": 0.25, "content": "other"}
        content["datasets"]["gone"] = content["datasets"]["t"]

    code, lines, _ = repeat(change)
    assert code == 1
    assert any(line.startswith("versions: torch: 1.0 then, ") for line in lines)
    assert any(line.startswith("model: weights: 000000000000… then, ") for line in lines)
    assert "machine: device: tpu then, cpu now" in lines
    assert "vectors: not the same bits, 3 of them from a cache then" in lines
    (of_task,) = (line for line in lines if line.startswith("t: "))
    assert "25.00 % then" in of_task
    assert of_task.endswith("differs in score; its rows, pictures or videos are others")
    assert lines[-2:] == ["gone: a score then, not evaluated now", "not equal"]


def test_a_difference_that_changes_nothing_is_named_and_equal(repeat: Callable[..., Outcome]) -> None:
    code, lines, _ = repeat(lambda content: content["run"]["versions"].update(torch="1.0"), "--json")
    assert code == 0
    found = json.loads("\n".join(lines))
    assert found["equal"] is True
    assert found["changed"][0].startswith("versions: torch: 1.0 then")
    assert found["outcome"][0] == "vectors: bit for bit the same"


def test_a_data_set_without_a_score(evaluated: Path, repeat: Callable[..., Outcome]) -> None:
    """One that fails again in the same way is equal, whatever the reason's words; one that is scored now is not."""
    broken = evaluated / "data" / "eval" / "broken.json"
    broken.write_text("[{}]")
    try:
        code, lines, err = repeat(
            lambda content: content.update(
                failed={"broken": {"kind": "failed", "reason": "no rows"}}, revisions={"a/b": "1" * 40}
            )
        )
    finally:
        broken.unlink()
    assert code == 0, err
    assert f"data: a/b: {'1' * 40} then, not told now" in lines
    (line,) = (line for line in lines if line.startswith("broken: "))
    assert line.startswith("broken: no score (no rows) then, no score (")

    def change(content: dict[str, Any]) -> None:
        content["datasets"] = {"other": content["datasets"]["t"]}
        content["failed"] = {"t": {"kind": "absent", "reason": "not there"}}

    code, lines, _ = repeat(change)
    assert code == 1
    assert "t: no score (not there) then, a score now" in lines


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("run"), "no `run` in it"),
        (lambda content: content["run"].pop("machine"), "run: machine: expected an object"),
        (lambda content: content["run"]["options"].pop("model"), "run: options: no model and benchmark"),
        (lambda content: content["run"]["options"].update(frames="many"), "run: options: "),
        (lambda content: content["run"]["options"].update(framse=3), "run: options: "),
        (lambda content: content.pop("datasets"), "not the results of `llave eval`"),
        (lambda content: content.update(vectors=3), "vectors: expected a hash"),
        (lambda content: content["datasets"]["t"].pop("content"), "datasets: t: no content"),
        (lambda content: content.update(revisions=[]), "revisions: expected an object"),
        (lambda content: content.update(failed={"t": "why"}), "failed: t: expected kind and reason"),
    ],
)
def test_a_wrong_file_is_one_line(repeat: Callable[..., Outcome], change: Any, said: str) -> None:
    code, lines, err = repeat(change)
    assert code == 2
    assert lines == []
    assert said in err
    assert "results.json" in err
    assert err.count("\n") == 1


def test_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "repeat", str(tmp_path / "none.json")]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_differences_of_records() -> None:
    empty: dict[str, Any] = {}
    one = RunRecord(
        options=empty, versions={"a": "1"}, code=empty, machine=empty, model=empty, batches=empty, preset=empty
    )
    other = RunRecord(
        options=empty, versions={"b": "2"}, code=empty, machine=empty, model=empty, batches=empty, preset=empty
    )
    assert differences(one, one) == []
    assert differences(one, other) == ["versions: a: 1 then, none now", "versions: b: none then, 2 now"]
