"""What a bulk run does, written down before it begins: every part of the input, and how its vectors are made.

The parts depend on the input alone, so that any number of processes, on any machines, before and after any kill, write
the same shards. A shard is done when its file is there under its own name.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

from llave.bulk.part_lines import Lines, PartLines
from llave.bulk.precision import Precision
from llave.collection.collection import Columns, Part
from llave.collection.open import open_collection
from llave.data.images import MAX_PIXELS
from llave.errors import UserError
from llave.files import holds_nothing, whole_file, write_json
from llave.storage.location import Location, ObjectPath

__all__ = ["Format", "Manifest", "Settings", "load_manifest", "open_manifest"]

Format = Literal["parquet", "lance"]
SETTINGS, PARTS = "manifest.json", "parts.jsonl"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that decides the vectors, and their form.

    Args:
        input: path of the collection.
        columns: of a table.
        model: path or hub id.
        quantize: "int8" where its linear layers are that, else "none".
        fingerprint: of its weights and settings.
        prompt: before every item.
        num_frames: of a video.
        shard_size: items of a shard.
        dimensions: that are kept.
        precision: type of the numbers.
        format: of what is left in the end.
        keep: also the text, path and fields of each item.
        chunk_tokens: of a text at most; longer ones are several items.
        max_pixels: of a picture at most.
        sounds: whether the model takes them; else they are left out.
    """

    input: str
    columns: Columns
    model: str
    quantize: Literal["none", "int8"] = "none"
    fingerprint: str
    prompt: str
    num_frames: int
    shard_size: int
    dimensions: int
    precision: Precision
    format: Format
    keep: bool
    chunk_tokens: int | None = None
    max_pixels: int = MAX_PIXELS
    sounds: bool = False


@dataclass(frozen=True)
class Manifest:
    """The parts of a run, each of which becomes one shard; and what of the input is in none of them."""

    out: Location
    settings: Settings
    parts: Sequence[Part]
    left_out: Mapping[str, int] = field(default_factory=dict, compare=False)
    notes: Sequence[str] = field(default=(), compare=False)

    def shard(self, number: int) -> Location:
        """The file of a part's vectors."""
        return self.out / "shards" / f"{number:06d}.parquet"

    def errors(self, number: int) -> Location:
        """The file of a part's errors, written before its vectors."""
        return self.out / "shards" / f"{number:06d}.errors.jsonl"

    def written(self) -> set[str]:
        """Names of the shards and files of errors that are there."""
        shards = self.out / "shards"
        if isinstance(shards, ObjectPath):
            return {found.key for found in shards.files()}
        return {path.name for path in shards.iterdir()} if shards.is_dir() else set()

    def todo(self) -> list[int]:
        """Parts whose shards are not there."""
        there = self.written()
        return [number for number in range(len(self.parts)) if self.shard(number).name not in there]


def open_manifest(out: Location, settings: Settings) -> Manifest:
    """The manifest in ``out``, written there if the run is new.

    Raises:
        UserError: another run's files, or an input that is not what it was.
    """
    collection = open_collection(settings.input, settings.columns, sounds=settings.sounds)
    parts = collection.parts(settings.shard_size)
    first = next(parts, None)
    if first is None:
        other = ", ".join(f"{number:,} {what}" for what, number in collection.left_out.most_common())
        raise UserError(f"{settings.input}: nothing to embed" + (f" (left out: {other})" if other else ""))
    lines = Lines(chain([first], parts))
    file = out / SETTINGS
    begun = file.is_file()
    if begun:
        for _ in lines:
            pass
    elif out.exists() and not _is_ours(out):
        raise UserError(f"{out}: holds something else; choose another --out")
    else:
        (out / "shards").mkdir(parents=True, exist_ok=True)
        with whole_file(out / PARTS) as partial, partial.open("wb") as opened:
            opened.writelines(lines)
    header = {**dataclasses.asdict(settings), **lines.summary(), "state": collection.state()}
    if not begun:
        write_json(file, header)
    else:
        kept = _read(file)
        differing = [name for name in header if kept.get(name) != header[name]]
        if {"parts", "parts_sha256", "state"} & set(differing):
            raise UserError(
                f"{settings.input}: not what it was when {out} was begun (files or rows were changed, added or "
                "removed); choose another --out"
            )
        if differing:
            name = differing[0]
            raise UserError(
                f"{out}: was begun with {name} {kept.get(name)!r}, not {header[name]!r}; choose another --out, or "
                f"the same {name}"
            )
    return Manifest(out, settings, PartLines(out / PARTS), collection.left_out, collection.notes)


def load_manifest(out: Location) -> Manifest:
    """The manifest of a run that was begun, without a look at its input."""
    kept = _read(out / SETTINGS)
    values = {each.name: kept[each.name] for each in dataclasses.fields(Settings)}
    settings = Settings(**{**values, "columns": Columns(**values["columns"])})
    return Manifest(out, settings, PartLines(out / PARTS))


def _read(file: Location) -> dict[str, Any]:
    try:
        kept = dict(json.loads(file.read_text("utf-8")))
    except ValueError as error:
        raise UserError(f"{file}: damaged ({error}); choose another --out") from None
    kept["columns"] = {"audio": None, **kept.get("columns", {})}
    return {"sounds": False, "quantize": "none", **kept}  # of a run that was begun before there were any


def _is_ours(out: Location) -> bool:
    """Empty, or left by a run that was killed before it had written its manifest."""
    if isinstance(out, ObjectPath):
        return {found.key for found in out.files()} <= {PARTS}
    if not out.is_dir():
        return False
    shards = out / "shards"
    others = [path for path in out.iterdir() if path not in (shards, out / PARTS) and path.suffix != ".partial"]
    return not others and holds_nothing(shards)
