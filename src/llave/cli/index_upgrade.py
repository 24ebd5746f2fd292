"""``llave index upgrade``: another model for an index."""

import dataclasses
import json
import sys
from dataclasses import dataclass, field
from typing import Literal

from llave.cli.defaults import find_index
from llave.cli.leftovers import cut_lines, cut_sound_lines, error_lines, left_out_lines
from llave.cli.parsing import parse
from llave.storage.location import Location

__all__ = ["UpgradeConfig", "upgrade"]


@dataclass(frozen=True, kw_only=True)
class UpgradeConfig:
    """Another model.

    Args:
        model: a model directory, a hub id, or "nano".
        index: folder of the index; null is "index" here, else the quickstart's.
        item_prompt: before every item; null is the new model's own for documents.
        query_prompt: before every query; null is the new model's own for queries.
        allow_sources: folders that may be read, beside those that you indexed on this machine.
        max_pixels: of a picture; one with more is left out.
        batch_size: items per forward pass at most.
        tokens_per_batch: tokens per forward pass at most, padding included; null fits the device.
        exact_below: with fewer items, a search compares all of them.
        map: compute the two-dimensional map.
        strict: end with 1 for known errors, too.
        seed: of the map and of the queries that measure recall.
        device: e.g. cpu or cuda; null is the best there is.
        dtype: of the weights, e.g. bfloat16; null is bfloat16 where the device multiplies in it and as stored
            elsewhere.
        quantize: int8 puts linear layers into int8, on a processor; none does not. null is as the index is.
        json: print what was done as JSON.
    """

    model: str
    index: Location | None = None
    item_prompt: str | None = None
    query_prompt: str | None = None
    allow_sources: list[str] = field(default_factory=list)
    max_pixels: int = 400_000_000
    batch_size: int = 64
    tokens_per_batch: int | None = None
    exact_below: int = 20_000
    map: bool = True
    strict: bool = False
    seed: int = 0
    device: str | None = None
    dtype: str | None = None
    quantize: Literal["none", "int8"] | None = None
    json: bool = False


def upgrade(argv: list[str]) -> int:
    """Embed everything anew; 1 if an item could not be embedded, unless that was known."""
    config = parse(
        UpgradeConfig,
        argv,
        command="index upgrade",
        description="Embed the items of all sources with another model, beside the vectors that there are, and switch "
        "in the end: search goes on meanwhile. Example: llave index upgrade photos.index --model runs/better/model. "
        "Killed, the same command goes on, and until it has switched the index is the old model's.",
        positional=("index",),
    )
    from llave.models.open import load_model
    from llave.models.precision import eval_dtype
    from llave.search.index import Index
    from llave.search.options import BuildOptions
    from llave.search.upgrade import upgrade_index
    from llave.terminal import quiet_libraries

    quiet_libraries()
    index = Index.open(find_index(config.index))
    quantize = config.quantize or index.info.quantize
    device = config.device or ("cpu" if quantize == "int8" and config.quantize is None else None)
    dtype = eval_dtype(config.dtype, device, quantize)
    model = load_model(config.model, device=device, dtype=dtype, quantize=quantize)
    options = BuildOptions(
        item_prompt=config.item_prompt,
        query_prompt=config.query_prompt,
        max_pixels=config.max_pixels,
        batch_size=config.batch_size,
        tokens_per_batch=config.tokens_per_batch,
        exact_below=config.exact_below,
        make_map=config.map,
        seed=config.seed,
    )
    index, report = upgrade_index(index, model, options, allow_sources=config.allow_sources)
    if config.json:
        sys.stdout.write(json.dumps(dataclasses.asdict(report)) + "\n")
    else:
        embedded = f"{report.embedded:,} embedded" if report.embedded else "nothing to embed"
        sys.stdout.write(f"{index.path}: {report.items:,} items of {index.info.model}; {embedded}\n")
    gone = [f"{path}: {count:,} items are gone, and left the index" for path, count in report.gone.items()]
    for line in (
        *error_lines(report.errors, report.known, index.path / "errors.jsonl"),
        *gone,
        *report.notes,
        *left_out_lines(report.left_out),
        *cut_lines(report.cut, model.max_seq_length),
        *cut_sound_lines(report.cut_sounds, model),
    ):
        sys.stderr.write(f"llave: {line}\n")
    return int(len(report.errors) > (0 if config.strict else len(report.known)))
