"""Search among a million vectors: our index beside FAISS, usearch and Qdrant's engine.

The vectors are synthetic, in two levels of clusters, and their first dimensions weigh most. Every query is a vector of
the file with noise, cosine about 0.89. Every engine builds in a process of its own, and is asked in another one; in
each round they are all asked, one after the other. What is done lies in --work, and is not done again.

The peers need an environment: ``python3 -m venv DIR && DIR/bin/pip install numpy faiss-cpu usearch qdrant-edge-py``.
Run: python -m benchmarks.million --peers DIR/bin/python --work DIR --out benchmarks/results/million.json
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.million_peer import ENGINES, KEPT, SHARE, K
from benchmarks.provenance import provenance
from benchmarks.sheet import Sheet
from llave.errors import UserError
from llave.files import write_json

__all__ = ["measure_million", "million_sheet", "write_vectors"]

OURS = "llave"
FADE = 4.0
"""Dimension d of D weighs exp(-FADE d / D), as of a model that was trained for prefixes."""
BROAD = 100
PER_TOPIC = 100
NOISE = 0.5
CHUNK = 10_000
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "LANCE_CPU_THREADS")
THREADS = dict.fromkeys(POOLS, "1")
"""LanceDB stands still with one thread to read with, or one of tokio's; those stay as they are."""
LAST_WORDS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--peers", help="python of their environment; without it, ours alone")
    parser.add_argument("--work", type=Path, required=True, help="large; may be removed afterwards")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    work = args.work / str(args.rows)
    write_vectors(work, args.rows, args.dim, args.queries)
    found = measure_million(work, args.engines, peers=args.peers, rounds=args.rounds)
    if args.out is None:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    known = json.loads(args.out.read_text("utf-8")) if args.out.is_file() else {"sizes": {}}
    sizes = {**known["sizes"], str(args.rows): {"dim": args.dim, "queries": args.queries, **found}}
    about = provenance()
    about["command"] = "; ".join(f"million.py --rows {size}" for size in sizes)  # the folders are this machine's
    write_json(args.out, {**about, "sizes": dict(sorted(sizes.items(), key=lambda pair: -int(pair[0])))}, indent=1)


