"""CPU seconds of a small evaluation and a small index, to set two checkouts beside each other.

    for round in 1 2 3; do for side in OLD NEW; do PYTHONPATH=$side/src python benchmarks/encode_ab.py RUN; done; done

RUN is a folder that ``llave quickstart`` made. CPU time and the least of several, since machines are shared.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from llave import load_model
from llave.collection.open import open_collection
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.runner import evaluate
from llave.search.index import Index
from llave.search.info import index_info
from llave.terminal import quiet_libraries

PICTURES = 120
QUERIES = 60


def least(work: Callable[[], object], times: int) -> float:
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return round(min(found), 3)


def main(run: Path) -> None:
    torch.set_num_threads(1)
    quiet_libraries()
    path = run / "models" / "hardness"
    model = load_model(path, device="cpu")
    benchmark = get_benchmark(run / "data", tasks="scene_qa")
    evaluate(model, benchmark, limit=3, progress=False)
    seconds = {"eval": least(lambda: evaluate(model, benchmark, limit=QUERIES, progress=False), 4)}
    with tempfile.TemporaryDirectory() as place:
        photos = Path(place) / "photos"
        photos.mkdir()
        for number, picture in enumerate(sorted((run / "data" / "images").rglob("*.png"))[:PICTURES]):
            shutil.copy(picture, photos / f"{number}.png")

        def build() -> None:
            from llave.search.options import BuildOptions
            from llave.search.update import update_index

            index = Index.create(tempfile.mkdtemp(dir=place), index_info(model, path))
            quiet = BuildOptions(progress=False, make_map=False)
            update_index(index, model, open_collection(photos), photos, quiet)

        seconds["index"] = least(build, 3)
    sys.stdout.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
