"""Two evaluations compared: by hand on a few queries, on the command line, and as a page."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llave.cli.main import main
from llave.errors import UserError
from llave.evaluation.compare import compare_results
from llave.evaluation.result import EvalResult
from llave.report.outputs import write_results
from tests.report.pages import check_self_contained, parse

HIT, MISS = [0.9, 0.1], [0.1, 0.9]
Make = Callable[..., EvalResult]


@pytest.fixture
def folders(make_result: Make, tmp_path: Path) -> tuple[Path, Path]:
    """A hits 1 of 4 and 2 of 2, B 3 of 4 and 1 of 2; A has one data set more."""
    a = {
        "cats": ("vqa", "ind", [HIT, MISS, MISS, MISS]),
        "dogs": ("retrieval", "ood", [HIT, HIT]),
        "own": ("vqa", "ind", [HIT]),
    }
    b = {"cats": ("vqa", "ind", [MISS, HIT, HIT, HIT]), "dogs": ("retrieval", "ood", [HIT, MISS])}
    for name, tasks in (("a", a), ("b<1>", b)):
        write_results(make_result(tasks), tmp_path / name)
    return tmp_path / "a", tmp_path / "b<1>"


def test_differences_by_hand(folders: tuple[Path, Path]) -> None:
    found = compare_results(*folders)
    assert found.only == ["own"]
    cats, dogs = found.datasets
    assert (cats.a, cats.b, cats.difference, cats.won, cats.lost, cats.queries) == (0.25, 0.75, 0.5, 3, 1, 4)
    assert cats.p == pytest.approx(10 / 16)  # of 16 flips of 3 wins and a loss, 10 sum to 2 or more either way
    assert (dogs.difference, dogs.won, dogs.lost) == (-0.5, 0, 1)
    assert dogs.p == 1.0
    assert {each.name: each.difference for each in found.groups} == {
        "vqa": 0.5, "retrieval": -0.5, "ind": 0.5, "ood": -0.5, "overall": 0.0
    }  # fmt: skip
    assert all(each.ci95[0] <= each.difference <= each.ci95[1] for each in [*found.datasets, *found.groups])


def test_on_the_command_line_and_as_a_page(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "deep" / "compare.html"
    command = ["eval", "compare", *map(str, folders), "--html", str(page)]
    assert main(command) == 0
    said = capsys.readouterr()
    assert f"report: {page}\n" in said.out
    assert f"only in one of {folders[0]} and {folders[1]}: own" in said.err
    check_self_contained(page)
    text = parse(page).text
    for part in ("cats", "dogs", "+50.0", "\N{MINUS SIGN}50.0", "Only one of A and B has own", "which includes zero"):
        assert part in text
    assert f"A: {folders[0]}" in text
    assert f"B: {folders[1]}" in text
    assert "B scores 62.5, A 62.5: +0.0 points" in text
    page.unlink()
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["datasets"]["cats"]["difference"] == 0.5
    assert page.is_file()


def test_several_are_compared_with_the_first(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "compare.html"
    a, b = map(str, folders)
    third = tmp_path / "third"
    shutil.copytree(a, third)
    assert main(["eval", "compare", a, b, str(third), "--html", str(page)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "of B" in said
    check_self_contained(page)
    text = parse(page).text
    assert "3 evaluations compared" in text
    assert "B scores 62.5, A 62.5: +0.0 points" in text
    assert re.search(r"C scores (\S+), A \1: \+0.0 points, 95% interval \+0.0 to \+0.0, which includes zero", text)
    assert f"C: {third}" in text
    assert main(["eval", "compare", a, b, str(third), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[str(third)]["datasets"]["cats"]["difference"] == 0.0
    assert found[b]["datasets"]["cats"]["difference"] == 0.5


def test_what_cannot_be_compared(folders: tuple[Path, Path], make_result: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no results here"):
        compare_results(folders[0], tmp_path / "nowhere")
    write_results(make_result({"cats": ("vqa", "ind", [HIT])}, ties="v1"), tmp_path / "v1")
    with pytest.raises(UserError, match="ties is 'strict'"):
        compare_results(folders[0], tmp_path / "v1")
    write_results(make_result({"birds": ("vqa", "ind", [HIT])}), tmp_path / "other")
    with pytest.raises(UserError, match="no data set in common"):
        compare_results(folders[0], tmp_path / "other")


def test_predictions_with_any_letter_are_read_again(folders: tuple[Path, Path]) -> None:
    """U+2028 and its kin end a line for Python's ``splitlines``, and none of JSON's."""
    for folder in folders:
        for path in (folder / "predictions").glob("*.jsonl"):
            text = path.read_text("utf-8")
            assert '"text": "' in text
            path.write_text(text.replace('"text": "', '"text": "a\u2028b\u2029c\x85'), "utf-8")
    test_differences_by_hand(folders)