def write_vectors(work: Path, rows: int, dim: int, queries: int) -> None:
    """``vectors.npy``, ``queries.npy`` and what exact search finds in ``truth.npz``, unless they are there."""
    if (work / "truth.npz").is_file():
        return
    work.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    weight_D = np.exp(-FADE * np.arange(dim) / dim).astype(np.float32)
    broad_BD = rng.standard_normal((BROAD, dim), np.float32)
    topic_TD = rng.standard_normal((max(1, rows // PER_TOPIC), dim), np.float32)
    topic_TD += broad_BD[rng.integers(BROAD, size=len(topic_TD))]
    topic_TD *= 2**-0.5
    vector_ND = np.lib.format.open_memmap(work / "vectors.npy", "w+", np.float32, (rows, dim))
    for first in range(0, rows, CHUNK):
        count = min(CHUNK, rows - first)
        some_BD = topic_TD[rng.integers(len(topic_TD), size=count)] + rng.standard_normal((count, dim), np.float32)
        vector_ND[first : first + count] = _unit(some_BD * weight_D)
    vector_ND.flush()
    asked_QD = np.array(vector_ND[np.sort(rng.choice(rows, queries, replace=False))])
    noise_QD = _unit(rng.standard_normal((queries, dim), np.float32) * weight_D)
    query_QD = _unit(asked_QD + NOISE * noise_QD)
    np.save(work / "queries.npy", query_QD)
    np.savez(work / "truth.npz", all=_best(vector_ND, query_QD, 1, 0), tenth=_best(vector_ND, query_QD, SHARE, KEPT))


def _unit(vector_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    unit_ND: NDArray[np.float32] = vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)
    return unit_ND


def _best(vector_ND: NDArray[np.float32], query_QD: NDArray[np.float32], step: int, first: int) -> NDArray[np.int64]:
    """Numbers (Q, K) of the rows of the highest cosines, among every ``step``-th from ``first``."""
    numbers_N = np.arange(first, len(vector_ND), step)
    scores_QN = np.concatenate(
        [query_QD @ vector_ND[numbers_N[at : at + CHUNK]].T for at in range(0, len(numbers_N), CHUNK)], axis=1
    )
    found_QK: NDArray[np.int64] = numbers_N[np.argpartition(-scores_QN, K, axis=1)[:, :K]]
    return found_QK


def measure_million(work: Path, engines: Sequence[str], *, peers: str | None, rounds: int) -> dict[str, Any]:
    """Build and ask every engine, as far as that has not been done.

    Args:
        work: with what :func:`write_vectors` wrote; an engine's folder in it.
        peers: python of their environment; None leaves them out.

    Raises:
        UserError: an engine fails.
    """
    pythons = {name: sys.executable if name == OURS else peers for name in engines}
    found: dict[str, Any] = {}
    for name, python in pythons.items():
        if python is not None:
            found[name] = {"build": _once(name, python, work, "build", "build")}
    asked: dict[str, list[dict[str, Any]]] = {name: [] for name in found}
    for number in range(rounds):
        for name in found:
            python = pythons[name]
            assert python is not None
            asked[name].append(_once(name, python, work, "search", f"search{number}"))
    truth = dict(np.load(work / "truth.npz"))
    for name in found:
        found[name] |= _summary(asked[name], truth)
    return {"engines": found}


def _once(name: str, python: str, work: Path, step: str, file: str) -> dict[str, Any]:
    """What a step of an engine said, when it was done or now."""
    folder = work / name.replace(" ", "_").replace(",", "")
    answer = folder / f"{file}.json"
    if not answer.is_file():
        folder.mkdir(exist_ok=True)
        load = os.getloadavg()[0]
        sys.stderr.write(f"{name}: {file}, load average {load:.1f}\n")
        words = [python, "-P", str(Path(__file__).with_name("million_peer.py")), name, step, str(folder.resolve())]
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **THREADS}, check=False)
        if done.returncode:
            raise UserError(f"{name}: {step} ended with {done.returncode}: {done.stderr[-LAST_WORDS:]}")
        said = {**json.loads(done.stdout.splitlines()[-1]), "load": [load, os.getloadavg()[0]]}
        write_json(answer, said)
    read: dict[str, Any] = json.loads(answer.read_text("utf-8"))
    return read


def _summary(rounds: Sequence[Mapping[str, Any]], truth: Mapping[str, NDArray[np.int64]]) -> dict[str, Any]:
    """By setting and filter: recall, and the median over the rounds of the milliseconds of a query."""
    settings: dict[str, Any] = {}
    for name, parts in rounds[0]["settings"].items():
        settings[name] = {}
        for part, first in parts.items():
            shares = [
                len(set(rows) & set(true)) / K for rows, true in zip(first["rows"], truth[part].tolist(), strict=False)
            ]
            runs = [each["settings"][name][part] for each in rounds]
            settings[name][part] = {
                "recall": statistics.fmean(shares),
                "worst": min(shares),
                "p50_ms": statistics.median(float(np.median(run["ms"])) for run in runs),
                "p95_ms": statistics.median(float(np.percentile(run["ms"], 95)) for run in runs),
                "cpu_ms": statistics.median(run["cpu_ms"] for run in runs),
            }
    loads = [load for each in rounds for load in each["load"]]
    return {
        "rounds": len(rounds),
        "load": [min(loads), max(loads)],
        "open_s": statistics.median(each["open_s"] for each in rounds),
        "rss_bytes": max(each["peak_bytes"] for each in rounds),
        "settings": settings,
    }


def shown(engines: Mapping[str, Any], name: str, part: str) -> list[str]:
    """The settings of a peer whose recall lies around ours: the cheapest that reaches it, and the one below."""
    found = engines[name]["settings"]
    if name == OURS or len(found) == 1:
        return list(found)
    names = [each for each in found if part in found[each]]
    if not names:
        return []
    own = next(iter(engines[OURS]["settings"].values()))[part]["recall"]
    above = next((place for place, each in enumerate(names) if found[each][part]["recall"] >= own), len(names) - 1)
    return names[max(0, above - 1) : above + 1]


def million_sheet(found: Mapping[str, Any]) -> str:
    """Of each size: what building takes, and searches of our setting and of those of the peers around our recall."""
    parts = []
    for rows, size in found["sizes"].items():
        engines = size["engines"]
        loads = [load for each in engines.values() for load in each["load"]]
        about = (
            f"{int(rows):,} vectors of {size['dim']} dimensions, {size['queries']} queries, {found['machine']}, one "
            f"thread, load average {min(loads):.1f} to {max(loads):.1f}; commit {found['commit'][:7]}:"
        )
        built = [
            (
                f"{name} ({each['build']['version']})",
                f"{each['build']['seconds']:,.0f}",
                f"{each['build']['cpu_seconds']:,.0f}",
                f"{each['build']['disk_bytes'] / 1e6:,.0f}",
                f"{each['build']['peak_bytes'] / 1e6:,.0f}",
                f"{each['rss_bytes'] / 1e6:,.0f}",
            )
            for name, each in engines.items()
        ]
        columns = ("engine", "build s", "CPU s", "disk MB", "peak MB, building", "peak MB, searching")
        parts.append(
            Sheet(title=about, caption="", columns=columns, rows=built, words=frozenset({"engine"})).markdown()
        )
        for part, title in (("all", "search for the ten best"), ("tenth", "of the tenth that passes a filter")):
            asked = [
                (name, setting, f"{one['recall']:.3f}, {one['worst']:.1f}",
                 *(f"{one[key]:.2f}" for key in ("p50_ms", "p95_ms", "cpu_ms")))
                for name, each in engines.items()
                for setting in shown(engines, name, part)
                if (one := each["settings"][setting].get(part)) is not None
            ]  # fmt: skip
            columns = (title, "setting", "recall@10 (mean, worst)", "p50 ms", "p95 ms", "CPU ms")
            words = frozenset({title, "setting"})
            parts.append(Sheet(title="", caption="", columns=columns, rows=asked, words=words).markdown().strip())
    return "\n\n".join(part.strip() for part in parts)


if __name__ == "__main__":
    main()
