"""What search finds by vector, by words, by both, and reranked: on the sample's pictures, and among 100,000 texts.

The sample: its pictures, whose only words are their names. Asked for are names of concepts that the model has seen, and
has not seen, other words for them (the tags that share no word with the name), and misspelt names. Right is any
artist's picture of the concept. The 100,000: texts "A and B" of two names each; asked for are some of them whole, with
half of their words, and misspelt. The weight of the words is the one that the index measured by itself.

Run: python -m benchmarks.search MODEL --data runs/sample --out benchmarks/results [--rerank RERANKER] [--rows 100000]
"""

import argparse
import csv
import dataclasses
import json
import random
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.provenance import provenance
from llave.collection.collection import Columns
from llave.evaluation.record import versions
from llave.models.open import load_model
from llave.search.build import build_index
from llave.search.hits import Hits
from llave.search.index import Index
from llave.search.options import BuildOptions
from llave.search.own_queries import misspell
from llave.search.words import Words

__all__ = ["search_table"]

K = 10
TOP = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """A query, and the names that a right hit may have."""

    slice: str
    text: str
    name: str


def sample_queries(pictures: Sequence[Mapping[str, str]], count: int, rng: random.Random) -> list[Asked]:
    """``count`` of each slice at most, each concept once in a slice."""
    concepts = list({picture["name"]: picture for picture in pictures}.values())
    rng.shuffle(concepts)
    made: dict[str, list[Asked]] = {"seen": [], "unseen": [], "paraphrased": [], "misspelt": []}
    for concept in concepts:
        name, split = concept["name"], concept["split"]
        own = set(name.split())
        tags = [tag for tag in concept["tags"].split(", ") if not own & set(tag.split())]
        if split in ("train", "unseen"):
            made["seen" if split == "train" else "unseen"].append(Asked("", name, name))
        if len(tags) > 1:
            made["paraphrased"].append(Asked("", " ".join(tags[:3]), name))
        made["misspelt"].append(Asked("", misspell(name, rng), name))
    return [dataclasses.replace(each, slice=name) for name, some in made.items() for each in some[:count]]


