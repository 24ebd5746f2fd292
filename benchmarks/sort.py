"""What `llave dups`, `classify` and `cluster` find on the sample's pictures.

Copies: a third of the pictures are copied in ten ways beside themselves; the others stand alone, many of them alike
(flags, clocks, faces). A copy is found if it is in its original's group; a group is false if it holds pictures of two
originals that differ in a pixel. Beside it, on the same pictures and with groups made the same way: 64-bit pHash at
several distances, and the cosines of a model. Labels: `group` of concepts that the model has not been trained on,
zero-shot and by a probe; examples and tests share no concept. Groups: how well clusters go with `group`.

Run: python -m benchmarks.sort MODEL --data runs/sample --also runs/icons --out benchmarks/results
"""

import argparse
import hashlib
import json
import random
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.provenance import provenance
from llave.data.images import load_image
from llave.encode.encoder import Encoder
from llave.encode.item import Item
from llave.evaluation.statistics import mean_ci95
from llave.models.about import trained_temperature
from llave.models.open import load_model
from llave.progress import show_progress
from llave.sorting.calibration import calibration_error, fit_temperature, softmax
from llave.sorting.classify import Examples, classify
from llave.sorting.clusters import group_vectors
from llave.sorting.duplicates import NearVectors, find_duplicates, stars
from llave.sorting.labels import embed_texts, prompts_of
from llave.sorting.looks import Looks
from llave.sorting.things import Thing, Things, read_things
from llave.sorting.threshold import wilson

__all__ = ["answer_line", "cluster_table", "copies_table", "labels_table"]

WAYS: dict[str, tuple[float, str, dict[str, Any]]] = {
    "exact copy": (1, "copy", {}),
    "PNG of the same pixels": (1, "PNG", {"compress_level": 1}),
    "JPEG 95": (1, "JPEG", {"quality": 95}),
    "JPEG 70": (1, "JPEG", {"quality": 70}),
    "JPEG 50": (1, "JPEG", {"quality": 50}),
    "JPEG 30": (1, "JPEG", {"quality": 30}),
    "WebP 60": (1, "WEBP", {"quality": 60}),
    "three quarters of the side": (0.75, "PNG", {}),
    "half of the side": (0.5, "PNG", {}),
    "half of the side, JPEG 70": (0.5, "JPEG", {"quality": 70}),
}
CROPPED = "cropped by 2% on each side"
DISTANCES, COSINES = (0, 4, 8, 12), (0.999, 0.995, 0.99, 0.98)
TEMPLATES = {
    "{label}": ["{label}"],
    "a picture of {label}": ["a picture of {label}"],
    "three": ["{label}", "a picture of {label}", "an emoji of {label}"],
}
SHOTS, DRAWS = (1, 5, 20), 10
Floats = NDArray[np.float32]


def make_copies(pictures: Sequence[Path], copied: int, folder: Path) -> dict[str, tuple[str, str]]:
    """Files: all pictures, and copies of the first ones. Of each file, the hash of its original's pixels, and how it
    was made."""
    made = {}
    for number, picture in enumerate(pictures):
        image = load_image(picture)
        source = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
        shutil.copyfile(picture, folder / f"{number:05} original.png")
        made[f"{number:05} original.png"] = (source, "original")
        for way, (factor, form, options) in WAYS.items() if number < copied else ():
            name = f"{number:05} {way}.{'jpg' if form == 'JPEG' else form.lower().replace('copy', 'png')}"
            if form == "copy":
                shutil.copyfile(picture, folder / name)
            else:
                size = round(image.width * factor), round(image.height * factor)
                image.resize(size, Image.Resampling.LANCZOS).save(folder / name, form, **options)
            made[name] = (source, way)
        if number < copied:
            edge = round(0.02 * image.width)
            cropped = image.crop((edge, edge, image.width - edge, image.height - edge))
            cropped.save(folder / f"{number:05} cropped.png")
            made[f"{number:05} cropped.png"] = (source, CROPPED)
    return made


