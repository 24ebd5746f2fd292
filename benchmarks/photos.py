"""A folder of photos on a laptop: ``llave index`` with SigLIP 2, beside sentence-transformers and infinity.

The model has the class and sizes of ``google/siglip2-base-patch16-224`` and random weights, the photos are synthetic
(:mod:`benchmarks.photo_folder`): time depends on neither. Every way is a process of its own with as many threads; in
every round each of them meets all photos and texts, in an order of its own, while the others idle. Vectors are compared
before any time is told: pictures must agree, and how far texts do stands in the table.

infinity needs older libraries than ours: ``python3 -m venv DIR && DIR/bin/pip install 'infinity-emb[all]==0.0.78'
aiohttp`` makes an environment for it, and ``--infinity DIR/bin/python`` names it; without that it is left out.
Run: python -m benchmarks.photos --infinity DIR/bin/python --out benchmarks/results/photos_cpu.json
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.photo_folder import captions, write_model, write_photos
from benchmarks.photos_peer import BATCH, WAYS
from benchmarks.provenance import provenance
from benchmarks.sheet import Sheet
from llave.errors import UserError
from llave.files import write_json
from llave.search.index import Index

Run = dict[str, float]
"""``seconds`` on the clock, ``cpu_seconds`` of all threads, and ``peak_bytes`` resident, the model included."""

__all__ = ["measure_photos", "photos_sheet"]

ROOT = Path(__file__).parent.parent
INDEX, OURS, PLAIN, INFINITY = "llave index", *WAYS
LARGE_SHARE = 6
"""One photo in so many is of 12 million pixels, the others of 1.2."""
NEAR = 0.9999
START = "start"
"""What a run of ``llave index`` on one photo measures."""
LAST_WORDS = 2000
OFFLINE = {"HF_HUB_OFFLINE": "1", "INFINITY_DISABLE_OPTIMUM": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=60, help="no round begins later than this")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--infinity", help="python of its environment")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(1, get_context("spawn")) as apart:
        # apart, so that the memory it takes is not counted as that of the processes started here
        model = apart.submit(write_model, Path(name) / "model").result()
        sizes = [(4000, 3000) if number % LARGE_SHARE == 0 else (1280, 960) for number in range(args.photos)]
        photos = apart.submit(write_photos, Path(name) / "photos", sizes).result()
        apart.shutdown()
        found = measure_photos(
            model, photos, captions(args.texts), rounds=args.rounds, minutes=args.minutes, threads=args.threads,
            infinity=args.infinity,
        )  # fmt: skip
    content = {**provenance(), **found}
    if args.out is None:
        sys.stdout.write(json.dumps(content, indent=1) + "\n")
    else:
        write_json(args.out, content, indent=1)


def measure_photos(
    model: Path, photos: Sequence[Path], texts: Sequence[str], *, rounds: int, minutes: float, threads: int,
    infinity: str | None,
) -> dict[str, Any]:  # fmt: skip
    """Measure every way.

    Args:
        photos: all files of one folder.
        minutes: after which no round but the first begins.
        infinity: python of its environment; None leaves it out.

    Raises:
        UserError: a way fails, or its pictures have other vectors.
    """
    pythons = {OURS: sys.executable, PLAIN: sys.executable, **({} if infinity is None else {INFINITY: infinity})}
    inputs = {"pictures": [str(path) for path in photos], "texts": list(texts)}
    runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
    loads, begin = [os.getloadavg()[0]], time.perf_counter()
    shuffle = random.Random(0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / START).mkdir()
        shutil.copy(photos[0], folder / START)
        ways = {name: stack.enter_context(_worker(name, python, model, threads)) for name, python in pythons.items()}
        vectors = {  # the first time of everything, which is not measured
            (name, kind): way.vectors(kind, given, folder)
            for name, way in ways.items()
            for kind, given in inputs.items()
        }
        _index(model, photos[0].parent, folder / "first.index", threads)
        vectors[INDEX, "pictures"] = _indexed(folder / "first.index", photos)
        cosines = {cell: _least_cosine(found, vectors[PLAIN, cell[1]]) for cell, found in vectors.items()}
        _check(cosines, vectors[PLAIN, "pictures"])
        cells = [*vectors, (INDEX, START)]
        for number in range(rounds):
            if number and time.perf_counter() - begin > 60 * minutes:
                break
            for name, kind in shuffle.sample(cells, len(cells)):
                if name == INDEX:
                    source = folder / START if kind == START else photos[0].parent
                    run = _index(model, source, folder / f"{kind}{number}.index", threads)
                else:
                    run = ways[name].ask(kind, inputs[kind])
                runs[name, kind].append(run)
                loads.append(os.getloadavg()[0])
            sys.stderr.write(f"round {number + 1} of {rounds}, load average {loads[-1]:.1f}\n")
    return {
        "threads": threads, "rounds": len(runs[INDEX, START]), "batch": BATCH,
        "pictures": len(photos), "texts": len(texts),
        "megabytes": sum(path.stat().st_size for path in photos) / 1e6,
        "load_average": {"least": min(loads), "median": statistics.median(loads), "greatest": max(loads)},
        "versions": {name: way.versions for name, way in ways.items()},
        "start_seconds": statistics.median(run["seconds"] for run in runs[INDEX, START]),
        "measurements": [
            {"variant": name, "kind": kind, "cosine": cosines[name, kind], **_summary(runs[name, kind], len(given))}
            for kind, given in inputs.items() for name in (INDEX, *ways) if (name, kind) in runs
        ],
    }  # fmt: skip


def photos_sheet(content: Mapping[str, Any]) -> Sheet:
    """Speed, processor time and memory of every way."""
    start = f"{content['start_seconds']:.0f} s of it are its start"
    names = {
        INDEX: f"`llave index`, the whole command; {start}",
        OURS: "llave's `Encoder`",
        PLAIN: f"sentence-transformers 6.2, `encode`, batches of {content['batch']}",
        INFINITY: "infinity-emb 0.0.78, `AsyncEmbeddingEngine`",
    }
    load = content["load_average"]
    return Sheet(
        title=f"{content['pictures']} photos and {content['texts']} texts, {content['threads']} threads of "
        f"{content['machine']}; median of {content['rounds']} rounds at a load average of {load['least']:.1f} to "
        f"{load['greatest']:.1f}; commit {content['commit'][:7]}:",
        caption="",
        columns=("", "way", "a second", "slowest to fastest", "CPU s each", "peak GiB", "least cosine"),
        rows=[
            (
                row["kind"],
                names[row["variant"]],
                f"{row['rate']:.2f}",
                f"{row['slowest']:.2f} to {row['fastest']:.2f}",
                f"{row['cpu_seconds']:.3f}",
                f"{row['peak_bytes'] / 2**30:.1f}",
                f"{row['cosine']:.4f}",
            )
            for row in content["measurements"]
        ],
        words=frozenset({"", "way"}),
    )


class _Worker:
    """A process of ``photos_peer.py`` whose model is open.

    Attributes:
        versions: of the libraries that it runs on.
    """

    def __init__(self, name: str, process: "subprocess.Popen[str]", errors: Path) -> None:
        self.name, self._process, self._errors = name, process, errors
        self.versions = self._answer()

    def ask(self, kind: str, inputs: Sequence[str], vectors: Path | None = None) -> Run:
        """Embed once; keep the vectors in a file if one is named."""
        assert self._process.stdin is not None
        asked = {"kind": kind, "inputs": inputs, "vectors": vectors and str(vectors)}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        found: Run = self._answer()
        return found

    def vectors(self, kind: str, inputs: Sequence[str], folder: Path) -> NDArray[np.float32]:
        """Of these inputs (N, D)."""
        self.ask(kind, inputs, folder / "vectors.npy")
        found: NDArray[np.float32] = np.load(folder / "vectors.npy")
        return found

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise UserError(f"{self.name} ended: {self._errors.read_text()[-LAST_WORDS:]}")
        return json.loads(line)


@contextmanager
def _worker(name: str, python: str, model: Path, threads: int) -> Iterator[_Worker]:
    words = [python, "-P", str(Path(__file__).with_name("photos_peer.py")), name, str(model), str(threads)]
    with tempfile.NamedTemporaryFile("w") as errors:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=_environment(threads), text=True
        )
        try:
            yield _Worker(name, process, Path(errors.name))
        finally:
            process.kill()
            process.communicate()


def _index(model: Path, photos: Path, index: Path, threads: int) -> Run:
    """The command as a user types it, its start and the loading of the model included."""
    words = [sys.executable, "-m", "llave.cli.main", "index", str(model), str(photos), "--index", str(index)]
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [*words, "--device", "cpu"], stdout=said, stderr=subprocess.STDOUT, env=_environment(threads)
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise UserError(f"{INDEX}: exit code {process.returncode}: {said.read()[-LAST_WORDS:]}")
    cpu_seconds = used.ru_utime + used.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": 1024 * used.ru_maxrss}


def _indexed(path: Path, photos: Sequence[Path]) -> NDArray[np.float32]:
    """Vectors (N, D) of photos in an index."""
    index = Index.open(path)
    found = [index.vector(index.find(photo.name) or "") for photo in photos]
    missing = [photo.name for photo, vector_D in zip(photos, found, strict=True) if vector_D is None]
    if missing:
        raise UserError(f"{INDEX} left out {', '.join(missing)}")
    return np.stack([vector_D for vector_D in found if vector_D is not None])


def _least_cosine(one_ND: NDArray[np.float32], other_ND: NDArray[np.float32]) -> float:
    return float((one_ND * other_ND).sum(1).min())


def _check(cosines: Mapping[tuple[str, str], float], picture_ND: NDArray[np.float32]) -> None:
    """Pictures have the same vectors in all ways, texts in ours and sentence-transformers'."""
    others = picture_ND @ picture_ND.T - 2 * np.eye(len(picture_ND), dtype=np.float32)
    if others.max() > NEAR:
        raise UserError("two different photos have the same vector: this model can compare nothing")
    for (name, kind), cosine in cosines.items():
        if cosine < NEAR and (name, kind) != (INFINITY, "texts"):
            raise UserError(f"{name}: {kind} whose vectors differ (cosine {cosine:.5f}); no times")


def _summary(runs: Sequence[Run], number: int) -> dict[str, float]:
    """Items a second, the median and the ends; processor seconds of an item; the highest memory."""
    rates = [number / run["seconds"] for run in runs]
    return {
        "rate": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "cpu_seconds": statistics.median(run["cpu_seconds"] for run in runs) / number,
        "peak_bytes": max(run["peak_bytes"] for run in runs),
    }


def _environment(threads: int) -> dict[str, str]:
    return {**os.environ, **OFFLINE, "OMP_NUM_THREADS": str(threads)}


if __name__ == "__main__":
    main()
