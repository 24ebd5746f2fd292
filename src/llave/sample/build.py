"""Build the sample data set: a folder in MMEB's format, every byte a function of the seed."""

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from llave.data.mmeb import EVAL_COLUMNS, TRAIN_COLUMNS
from llave.errors import UserError
from llave.files import whole_folder, write_json, write_jsonl, write_text
from llave.sample.colours import ink_of, paper_of, tint
from llave.sample.domain import RGB, Concept, Domain, Drawing, Drawings
from llave.sample.emoji import EMOJI
from llave.sample.fetch import fetch_packages, read_files
from llave.sample.pictures import drawing
from llave.sample.rows import Row
from llave.sample.scene_tasks import SceneTasks
from llave.sample.sheet import draw_sheet
from llave.sample.split import SampleSplit, split_concepts
from llave.sample.tasks import PictureTasks

__all__ = ["META_TASKS", "PICTURES", "SampleSummary", "build_sample"]

META_TASKS = {
    "group": "classification",
    "subgroup": "classification",
    "scene_qa": "vqa",
    "t2i": "retrieval",
    "i2t": "retrieval",
    "i2i": "retrieval",
    "composed": "retrieval",
    "grounding": "grounding",
}
TRAIN_SCENES = 700
EVAL_SCENES = 400
MANIFEST = "MANIFEST.json"
PICTURES = "pictures.jsonl"
"""Every drawing with what is known of it, to be indexed."""
TRAIN_SCHEMA = pa.schema([(name, pa.string()) for name in (*TRAIN_COLUMNS, "neg_text", "neg_image_path")])
EVAL_SCHEMA = pa.schema(
    [(name, pa.list_(pa.string()) if name.startswith("tgt") else pa.string()) for name in EVAL_COLUMNS]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSummary:
    """What was built: number of concepts, of files under images/, and of rows by ``train/NAME`` and ``eval/NAME``."""

    out: Path
    concepts: int
    unseen: int
    pictures: int
    rows: dict[str, int]

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {count}" for name, count in sorted(self.rows.items()))
        return f"{self.out}: {self.concepts} concepts ({self.unseen} unseen), {self.pictures} pictures; {sizes}"


def build_sample(
    out: Path,
    *,
    domain: Domain = EMOJI,
    seed: int = 0,
    max_queries: int = 1000,
    cache: Path | None = None,
    progress: bool = True,
    scale: float = 1.0,
) -> SampleSummary:
    """Make the sample at ``out``; one that is there already with the same settings is kept.

    Args:
        domain: what is drawn, and by whom.
        seed: of every choice.
        max_queries: at most this many queries in each evaluation set.
        cache: directory for the downloaded packages.
        progress: show a bar on stderr.
        scale: share of the concepts and scenes, for small copies.

    Raises:
        UserError: ``out`` holds something else, or the packages cannot be fetched.
    """
    settings: dict[str, Any] = {"seed": seed, "max_queries": max_queries, "scale": scale}
    if domain is not EMOJI:  # whose manifests stay as they were before there was another
        settings["domain"] = domain.key
    existing = _existing(out, settings)
    if existing is not None:
        return existing
    tarballs = fetch_packages(cache, domain.packages)
    with whole_folder(out) as partial:
        for folder in ("train", "eval", "images"):
            (partial / folder).mkdir(parents=True)
        with Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar:
            task = bar.add_task(f"reading {domain.key}", total=None)
            concepts, drawings = domain.load(tarballs)
            rng = random.Random(seed)
            if scale < 1.0:
                concepts = [c for c in concepts if rng.random() < scale]
            split = split_concepts(concepts, domain, rng, scale=scale)
            builder = _Builder(partial, domain, drawings, rng, seed)
            bar.update(task, description="drawing pictures")
            builder.save_drawings(split)
            _write_pictures(partial / PICTURES, split)
            bar.update(task, description="composing tasks")
            builder.write_tasks(concepts, split, max_queries, scale)
            _write_about(partial, domain, tarballs, seed)
            bar.update(task, description="contact sheet")
            sheet = draw_sheet(partial, sorted(META_TASKS), random.Random(seed), credits=_credits(domain))
            sheet.save(partial / "contact.png")
        summary = SampleSummary(
            out=out,
            concepts=len(concepts),
            unseen=len({d.concept.key for d in split.unseen}),
            pictures=builder.pictures,
            rows=builder.rows,
        )
        _write_manifest(partial, settings, summary, split)
    return summary


class _Builder:
    """Writes pictures and tables below one folder."""

    def __init__(self, root: Path, domain: Domain, drawings: Drawings, rng: random.Random, seed: int) -> None:
        self.root = root
        self.domain = domain
        self.drawings = drawings
        self.rng = rng
        self.seed = seed
        self.sizes = {artist.key: artist.size for artist in domain.artists}
        self.pictures = 0
        self.rows: dict[str, int] = {}

    def image(self, item: Drawing, paper: RGB) -> Image.Image:
        """RGBA at the artist's size, in a colour that can be seen on this paper."""
        image = drawing(self.drawings[item.artist][item.concept.key], self.sizes[item.artist])
        ink = ink_of(self.domain, item, paper, self.seed)
        return image if ink is None else tint(image, ink)

    def save(self, path: str, image: Image.Image) -> None:
        target = self.root / "images" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target, optimize=False)
        self.pictures += 1

    def save_drawings(self, split: SampleSplit) -> None:
        for item in (*split.train, *split.held_out, *split.unseen):
            paper = paper_of(self.domain, item, self.seed)
            image = self.image(item, paper)
            ground = Image.new("RGBA", image.size, (*paper, 255))
            self.save(item.path, Image.alpha_composite(ground, image).convert("RGB"))

    def write_tasks(self, concepts: list[Concept], split: SampleSplit, limit: int, scale: float) -> None:
        tasks = PictureTasks(concepts, self.domain, self.rng)
        scenes = SceneTasks(self.image, self.save, self.rng)
        train = tasks.train(split.train)
        seen = (*split.train, *split.held_out)
        held_out_keys = {d.concept.key for d in split.held_out}
        ind = tasks.evaluate(
            split.held_out, [d for d in seen if d.concept.key in held_out_keys], unseen=False, limit=limit
        )
        ood = tasks.evaluate(split.unseen, split.unseen, unseen=True, limit=limit)
        num_train, num_eval = round(TRAIN_SCENES * scale), min(round(EVAL_SCENES * scale), limit)
        for target, name, drawings, count in (
            (train, "train", split.train, num_train),
            (ind, "ind", seen, num_eval),
            (ood, "ood", split.unseen, num_eval),
        ):
            target["scene_qa"], target["grounding"] = scenes.make(name, drawings, count, evaluation=target is not train)
        for name, rows in train.items():
            self._write(f"train/{name}", rows, TRAIN_SCHEMA)
        for name, rows in ind.items():
            self._write(f"eval/{name}", rows, EVAL_SCHEMA)
        for name, rows in ood.items():
            self._write(f"eval/{name}_ood", rows, EVAL_SCHEMA)

    def _write(self, name: str, rows: list[Row], schema: pa.Schema) -> None:
        self.rows[name] = len(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), self.root / f"{name}.parquet")


