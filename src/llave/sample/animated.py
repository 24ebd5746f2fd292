"""Animated emoji beside the sample: text to video and video to text, for evaluation only.

``SAMPLE/animated/`` is a folder in MMEB's format of its own, so that the sample's sixteen data sets stay what they are.
The split is the sample's: ``NAME_ood`` has its unseen concepts and nothing else, the others have the seen ones.
"""

import hashlib
import io
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from llave.data.mmeb import RowItem
from llave.errors import UserError
from llave.files import whole_folder, write_json, write_text
from llave.sample.build import EVAL_SCHEMA, MANIFEST
from llave.sample.domain import Concept
from llave.sample.emoji import EMOJI, canonical, load_emoji
from llave.sample.fetch import Package, fetch_packages
from llave.sample.pictures import read_drawings
from llave.sample.rows import Row, eval_row, pick
from llave.sample.tasks import CANDIDATES

__all__ = ["FOLDER", "AnimatedSummary", "add_animated", "write_animated"]

FOLDER = "animated"
SCHEMA = EVAL_SCHEMA.append(pa.field("qry_video_path", pa.string())).append(
    pa.field("tgt_video_path", pa.list_(pa.string()))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimatedSummary:
    """What is there: concepts with an animation, how many of them are unseen, and rows by data set."""

    out: Path
    concepts: int
    unseen: int
    rows: dict[str, int]

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {count}" for name, count in self.rows.items())
        return f"{self.out}: {self.concepts} animations ({self.unseen} of unseen concepts); {sizes}"


def add_animated(sample: Path, *, packages: Sequence[Package], cache: Path | None = None) -> AnimatedSummary:
    """Add ``animated/`` to a sample; one that is there from the same packages is kept, another is replaced.

    Args:
        sample: a folder that :func:`build_sample` made; the rest of it is left alone.
        packages: some of :data:`llave.sample.packages.ANIMATED_EMOJI`.
        cache: directory for the downloaded packages.

    Raises:
        UserError: no sample here, ``animated/`` holds something else, or the packages cannot be fetched.
    """
    about = _manifest(sample)
    out = sample / FOLDER
    settings = {**about["settings"], "packages": [package.tarball for package in packages]}
    if out.exists():
        known = _manifest(out)
        if known["settings"] == settings:
            return AnimatedSummary(out=out, **known["summary"])
    tarballs = fetch_packages(cache, packages)
    concepts, _ = load_emoji(fetch_packages(cache, EMOJI.packages))
    drawn = {path.stem for artist in EMOJI.artists for path in (sample / "images" / artist.key).glob("*.png")}
    return write_animated(
        out,
        {package: tarballs[package.name] for package in packages},
        [concept for concept in concepts if concept.key in drawn],
        unseen=set(about["unseen"]),
        settings=settings,
    )


def write_animated(
    out: Path,
    packages: Mapping[Package, Path],
    concepts: Sequence[Concept],
    *,
    unseen: set[str],
    settings: dict[str, Any],
) -> AnimatedSummary:
    """Make the folder, replacing one that is there. The animations keep their bytes.

    Args:
        out: the folder.
        packages: and their tarballs, with ``package/assets/HEXCODE.webp`` in them.
        concepts: of the sample.
        unseen: hexcodes of those that training does not see.
        settings: ``seed`` and ``max_queries`` among them; kept in the manifest.
    """
    with whole_folder(out, replace=True) as partial:
        (partial / "eval").mkdir(parents=True)
        (partial / "videos" / "fluent").mkdir(parents=True)
        chosen = _choose(concepts, _animations(packages.values(), concepts))
        for concept, animation in chosen.items():
            (partial / "videos" / _path(concept)).write_bytes(animation)
        rng = random.Random(settings["seed"])
        rows: dict[str, int] = {}
        tasks: dict[str, dict[str, str]] = {}
        for end, split in (("", "ind"), ("_ood", "ood")):
            pool = [concept for concept in chosen if (concept.key in unseen) == (split == "ood")]
            size = len(pool) if split == "ood" else CANDIDATES
            for name, table in _tasks(pool, size, settings["max_queries"], rng).items():
                pq.write_table(pa.Table.from_pylist(table, schema=SCHEMA), partial / "eval" / f"{name}{end}.parquet")
                rows[name + end] = len(table)
                tasks[name + end] = {"meta": "retrieval", "split": split, "modality": "video"}
        about = {"name": "sample-animated", "seed": settings["seed"], "tasks": tasks}
        write_json(partial / "benchmark.json", about, indent=1)
        lines = ["# Licences of the animations", "", "| source | package | version | licence |", "|---|---|---|---|"]
        lines += [f"| {p.source} | {p.name} | {p.version} | {p.licence} |" for p in packages]
        write_text(partial / "LICENSES.md", "\n".join([*lines, "", "Files are as published.", ""]))
        summary = AnimatedSummary(
            out=out, concepts=len(chosen), unseen=len({c.key for c in chosen} & unseen), rows=rows
        )
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        hashes = {str(path.relative_to(partial)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        content = {key: value for key, value in asdict(summary).items() if key != "out"}
        write_json(partial / MANIFEST, {"settings": settings, "summary": content, "sha256": hashes}, indent=1)
    return summary


def _animations(tarballs: Iterable[Path], concepts: Sequence[Concept]) -> dict[str, bytes]:
    """Those of the packages' pictures that move, by canonical hexcode."""
    wanted = {code for concept in concepts for code in concept.members}
    found: dict[str, bytes] = {}
    for tarball in tarballs:
        for code, data in read_drawings(tarball, "package/assets", canonical, wanted).items():
            with Image.open(io.BytesIO(data)) as image:
                if getattr(image, "n_frames", 1) > 1:
                    found.setdefault(code, data)
    return found


def _choose(concepts: Sequence[Concept], animations: Mapping[str, bytes]) -> dict[Concept, bytes]:
    """Each concept's animation, its own emoji's before a variant's; a file that two concepts share serves neither."""
    chosen = {}
    for concept in concepts:
        codes = [code for code in (concept.key, *concept.members) if code in animations]
        if codes:
            chosen[concept] = animations[codes[0]]
    uses: dict[bytes, int] = {}
    for data in chosen.values():
        uses[data] = uses.get(data, 0) + 1
    return {concept: data for concept, data in chosen.items() if uses[data] == 1}


def _tasks(concepts: Sequence[Concept], size: int, limit: int, rng: random.Random) -> dict[str, list[Row]]:
    def row(query: RowItem, positive: RowItem, others: Sequence[RowItem]) -> Row:
        made = eval_row(query, positive, others)
        videos = [item.video for item in dict.fromkeys([positive, *others])]
        return {**made, "qry_video_path": query.video, "tgt_video_path": videos}

    def others() -> list[Concept]:
        return pick(concepts, size, rng)

    return {
        "t2v": [
            row(RowItem(f"Find the video: {c.caption}"), _video(c), [_video(o) for o in others()])
            for c in pick(concepts, limit, rng)
        ],
        "v2t": [
            row(RowItem("What is it?", video=_path(c)), RowItem(c.caption), [RowItem(o.caption) for o in others()])
            for c in pick(concepts, limit, rng)
        ],
    }


def _video(concept: Concept) -> RowItem:
    return RowItem(video=_path(concept))


def _path(concept: Concept) -> str:
    return f"fluent/{concept.key}.webp"


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{folder}: not made by `llave data sample`; choose another folder") from None
    return content
