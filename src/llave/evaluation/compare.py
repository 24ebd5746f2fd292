"""Two evaluations of the same benchmark, query by query: differences with intervals and tests."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llave.data.tables import read_table
from llave.errors import DataError, UserError
from llave.evaluation.metrics import metric_values
from llave.evaluation.result import group_members
from llave.evaluation.statistics import bootstrap_means, interval95, paired_permutation_test

__all__ = ["Comparison", "Difference", "compare_results", "paired_difference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Of a data set or a group: scores of both (fractions), B minus A with its 95% interval, and queries won by each.

    ``p`` is of the sign-flip test over queries; None for groups, whose interval comes from drawing queries again within
    every data set.
    """

    name: str
    a: float
    b: float
    difference: float
    ci95: tuple[float, float]
    p: float | None
    queries: int
    won: int
    lost: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Data sets and groups that both evaluations have, and names of data sets that only one has."""

    datasets: list[Difference]
    groups: list[Difference]
    only: list[str]

    def to_json(self) -> dict[str, Any]:
        """Everything; fractions between 0 and 1."""

        def rows(differences: list[Difference]) -> dict[str, Any]:
            return {
                each.name: {
                    "a": each.a,
                    "b": each.b,
                    "difference": each.difference,
                    "ci95": list(each.ci95),
                    "p": each.p,
                    "queries": each.queries,
                    "won": each.won,
                    "lost": each.lost,
                }
                for each in differences
            }

        return {"groups": rows(self.groups), "datasets": rows(self.datasets), "only_in_one": self.only}


def compare_results(a: Path, b: Path) -> Comparison:
    """Compare what two ``llave eval --out`` wrote.

    Only queries that both scored count.

    Args:
        a: folder of the baseline.
        b: folder of the model.

    Raises:
        UserError: no results there, other benchmarks or ways of scoring, or no data set in common.
        DataError: predictions that cannot be read.
    """
    first, second = _read(a), _read(b)
    for key in ("benchmark", "compat", "ties"):
        if first.get(key) != second.get(key):
            raise UserError(f"cannot compare: {key} is {first.get(key)!r} in {a} and {second.get(key)!r} in {b}")
    names = [name for name in first["datasets"] if name in second["datasets"]]
    if not names:
        raise UserError(f"cannot compare: {a} and {b} have no data set in common")
    datasets, draws = [], {}
    for seed, name in enumerate(names):
        about = first["datasets"][name]
        if about["metric"] != second["datasets"][name]["metric"]:
            raise UserError(f"cannot compare {name}: its metric differs in {a} and {b}")
        value_a, value_b = _paired(a, b, name, about["metric"])
        draws[name] = bootstrap_means(value_b - value_a, seed)
        datasets.append(paired_difference(name, value_a, value_b, draws[name]))
    only = [name for name in [*first["datasets"], *second["datasets"]] if name not in names]
    return Comparison(datasets, _groups(first, {each.name: each for each in datasets}, draws), only)


def paired_difference(
    name: str, value_a: NDArray[np.float64], value_b: NDArray[np.float64], draws: NDArray[np.float64]
) -> Difference:
    """B minus A over the same queries.

    Args:
        name: of the data set.
        value_a, value_b: (R,) of every query.
        draws: means of the differences of resampled queries, for the interval.
    """
    difference = value_b - value_a
    return Difference(
        name=name,
        a=float(value_a.mean()),
        b=float(value_b.mean()),
        difference=float(difference.mean()),
        ci95=interval95(draws),
        p=paired_permutation_test(value_b, value_a),
        queries=len(difference),
        won=int((difference > 0).sum()),
        lost=int((difference < 0).sum()),
    )


def _groups(
    about: Mapping[str, Any], datasets: Mapping[str, Difference], draws: Mapping[str, NDArray[np.float64]]
) -> list[Difference]:
    described = {name: about["datasets"][name] for name in datasets}
    labels = {name: (each.get("modality", "image"), each["meta"], each["split"]) for name, each in described.items()}
    groups = []
    for group, names in group_members(labels).items():
        members = [datasets[name] for name in names]
        groups.append(
            Difference(
                name=group,
                a=float(np.mean([each.a for each in members])),
                b=float(np.mean([each.b for each in members])),
                difference=float(np.mean([each.difference for each in members])),
                ci95=interval95(np.mean([draws[name] for name in names], axis=0)),
                p=None,
                queries=sum(each.queries for each in members),
                won=sum(each.won for each in members),
                lost=sum(each.lost for each in members),
            )
        )
    return groups


def _read(folder: Path) -> dict[str, Any]:
    path = folder / "results.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{path}: no results here; `llave eval … --out {folder}` writes them") from None
    if not isinstance(content, dict) or not isinstance(content.get("datasets"), dict):
        raise UserError(f"{path}: not the results of `llave eval`")
    return content


def _paired(a: Path, b: Path, name: str, metric: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values (R,) of both on the rows that both scored."""
    of_a, of_b = _values(a, name, metric), _values(b, name, metric)
    rows = sorted(set(of_a) & set(of_b))
    if not rows:
        raise UserError(f"cannot compare {name}: no row was scored by both")
    return np.array([of_a[row] for row in rows]), np.array([of_b[row] for row in rows])


def _values(folder: Path, name: str, metric: str) -> dict[int, float]:
    path = folder / "predictions" / f"{name}.jsonl"
    try:
        rows: list[Any] = list(read_table(path))
        ranks = [[each["rank"] for each in row["relevant"]] for row in rows]
        gains = [[each["gain"] for each in row["relevant"]] for row in rows]
        numbers = [int(row["row"]) for row in rows]
    except Exception as error:  # whatever stands in it
        raise DataError(f"{path}: cannot read predictions ({error})") from None
    return dict(zip(numbers, metric_values(metric, ranks, gains).tolist(), strict=True))