def _write_pictures(path: Path, split: SampleSplit) -> None:
    roles = {"train": split.train, "held out": split.held_out, "unseen": split.unseen}
    rows = [
        {
            "id": f"{item.artist}/{item.concept.key}",
            "image": f"images/{item.path}",
            "name": item.concept.label,
            "tags": ", ".join(item.concept.tags),
            "group": item.concept.group,
            "subgroup": item.concept.subgroup,
            "artist": item.artist,
            "split": role,
        }
        for role, drawings in roles.items()
        for item in drawings
    ]
    write_jsonl(path, rows)


def _write_about(root: Path, domain: Domain, tarballs: Mapping[str, Path], seed: int) -> None:
    name = "sample" if domain is EMOJI else f"sample-{domain.key}"
    tasks = {name + end: {"meta": meta, "split": split} for name, meta in META_TASKS.items() for end, split in _SPLITS}
    write_json(root / "benchmark.json", {"name": name, "seed": seed, "tasks": tasks}, indent=1)
    lines = ["# Licences of the sample's sources", "", "| source | package | version | licence |", "|---|---|---|---|"]
    lines += [f"| {p.source} | {p.name} | {p.version} | {p.licence} |" for p in domain.packages]
    lines += ["", domain.changes, ""]
    for package in domain.packages:
        if package.licence_file:
            (text,) = read_files(tarballs[package.name], package.licence_file)
            lines += [f"## {package.name} {package.version}", "", "```", text.decode("utf-8").strip(), "```", ""]
    write_text(root / "LICENSES.md", "\n".join(lines))


def _credits(domain: Domain) -> str:
    shown = [p for p in domain.packages if p.licence_file]  # those whose licence wants to be named with the pictures
    return "; ".join(f"{p.source} ({p.licence})" for p in shown)


_SPLITS = (("", "ind"), ("_ood", "ood"))


def _write_manifest(root: Path, settings: dict[str, Any], summary: SampleSummary, split: SampleSplit) -> None:
    """The hash of every file; written last, so a folder with a manifest is whole."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    write_json(
        root / MANIFEST,
        {
            "settings": settings,
            "concepts": summary.concepts,
            "unseen": sorted({d.concept.key for d in split.unseen}),
            "pictures": summary.pictures,
            "rows": summary.rows,
            "sha256": {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files},
        },
        indent=1,
    )


def _existing(out: Path, settings: dict[str, Any]) -> SampleSummary | None:
    if not out.exists():
        return None
    try:
        manifest = json.loads((out / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{out}: exists and is not a sample data set; choose another folder") from None
    if manifest["settings"] != settings:
        raise UserError(f"{out}: a sample with other settings {manifest['settings']}; choose another folder")
    return SampleSummary(
        out=out,
        concepts=manifest["concepts"],
        unseen=len(manifest["unseen"]),
        pictures=manifest["pictures"],
        rows=manifest["rows"],
    )