def text_queries(texts: Sequence[str], count: int, rng: random.Random) -> list[Asked]:
    """Of as many texts, whole, halved and misspelt."""
    found = []
    for text in rng.sample(texts, count):
        words = text.split()
        kept = sorted(rng.sample(range(len(words)), (len(words) + 1) // 2))
        for name, query in (
            ("whole", text),
            ("half of the words", " ".join(words[place] for place in kept)),
            ("misspelt", misspell(text, rng)),
        ):
            found.append(Asked(name, query, text))
    return found


def measure(index: Index, queries: Sequence[Asked], rerankers: Mapping[str, Any]) -> dict[str, Any]:
    """By slice and way of search: places of the first right hit, and milliseconds of the whole search."""
    ways: dict[str, dict[str, Any]] = {
        "vector": {"mode": "vector"},
        "words": {"mode": "words"},
        "hybrid": {"mode": "hybrid"},
        **{f"hybrid, {name}": {"mode": "hybrid", "rerank": one, "top": TOP} for name, one in rerankers.items()},
    }
    found: dict[str, Any] = {}
    for query in queries:
        of = found.setdefault(query.slice, {name: {"places": [], "ms": []} for name in (*ways, "equal RRF")})
        pools: dict[str, Hits] = {}
        for name, options in ways.items():
            start = time.perf_counter()
            hits = index.search(query.text, limit=100, **options)
            of[name]["ms"].append(1e3 * (time.perf_counter() - start))
            of[name]["places"].append(_place(hits, query.name))
            pools[name] = hits
        of["equal RRF"]["places"].append(_place(_rrf(pools["vector"], pools["words"]), query.name))
    return found


def _place(hits: Sequence[Any], name: str) -> int:
    """From 1; 0 where none is right."""
    for place, hit in enumerate(hits, start=1):
        if name in (hit.fields.get("name"), hit.text):
            return place
    return 0


def _rrf(*lists: Hits) -> list[Any]:
    """Reciprocal rank fusion with the usual 60."""
    scores: dict[str, float] = {}
    hits = {hit.id: hit for some in lists for hit in some}
    for some in lists:
        for place, hit in enumerate(some, start=1):
            scores[hit.id] = scores.get(hit.id, 0.0) + 1 / (60 + place)
    return [hits[each] for each in sorted(scores, key=lambda each: -scores[each])]


def search_table(found: Mapping[str, Any]) -> str:
    """Both parts, each a table of a row for each way and a column for each slice, and what they are."""
    sample, texts = found["sample"], found["texts"]
    note = (
        "P@1 with half of its 95% interval, and recall@10, in %; in brackets the number of queries. The last row is "
        "paired by query. ms: median of whole searches, the query's embedding included; rerankers score the best "
        f"{TOP}, and what a vision tower makes of a picture is kept."
    )
    return "\n\n".join(
        [
            f"{sample['items']:,} pictures with names (words weigh {sample['pipeline']['weight']:g}):",
            _table(sample),
            f"{texts['items']:,} texts of two names (words weigh {texts['pipeline']['weight']:g}):",
            _table(texts),
            " ".join([note, *(f"{name}: {_run(part)}." for name, part in (("Pictures", sample), ("texts", texts)))]),
        ]
    )


def _run(part: Mapping[str, Any]) -> str:
    """Where a part comes from."""
    run = part["run"]
    return f"seed {run['seed']}, {run['machine']}; commit {run['commit'][:7]}: `{run['command']}`"


def _table(part: Mapping[str, Any]) -> str:
    slices = list(part["slices"])
    ways = list(part["slices"][slices[0]])
    sizes = [len(part["slices"][name][ways[0]]["places"]) for name in slices]
    heads = [f"{name} ({size})" for name, size in zip(slices, sizes, strict=True)]
    lines = [f"| P@1, recall@10 | {' | '.join(heads)} | ms |", "|---|" + "---:|" * (len(slices) + 1)]
    for way in ways:
        cells, times = [], []
        for name in slices:
            places = np.array(part["slices"][name][way]["places"])
            first = float((places == 1).mean())
            half = 1.96 * float(np.sqrt(first * (1 - first) / len(places)))
            recall = float(((places > 0) & (places <= K)).mean())
            cells.append(f"{100 * first:.1f} ± {100 * half:.1f}, {100 * recall:.1f}")
            times += part["slices"][name][way]["ms"]
        lines.append(f"| {way} | {' | '.join(cells)} | {f'{np.median(times):.1f}' if times else ''} |")
    gains = []
    for name in slices:
        firsts = {way: np.array(part["slices"][name][way]["places"]) == 1 for way in ("vector", "words", "hybrid")}
        better = max(("vector", "words"), key=lambda way: firsts[way].mean())
        gain = firsts["hybrid"].astype(float) - firsts[better]
        half = 1.96 * float(gain.std() / np.sqrt(len(gain)))
        gains.append(f"{100 * gain.mean():+.1f} ± {100 * half:.1f}")
    lines.append(f"| hybrid, gain on the better of vector and words | {' | '.join(gains)} | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rerank", nargs="*", default=[], help="NAME=PATH")
    parser.add_argument("--rows", type=int, default=100_000, help="0 leaves the texts out")
    parser.add_argument("--queries", type=int, default=320)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    model = load_model(args.model)
    rerankers = {}
    for said in args.rerank:
        name, _, path = said.partition("=")
        rerankers[name] = _opened(path)
    pictures = [json.loads(line) for line in (args.data / "pictures.jsonl").read_text("utf-8").splitlines()]
    rng = random.Random(args.seed)
    run: dict[str, Any] = {
        **provenance(),
        "versions": versions(),
        "seed": args.seed,
        "model": Path(args.model).name,
    }
    folder = Path(tempfile.mkdtemp())
    options = BuildOptions(words=Words(("name",)), make_map=False)
    try:
        index, _ = build_index(folder / "sample", model, args.data / "pictures.jsonl", options=options)
        index.use_model(model)
        queries = sample_queries(pictures, args.queries, rng)
        index.search("warm up", mode="hybrid")
        sample = {
            "run": run,
            "items": index.count(),
            "pipeline": dataclasses.asdict(index.info.pipeline),
            "slices": measure(index, queries, rerankers),
        }
        _write(args.out, "sample", sample)
        if not args.rows:
            return
        names = sorted({picture["name"] for picture in pictures})
        pairs: dict[str, None] = {}
        while len(pairs) < args.rows:
            pairs[" and ".join(rng.sample(names, 2))] = None
        texts = list(pairs)
        with (folder / "texts.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([["id", "text"], *([number, text] for number, text in enumerate(texts))])
        start = time.perf_counter()
        columns = Columns(id="id", text="text")
        options = dataclasses.replace(options, words=Words(("text",)))
        index, _ = build_index(folder / "texts", model, folder / "texts.csv", columns=columns, options=options)
        index.use_model(model)
        built = time.perf_counter() - start
        index.search("warm up", mode="hybrid")
        part = {
            "run": run,
            "items": index.count(),
            "built_s": built,
            "pipeline": dataclasses.asdict(index.info.pipeline),
            "slices": measure(index, text_queries(texts, args.queries, rng), {}),
        }
        _write(args.out, "texts", part)
    finally:
        shutil.rmtree(folder)


def _opened(path: str) -> Any:
    """A reranker or a late-interaction model; what its vision tower makes of a picture is kept."""
    from llave.models.nano_features import use_feature_cache
    from llave.models.open import is_late
    from llave.rerank.late import LateStage
    from llave.rerank.reranker import Reranker

    opened: Any = LateStage(path) if is_late(path) else Reranker.open(path)
    use_feature_cache(opened.model)
    return opened


def _write(out: Path, name: str, part: Mapping[str, Any]) -> None:
    """A part beside the others of the file, which may be of other runs."""
    path = out / "search.json"
    known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**known, name: part}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
