"""Two evaluations that should be one: what ``results.json`` said then, beside what came out now."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llave.errors import DataError
from llave.evaluation.record import RunRecord

__all__ = ["Then", "changed_revisions", "compare_outcome", "read_results"]

SCORES = ("score", "metric", "queries", "skipped", "reduced", "metrics")
"""Of a data set: what must come out equal."""


@dataclass(frozen=True, slots=True)
class Then:
    """A ``results.json``: its run, and its outcome by the names of :meth:`EvalResult.to_json`."""

    run: RunRecord
    outcome: Mapping[str, Any]


def read_results(path: Path) -> Then:
    """What an evaluation wrote.

    Args:
        path: ``results.json``, or the folder that holds it.

    Raises:
        DataError: it cannot be read or is none; the message says what is missing.
    """
    path = path / "results.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read ({error}); `llave eval … --out DIR` writes DIR/results.json") from None
    if not isinstance(content, dict) or not isinstance(content.get("datasets"), dict) or not content["datasets"]:
        raise DataError(f"{path}: not the results of `llave eval`")
    run = RunRecord.from_json(content.get("run"), str(path))
    if not isinstance(content.get("vectors"), str) or not content["vectors"]:
        raise DataError(f"{path}: vectors: expected a hash of them")
    for name, about in content["datasets"].items():
        missing = [key for key in (*SCORES, "content") if not isinstance(about, dict) or key not in about]
        if missing:
            raise DataError(f"{path}: datasets: {name}: no {missing[0]}")
    for key in ("failed", "revisions"):
        if not isinstance(content.setdefault(key, {}), dict):  # results of older versions have neither
            raise DataError(f"{path}: {key}: expected an object, not {content[key]!r:.80}")
    for name, why in content["failed"].items():
        if not isinstance(why, dict) or not {"kind", "reason"} <= set(why):
            raise DataError(f"{path}: failed: {name}: expected kind and reason")
    return Then(run, content)


def changed_revisions(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Repositories of the hub that were read at another commit, one line each."""
    old, new = then["revisions"], now["revisions"]
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    return [f"data: {name}: {old.get(name, 'not told')} then, {new.get(name, 'not told')} now" for name in names]


def compare_outcome(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], bool]:
    """One line for the vectors and one for each data set, and whether all is equal.

    Data sets without a score then and now are equal if the reasons are of one kind.
    """
    lines, equal = [], then["vectors"] == now["vectors"]
    same = "bit for bit the same" if equal else "not the same bits"
    cached = f", {then['cached']:,} of them from a cache then" if then.get("cached") else ""
    lines.append(f"vectors: {same}{cached}")
    for name in dict.fromkeys([*then["datasets"], *now["datasets"], *then["failed"], *now["failed"]]):
        old, new = then["datasets"].get(name), now["datasets"].get(name)
        if old is None or new is None:
            kinds = [outcome["failed"].get(name, {}).get("kind") for outcome in (then, now)]
            equal = equal and kinds[0] == kinds[1]
            lines.append(f"{name}: {_standing(then, name)} then, {_standing(now, name)} now")
            continue
        changed = [key for key in SCORES if old[key] != new[key]]
        equal = equal and not changed and old["content"] == new["content"]
        data = "" if old["content"] == new["content"] else "; its rows, pictures or videos are others"
        scores = f"{old['metric']} {100 * old['score']:.2f} % then, {100 * new['score']:.2f} % now"
        verdict = f"differs in {', '.join(changed)}" if changed else "equal"
        lines.append(f"{name}: {scores}: {verdict}{data}")
    return lines, equal


def _standing(outcome: Mapping[str, Any], name: str) -> str:
    if name in outcome["failed"]:
        return f"no score ({outcome['failed'][name]['reason']})"
    return "a score" if name in outcome["datasets"] else "not evaluated"
