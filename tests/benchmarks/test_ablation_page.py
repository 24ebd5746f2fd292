"""Tables and sentences made of an ablation's numbers."""

from typing import Any

import pytest

from benchmarks.ablation_page import answer, datasets_table, means_table, models_table


@pytest.fixture
def found() -> dict[str, Any]:
    """Two variants, two data sets, three seeds: the second gains 10 points on a, and loses 2, 0 and 4 on b."""

    def run(seed: int, a: float, b: float) -> dict[str, Any]:
        overall = (a + b) / 2
        return {
            "seed": seed,
            "datasets": {"a": a, "b": b},
            "groups": {"overall": overall, "ood": b},
            "overlaps": {"a": 0.5},
        }

    return {
        "baseline": "plain",
        "queries": {"a": 10, "b": 20},
        "machine": "a machine",
        "code": {"commit": "0123456789"},
        "command": "llave ablate",
        "variants": {
            "plain": {"runs": [run(0, 0.1, 0.5), run(1, 0.2, 0.5), run(2, 0.3, 0.5)]},
            "other": {"runs": [run(0, 0.2, 0.48), run(1, 0.3, 0.5), run(2, 0.4, 0.46)]},
        },
    }


TITLES = {"plain": "Plain", "other": "Other"}


def test_differences_are_paired_by_seed(found: dict[str, Any]) -> None:
    by_row = datasets_table(found, TITLES).splitlines()
    assert by_row[0] == "| P@1 % | Plain | Other | Other, difference | p |"
    assert by_row[2] == "| `a` | 20.0 ± 24.8 | 30.0 ± 24.8 | +10.0 ± 0.0 | 0.250 |"
    assert by_row[3] == "| `b` | 50.0 ± 0.0 | 48.0 ± 5.0 | -2.0 ± 5.0 | 0.500 |"
    assert models_table(found, TITLES, ["ood"]).splitlines()[2].startswith("| out of distribution | 50.0 ± 0.0 |")
    by_variant = means_table(found, ["a"]).splitlines()
    assert by_variant[2:4] == [
        "| **plain** | 20.0 ± 24.8 | 0.50 | 3 |",
        "| other | 30.0 ± 24.8 (+10.0 ± 0.0) | 0.50 | 3 |",
    ]
    assert "3 seeds (0 to 2); 2 data sets, 30 queries" in by_variant[-1]
    assert by_variant[-1].endswith("a machine, commit 0123456: `llave ablate`")
    for run, commit in zip(found["variants"]["plain"]["runs"], ("b" * 40, "a" * 40, "b" * 40), strict=True):
        run["commit"] = commit
    assert "a machine, commits aaaaaaa, bbbbbbb: " in means_table(found, ["a"]).splitlines()[-1]


def test_a_gain_within_its_interval_is_no_gain(found: dict[str, Any]) -> None:
    assert answer(found, TITLES) == (
        "- **Other: +4.0 ± 2.5 points over all data sets, -2.0 ± 5.0 points out of distribution** against Plain. "
        "Better beyond its interval: `a` +10.0 ± 0.0; worse: nothing."
    )


def test_one_seed_has_no_interval(found: dict[str, Any]) -> None:
    for variant in found["variants"].values():
        del variant["runs"][1:]
    shown = datasets_table(found, TITLES)
    assert "| `a` | 10.0 | 20.0 | +10.0 | - |" in shown
    assert "one seed (0), so no interval" in shown
