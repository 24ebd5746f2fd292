"""Means over seeds, the paired comparison, and what is said about it."""

from collections.abc import Callable

import pytest

from llave.errors import UserError
from llave.evaluation.aggregate import ModelRun, aggregate
from llave.evaluation.result import EvalResult
from llave.report.summary import summarise, verdict
from llave.report.tables import comparison_table, dataset_table, group_table

MakeResult = Callable[..., EvalResult]
RIGHT, WRONG = [0.9, 0.5, 0.1], [0.2, 0.5, 0.1]


@pytest.fixture
def result_of(make_result: MakeResult) -> Callable[[int, int], EvalResult]:
    """An evaluation in which so many of 10 rows are right, in distribution and out of it."""

    def make(ind: int, ood: int) -> EvalResult:
        matrix = {"a": ind, "a_ood": ood}
        return make_result(
            {
                name: ("retrieval", "ood" if name.endswith("_ood") else "ind", [RIGHT] * k + [WRONG] * (10 - k))
                for name, k in matrix.items()
            }
        )

    return make


ResultOf = Callable[[int, int], EvalResult]


def test_shape_and_numbers_of_results(result_of: ResultOf) -> None:
    runs = {
        "infonce": ModelRun(results=[result_of(4, 2), result_of(6, 2)], seeds=[0, 1], alpha=0.0, temperature=0.02),
        "hardness": ModelRun(results=[result_of(7, 3), result_of(9, 3)], seeds=[0, 1], alpha=9.0, temperature=0.02),
    }
    results = aggregate(runs)
    assert results["seeds"] == [0, 1]
    infonce = results["models"]["infonce"]
    assert (infonce["alpha"], infonce["temperature"]) == (0.0, 0.02)
    dataset = infonce["datasets"]["a"]
    assert dataset["p_at_1"] == pytest.approx(0.5)
    assert dataset["queries"] == 10
    assert dataset["ci95_over"] == "seeds"
    assert dataset["ci95"] == pytest.approx([0.5 - 12.7062 * 0.1, 0.5 + 12.7062 * 0.1], abs=1e-4)
    assert dataset["hard"] == pytest.approx(0.5)
    assert dataset["easy"] == pytest.approx(0.1)
    assert dataset["positive"] == pytest.approx((0.9 + 0.2) / 2)
    assert list(infonce["meta"]) == ["retrieval", "ind", "ood", "overall"]
    assert infonce["meta"]["overall"]["p_at_1"] == pytest.approx(0.35)
    (paired,) = results["paired"]
    overall = paired["groups"]["overall"]
    assert overall["difference"] == pytest.approx(0.2)
    assert overall["ci95"] == pytest.approx([0.2, 0.2])
    assert overall["p"] == paired["smallest_p"] == 0.5


def test_verdict_does_not_claim_what_the_test_does_not_show(result_of: ResultOf) -> None:
    few = aggregate(
        {
            "infonce": ModelRun(results=[result_of(4, 2)] * 3, seeds=[0, 1, 2]),
            "hardness": ModelRun(results=[result_of(7, 3)] * 3, seeds=[0, 1, 2]),
        }
    )
    assert verdict(few["paired"][0], 3) == (
        "hardness scores 20.0 points above infonce in overall P@1: no significant difference over 3 seeds."
    )
    assert "3 seeds cannot give less than 0.250" in " ".join(summarise(few))
    many = aggregate(
        {
            "infonce": ModelRun(results=[result_of(7, 3)] * 6, seeds=range(6)),
            "hardness": ModelRun(results=[result_of(4, 2)] * 6, seeds=range(6)),
        }
    )
    assert verdict(many["paired"][0], 6) == (
        "hardness scores 20.0 points below infonce in overall P@1: a significant difference over 6 seeds."
    )


def test_every_model_is_compared_with_the_first(result_of: ResultOf) -> None:
    runs = {
        "first": ModelRun(results=[result_of(4, 2)] * 2, seeds=[0, 1]),
        "better": ModelRun(results=[result_of(7, 3)] * 2, seeds=[0, 1]),
        "of other seeds": ModelRun(results=[result_of(7, 3)] * 2, seeds=[0, 2]),
        "same": ModelRun(results=[result_of(4, 2)] * 2, seeds=[0, 1]),
    }
    results = aggregate(runs)
    found = {(one["baseline"], one["model"]): one["groups"]["overall"]["difference"] for one in results["paired"]}
    assert found == {("first", "better"): pytest.approx(0.2), ("first", "same"): pytest.approx(0.0)}
    said = " ".join(summarise(results))
    assert "better scores 20.0 points above first" in said
    assert "same and first score the same" in said


def test_one_seed_has_no_interval(result_of: ResultOf) -> None:
    results = aggregate({"a": ModelRun(results=[result_of(4, 2)]), "b": ModelRun(results=[result_of(4, 2)])})
    assert "one seed: no interval" in verdict(results["paired"][0], 1)
    group = results["models"]["a"]["meta"]["overall"]
    assert group["ci95"] is None
    assert results["models"]["a"]["datasets"]["a"]["ci95_over"] == "queries"
    assert results["paired"][0]["groups"]["overall"]["p"] is None
    alone = aggregate({"a": ModelRun(results=[result_of(4, 2)])})
    assert alone["paired"] == []
    assert "One seed" in " ".join(summarise(alone))


def test_runs_that_cannot_be_compared(result_of: ResultOf, make_result: MakeResult) -> None:
    with pytest.raises(UserError, match="no run"):
        aggregate({})
    with pytest.raises(UserError, match="2 results for 1 seeds"):
        aggregate({"a": ModelRun(results=[result_of(1, 1)] * 2)})
    other = make_result({"b": ("vqa", "ind", [RIGHT])})
    with pytest.raises(UserError, match="b: its data sets differ"):
        aggregate({"a": ModelRun(results=[result_of(1, 1)]), "b": ModelRun(results=[other])})


def test_tables_print_every_data_set_and_group(result_of: ResultOf) -> None:
    from rich.console import Console

    run = ModelRun(results=[result_of(4, 2), result_of(5, 2)], seeds=[0, 1])
    console = Console(width=120, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(dataset_table(run.results[0]))
    console.print(group_table(run.results[0]))
    console.print(comparison_table(aggregate({"x": run, "y": run})))
    text = console.export_text()
    for expected in ("a_ood", "out of distribution", "40.0", "20.0", "32.5 ±", "+0.0", "1.000"):
        assert expected in text