def score(groups: Sequence[Sequence[str]], made: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Of each way of copying, how many copies are in the group of their original, and how many groups are false."""
    group_of = {name: number for number, group in enumerate(groups) for name in group}
    found: Counter[str] = Counter()
    of_all: Counter[str] = Counter()
    for name, (_, way) in made.items():
        if way != "original":
            original = f"{name[:5]} original.png"
            of_all[way] += 1
            found[way] += name in group_of and group_of[name] == group_of.get(original)
    counted = {way: found[way] for way in WAYS}
    false = sum(len({made[name][0] for name in group}) > 1 for group in groups)
    return {
        "copies": sum(of_all[way] for way in WAYS),
        "found": sum(counted.values()),
        "by_way": {way: [found[way], of_all[way]] for way in (*WAYS, CROPPED)},
        "groups": len(groups),
        "false": false,
    }


class NearHashes:
    """pHash within a distance: what is compared with."""

    def __init__(self, looks: Looks, most: int) -> None:
        self._hash_N, self._most = looks.hash_N, most

    def __call__(self, places: Sequence[int]) -> list[NDArray[np.intp]]:
        return [np.flatnonzero(np.bitwise_count(self._hash_N ^ self._hash_N[place]) <= self._most) for place in places]


def measure_copies(pictures: Sequence[Path], copied: int, model: Any = None) -> dict[str, Any]:
    """Ours and, on the same pictures, pHash at several distances; with a model, on an eighth of them, its cosines."""
    with tempfile.TemporaryDirectory() as name, show_progress(False) as work:
        folder = Path(name)
        made = make_copies(pictures, copied, folder)
        start = time.perf_counter()
        things = read_things(folder, work)
        duplicates = find_duplicates(things, work)
        seconds = time.perf_counter() - start
        found: dict[str, Any] = {
            "pictures": len(pictures),
            "copied": copied,
            "files": len(made),
            "seconds": seconds,
            "llave dups": score([[copy.name for copy in group.copies] for group in duplicates.groups], made),
        }
        chosen_names = [f"{picture.parent.name}/{picture.stem}" for picture in pictures]
        found["false_groups"] = [
            [
                f"{chosen_names[int(copy.name[:5])]}: {copy.evidence} {copy.difference}"
                for copy in group.copies
                if made[copy.name][1] == "original"
            ]
            for group in duplicates.groups
            if len({made[copy.name][0] for copy in group.copies}) > 1
        ]
        looks = Looks(len(things))
        for place, encoded in enumerate(things.pictures(range(len(things)))):
            looks.add(place, encoded)
        names = [thing.name for thing in things.all]
        for most in DISTANCES:
            found[f"pHash, at most {most} of 64 bits"] = score(_groups(names, [NearHashes(looks, most)]), made)
        if model is None:
            return found
        few = [place for place, each in enumerate(names) if int(each[:5]) % 8 == 0]
        outcomes = Encoder(model)([things.all[place].item for place in few])
        vector_ND = np.stack([np.asarray(outcome, np.float32) for outcome in outcomes])
        those = {names[place]: made[names[place]] for place in few}
        for least in COSINES:
            near = NearVectors(vector_ND, np.arange(len(few)), least)
            found[f"cosine of the model, {least} or more"] = score(_groups(list(those), [near]), those)
    return found


def _groups(names: Sequence[str], ways: Sequence[Callable[[Sequence[int]], list[Any]]]) -> list[list[str]]:
    found = stars(range(len(names)), ways)
    return [[names[each] for each in (centre, *members)] for centre, members in found.items() if members]


def measure_labels(rows: Sequence[Mapping[str, str]], vector_ND: Floats, model: Any) -> dict[str, Any]:
    """Zero-shot by several templates, and both ways by examples of 1, 5 and 20 concepts of each label."""
    names = sorted({row["group"] for row in rows})
    target_N = np.array([names.index(row["group"]) for row in rows])
    encode, temperature = embed_texts(model), trained_temperature(model) or 0.02
    found: dict[str, Any] = {"items": len(rows), "labels": len(names), "temperature": temperature, "zero-shot": {}}
    for name, templates in TEMPLATES.items():
        result = classify(_things(rows, vector_ND), prompts_of(dict.fromkeys(names, ()), templates), encode,
                          temperature=temperature)  # fmt: skip
        right = sum(item.label == row["group"] for item, row in zip(result.items, rows, strict=True))
        scores = np.array([item.score for item in result.items])
        hits = np.array([item.label == row["group"] for item, row in zip(result.items, rows, strict=True)])
        found["zero-shot"][name] = {"right": right, "error": _binned(scores, hits)}
    logit_NL = _logits(vector_ND, names, encode)
    best = fit_temperature(logit_NL, target_N)
    found["fitted on all"] = {
        "temperature": best,
        "error": calibration_error(softmax(logit_NL / best), target_N),
    }
    found["shots"] = {}
    for shots in SHOTS:
        kept = defaultdict(list)
        for draw in range(DRAWS):
            examples, tests = _split(rows, shots, random.Random(draw))
            known = Examples(vector_ND[examples], [rows[place]["group"] for place in examples])
            some = [rows[place] for place in tests]
            right = np.array([row["group"] for row in some])
            prompts = prompts_of(dict.fromkeys(names, ()))
            result = classify(_things(some, vector_ND[tests]), prompts, encode, examples=known, temperature=temperature,
                              seed=draw)  # fmt: skip
            hits = np.array([item.label for item in result.items]) == right
            kept["used"].append(float(hits.mean()))
            kept["error"].append(_binned(np.array([item.score for item in result.items]), hits))
            kept[result.way].append(1.0)
            plain = classify(_things(some, vector_ND[tests]), prompts, encode, temperature=temperature)
            kept["prompts"].append(float((np.array([item.label for item in plain.items]) == right).mean()))
            kept["probe alone"].append(_probe(vector_ND[examples], known.labels, vector_ND[tests], right))
            if result.quality:
                kept["said"].append(result.quality[0].right / result.quality[0].examples)
        found["shots"][shots] = {
            "draws": DRAWS,
            "tests": len(tests),
            "chosen": {way: len(kept.pop(way, [])) for way in ("zero-shot", "probe", "both")},
            **{name: [*mean_ci95(values)] for name, values in kept.items()},
        }
    return found


def _things(rows: Sequence[Mapping[str, str]], vector_ND: Floats) -> Things:
    made = [Thing(id=row["id"], key=row["id"], name=row["id"], kind="image") for row in rows]
    return Things(all=made, vector_ND=vector_ND, pictures=lambda places: [b"" for _ in places])


def _logits(vector_ND: Floats, names: Sequence[str], encode: Any) -> NDArray[np.float64]:
    texts = [prompts[0] for prompts in prompts_of(dict.fromkeys(names, ())).values()]
    return (vector_ND @ encode(texts).T).astype(np.float64)


def _binned(scores: NDArray[np.float64], hits: NDArray[np.bool_]) -> float:
    """The expected calibration error of the best labels' scores."""
    bins = np.minimum((scores * 10).astype(int), 9)
    return float(sum(abs(scores[bins == b].sum() - hits[bins == b].sum()) for b in range(10)) / len(scores))


def _probe(vector_ND: Floats, labels: Sequence[str], test_MD: Floats, right: NDArray[Any]) -> float:
    """How often a probe alone is right, whichever way would be chosen."""
    from sklearn.linear_model import LogisticRegression

    probe = LogisticRegression(C=10.0, max_iter=2000).fit(vector_ND, list(labels))
    return float((probe.predict(test_MD) == right).mean())


def _split(rows: Sequence[Mapping[str, str]], shots: int, rng: random.Random) -> tuple[list[int], list[int]]:
    """A picture of each of so many concepts of each label; and all pictures of other concepts."""
    concepts = defaultdict(lambda: defaultdict(list))
    for place, row in enumerate(rows):
        concepts[row["group"]][row["name"]].append(place)
    examples, taken = [], set()
    for of_label in concepts.values():
        for name in rng.sample(sorted(of_label), min(shots, len(of_label) // 2)):
            examples.append(rng.choice(of_label[name]))
            taken.add(name)
    return examples, [place for place, row in enumerate(rows) if row["name"] not in taken]


def measure_clusters(rows: Sequence[Mapping[str, str]], vector_ND: Floats) -> list[dict[str, Any]]:
    """Adjusted Rand index and V-measure of several ways with `group` and `subgroup`."""
    from sklearn.metrics import adjusted_rand_score, v_measure_score

    groups = [row["group"] for row in rows]
    options: list[dict[str, Any]] = [
        {}, {"k": len(set(groups))}, {"k": 60}, {"way": "hdbscan"}, {"way": "hdbscan", "smallest": 10},
    ]  # fmt: skip
    found = []
    for option in options:
        start = time.perf_counter()
        number_N, way = group_vectors(vector_ND, **option)
        seconds = time.perf_counter() - start
        there = number_N >= 0
        found.append(
            {
                "way": way,
                "options": option,
                "clusters": len(set(number_N[there].tolist())),
                "in_none": int((~there).sum()),
                "rand": adjusted_rand_score(groups, number_N),
                "v_group": v_measure_score(groups, number_N),
                "v_subgroup": v_measure_score([row["subgroup"] for row in rows], number_N),
                "seconds": seconds,
            }
        )
    return found


def copies_table(result: Mapping[str, Any]) -> str:
    """Of every way to compare: copies that are found, groups that are false."""
    lines = [
        "| pictures | compared by | copies found | resized | JPEG and WebP | cropped by 2% | groups | false groups |"
    ]
    lines.append("|---|---|---:|---:|---:|---:|---:|---:|")
    for pictures, found in (("emoji", result["copies"]), ("icons", result["copies elsewhere"])):
        for name, of in found.items():
            if isinstance(of, dict):
                lines.append(f"| {pictures} | {name} | {_row(of)} |")
    found, other = result["copies"], result["copies elsewhere"]
    about = (
        f"{found['pictures']:,} emoji, {found['copied']:,} of them copied: {found['files']:,} files; "
        f"{other['pictures']:,} icons in the same way, {other['files']:,} files; pHash of the same thumbnails; cosines "
        f"of an eighth of the emoji, by `{result['model']}`. In brackets, 95%. Ours took {found['seconds']:.0f} and "
        f"{other['seconds']:.0f} s. "
    )
    lines += ["", about + _where(result)]
    return "\n".join(lines)


def _row(of: Mapping[str, Any]) -> str:
    resized = _of(of, [way for way, (factor, *_) in WAYS.items() if factor != 1])
    packed = _of(of, [way for way, (factor, form, _) in WAYS.items() if factor == 1 and form in ("JPEG", "WEBP")])
    shares = _share(of["found"], of["copies"]), _share(*resized), _share(*packed), _share(*of["by_way"][CROPPED])
    low, high = wilson(of["false"], of["groups"])
    return " | ".join([*shares, f"{of['groups']:,}", f"{of['false']:,} ({low:.2%} to {high:.2%})"])


def answer_line(result: Mapping[str, Any]) -> str:
    """What `llave dups` finds, in two sentences."""
    lines = []
    for name, where in (("copies", "Emoji"), ("copies elsewhere", "Icons, on which nothing was chosen")):
        ours = result[name]["llave dups"]
        low, high = wilson(ours["false"], ours["groups"])
        lines.append(
            f"- {where}: of {ours['copies']:,} copies, exact, resized or compressed once more, "
            f"{_share(ours['found'], ours['copies'])} are in the group of their original; {ours['false']} of "
            f"{ours['groups']:,} groups ({low:.2%} to {high:.2%}) hold two pictures that differ."
        )
    return "\n".join(lines)


def labels_table(result: Mapping[str, Any]) -> str:
    """Zero-shot, and by examples."""
    found = result["labels"]
    lines = ["| labels by | right | calibration error |", "|---|---:|---:|"]
    for name, of in found["zero-shot"].items():
        said = f"prompt “{name}”" if "{" in name else "the mean of three prompts"
        lines.append(f"| {said}, no example | {_share(of['right'], found['items'])} | {of['error']:.3f} |")
    for shots, of in found["shots"].items():
        chosen = ", ".join(f"{way} in {count}" for way, count in of["chosen"].items() if count)
        said = f"{shots} of each label, as chosen ({chosen} of {DRAWS} draws)"
        lines.append(f"| {said} | {_mean(of['used'])} | {of['error'][0]:.3f} |")
        lines.append(f"| {shots} of each label: the prompt alone | {_mean(of['prompts'])} | |")
        lines.append(f"| {shots} of each label: the probe alone | {_mean(of['probe alone'])} | |")
    about = (
        f"{found['items']:,} pictures of concepts that `{result['model']}` was not trained on, {found['labels']} "
        f"labels (`group`); temperature {found['temperature']:g}, as trained. Examples: {DRAWS} draws, ± half of the "
        "95% interval over them, tested on the other concepts. "
    )
    lines += ["", about + _where(result)]
    return "\n".join(lines)


def cluster_table(result: Mapping[str, Any]) -> str:
    """How well groups go with the sample's own."""
    lines = ["| way | groups | in none | adjusted Rand, `group` | V-measure, `group` | V-measure, `subgroup` | s |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    lines += [
        f"| {of['way']} | {of['clusters']} | {of['in_none']:,} | {of['rand']:.3f} | {of['v_group']:.3f} | "
        f"{of['v_subgroup']:.3f} | {of['seconds']:.1f} |"
        for of in result["clusters"]
    ]
    pictures = f"The same {result['labels']['items']:,} pictures; what is in none counts as one more group. "
    lines += ["", pictures + _where(result)]
    return "\n".join(lines)


def _of(of: Mapping[str, Any], ways: Sequence[str]) -> tuple[int, int]:
    return sum(of["by_way"][way][0] for way in ways), sum(of["by_way"][way][1] for way in ways)


def _share(hits: int, count: int) -> str:
    low, high = wilson(hits, count)
    return f"{hits / count:.2%} ({low:.2%} to {high:.2%})"


def _mean(estimate: Sequence[float]) -> str:
    return f"{estimate[0]:.1%} ± {estimate[1]:.1%}"


def _where(result: Mapping[str, Any]) -> str:
    return f"{result['machine']}, commit {result['commit'][:12]}, `{result['command']}`."


def _rows(data: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (data / "pictures.jsonl").read_text("utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--also", type=Path, required=True, help="other pictures, on which nothing was chosen")
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--copied", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    config = parser.parse_args()
    model = load_model(config.model, device="cpu")
    result: dict[str, Any] = {**provenance(), "model": config.model}
    for name, data, judge in (("copies", config.data, model), ("copies elsewhere", config.also, None)):
        rows = _rows(data)
        chosen = random.Random(config.seed).sample(rows, min(config.pictures, len(rows)))
        result[name] = measure_copies([data / row["image"] for row in chosen], config.copied, judge)
    rows = _rows(config.data)
    unseen = [row for row in rows if row["split"] == "unseen"]
    outcomes = Encoder(model)([Item(image=config.data / row["image"]) for row in unseen])
    vector_ND = np.stack([np.asarray(outcome, np.float32) for outcome in outcomes])
    result["labels"] = measure_labels(unseen, vector_ND, model)
    result["clusters"] = measure_clusters(unseen, vector_ND)
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "sort.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
