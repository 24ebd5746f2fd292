"""An ablation: grids, cells that are trained once, paired differences, and what the command writes."""

import json
from pathlib import Path

import pytest
from PIL import Image

from llave.ablation.grid import Grid, Variant, read_grid
from llave.ablation.report import summarise
from llave.ablation.run import Score
from llave.cli.main import main
from llave.errors import UserError
from llave.evaluation.record import code
from llave.evaluation.statistics import mean_ci95, paired_permutation_test
from llave.recipes import FOLDER
from tests.shapes import make_folder


def test_grids() -> None:
    grid = read_grid("{loss.alpha: [0, 9], batch_size: [4, 8]}")
    assert [variant.name for variant in grid.variants][:2] == [
        "loss.alpha=0, batch_size=4", "loss.alpha=0, batch_size=8",
    ]  # fmt: skip
    assert len(grid.variants) == 4
    assert (grid.baseline, grid.axis) == ("loss.alpha=0, batch_size=4", None)
    assert read_grid("{loss.alpha: [0, 4.5]}").axis == "loss.alpha"
    named = read_grid("{baseline: b, variants: {a: {loss.alpha: 0}, b: {}}}")
    assert named == Grid([Variant("a", {"loss.alpha": 0}), Variant("b", {})], "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing.yaml", "missing.yaml: no such recipe"),
        ("{a: [1", "not YAML"),
        ("hello", "no such recipe"),
        ("[1, 2]", "expected"),
        ("{loss.alpha: 9}", "needs a list"),
        ("{seed: [1, 2]}", "use --seeds"),
        ("{variants: {a: 1}}", "variant a must be"),
        ("{variants: {}}", "variants must be"),
        ("{variants: {a: {}}, baseline: b}", "none of the variants"),
        ("{variants: {a: {}}, alpha: [1]}", "alpha beside"),
        ("{variants: {a: {}}, means: {all: []}}", "means must be"),
    ],
)
def test_bad_grids_are_named(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_grid(text)


def test_grids_of_the_repository() -> None:
    found = list((FOLDER / "ablations").glob("*.yaml"))
    assert found
    for path in found:
        assert len(read_grid(str(path)).variants) > 1


def test_differences_are_paired_by_seed() -> None:
    def score(variant: str, seed: int, overall: float) -> Score:
        datasets = {"x": overall, "y": 0.2, "z": 0.9}
        return Score(variant, seed, {"ood": overall, "overall": overall}, datasets, {"x": 10}, 0.1, {})

    grid = Grid([Variant("a", {}), Variant("b", {})], "a", means={"x and y": ["x", "y"]})
    first, second = [0.50, 0.60, 0.40], [0.53, 0.62, 0.44]
    scores = [score("a", seed, value) for seed, value in enumerate(first)]
    scores += [score("b", seed, value) for seed, value in enumerate(second)]
    scores.append(score("b", 7, 0.99))  # the baseline has no such seed
    a, b = summarise(grid, scores)
    assert b.seeds == (0, 1, 2, 7)
    assert b.differences["ood"] == pytest.approx(mean_ci95([0.03, 0.02, 0.04]))
    assert b.p["ood"] == paired_permutation_test(second, first)
    assert a.groups["ood"] == mean_ci95(first)
    assert b.groups["x and y"].mean == pytest.approx((0.53 + 0.62 + 0.44 + 0.99 + 4 * 0.2) / 8)
    assert b.differences["x and y"].mean == pytest.approx(0.015)
    with pytest.raises(UserError, match="no data set w; there are x, y, z"):
        summarise(Grid(grid.variants, "a", means={"all": ["w"]}), scores)
    with pytest.raises(UserError, match="no cell"):
        summarise(grid, [])


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_folder(tmp_path / "data")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"data: {data}\noutput: unused\nbatch_size: 8\nmax_steps: 2\n"
        f"evaluate: {{benchmark: {data}, every_steps: 1, keep_best: false}}\n"
    )
    command = [
        "ablate", str(recipe), "--grid", "{loss.alpha: [0, 9]}", "--seeds", "2", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    assert main([*command, "--part", "0/2"]) == 0
    assert len(list((tmp_path / "out" / "cells").glob("*.json"))) == 2
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["baseline"] == "loss.alpha=0"
    assert content["variants"]["loss.alpha=9"]["seeds"] == [0, 1]
    assert content["queries"] == {"naming": 16, "t2i": 16}
    assert content["command"].startswith("llave ablate ")
    (first, _) = content["variants"]["loss.alpha=9"]["runs"]
    assert [point["step"] for point in first["curve"]] == [1, 2]
    assert 0 <= first["curve"][0]["overall"] <= 1
    assert set(first["overlaps"]) == {"naming", "t2i"}
    assert first["commit"] == code().get("commit", "")
    cells = sorted((tmp_path / "out" / "cells").glob("*.json"))
    assert len(cells) == 4
    assert not list((tmp_path / "out" / "models").iterdir())
    times = [cell.stat().st_mtime_ns for cell in cells]
    assert main(command) == 0  # nothing is trained again
    assert [cell.stat().st_mtime_ns for cell in cells] == times
    assert "overall" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "ablation.png") as image:
        assert image.width > 500
    assert "| loss.alpha=9 |" in (tmp_path / "out" / "ablation.md").read_text()
    assert main([*command, "--set", "{max_steps: 3}"]) == 2
    assert "of another recipe" in capsys.readouterr().err
    assert main([*command, "--grid", "{loss.alhpa: [1]}"]) == 2
    assert "alhpa" in capsys.readouterr().err
