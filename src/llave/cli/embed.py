"""``llave embed MODEL INPUT --out DIR``."""

import dataclasses
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llave.cli.leftovers import CHUNKS, cut_lines, cut_sound_lines, left_out_lines
from llave.cli.parsing import parse
from llave.cli.quantize import of_collection, open_quantized
from llave.collection.collection import Columns
from llave.errors import UserError
from llave.storage.location import Location

if TYPE_CHECKING:
    from llave.models.model import EmbeddingModel

__all__ = ["EmbedConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """A bulk run.

    Args:
        model: a model directory, a hub id, or "nano".
        input: a folder (pictures, videos, sounds, .txt and .md texts, PDF documents), a table (.parquet, .jsonl, .json,
            .csv, .tsv) or .tar archives (a file or a quoted glob; WebDataset); also at s3://bucket/folder, whose files
            are fetched as they are read.
        out: folder of the shards, or s3://bucket/folder; killed, the same command goes on there.
        columns: which column of a table holds what.
        prompt: before every item; null is the model's own for documents.
        frames: frames of a video.
        chunk_tokens: a text of more tokens becomes several items; null leaves texts whole, of which the model may not
            read the end.
        max_pixels: of a picture; one with more is left out.
        shard_size: items of a shard; of tar archives, each is a shard.
        dimensions: keep so many of each vector, at unit length again (Matryoshka); null is all.
        precision: float32, float16, int8 (with a scale per vector) or binary (a bit per dimension).
        format: parquet shards, or one Lance dataset made of them in the end.
        keep: also write kind, text, path and fields of each item.
        engine: this machine, or a Ray cluster.
        workers: processes, or actors at most, which begin as the cluster has room; with GPUs, each has one.
        gpus_per_worker: with engine ray, of each actor, e.g. 0.5 for two on a GPU; also what a cluster that grows is
            asked for. Null is one where the cluster has one for each by now.
        ray_address: of a cluster, e.g. ray://head:10001 or auto; null starts one on this machine.
        batch_size: items per forward pass at most.
        tokens_per_batch: tokens per forward pass at most, padding included; null fits the device.
        device: e.g. cpu or cuda; null is the best there is.
        dtype: of the weights, e.g. bfloat16; null is bfloat16 where the device multiplies in it and as stored
            elsewhere.
        quantize: int8 puts linear layers into int8, on a processor.
        strict: end with 1 for errors that an earlier run has named, too.
        json: print what was done as JSON.
    """

    model: str
    input: Location
    out: Location
    columns: Columns = field(default_factory=Columns)
    prompt: str | None = None
    frames: int = 8
    chunk_tokens: int | None = None
    max_pixels: int = 400_000_000
    shard_size: int = 4096
    dimensions: int | None = None
    precision: Literal["float32", "float16", "int8", "binary"] = "float32"
    format: Literal["parquet", "lance"] = "parquet"
    keep: bool = False
    engine: Literal["local", "ray"] = "local"
    workers: int = 1
    gpus_per_worker: float | None = None
    ray_address: str | None = None
    batch_size: int = 64
    tokens_per_batch: int | None = None
    device: str | None = None
    dtype: str | None = None
    quantize: Literal["none", "int8"] = "none"
    strict: bool = False
    json: bool = False


def run(argv: list[str]) -> int:
    """Embed what is not embedded yet; 1 if an item could not be, unless an earlier run has said so."""
    config = parse(
        EmbedConfig,
        argv,
        command="embed",
        description="Vectors of millions of items, in shards. Example: llave embed runs/quickstart/models/hardness "
        "photos --out vectors --precision float16. Items that cannot be embedded are rows of errors.jsonl. Killed at "
        "any moment, the same command goes on and writes the same shards.",
        positional=("model", "input"),
        existing={"input": ""},
    )
    for name in ("shard_size", "workers", "frames"):
        if getattr(config, name) < 1:
            raise UserError(f"{name} {getattr(config, name)}: at least 1")
    if config.gpus_per_worker is not None and config.gpus_per_worker < 0:
        raise UserError(f"gpus_per_worker {config.gpus_per_worker}: at least 0")
    if config.engine != "ray" and config.gpus_per_worker is not None:
        raise UserError("gpus_per_worker is for --engine ray")
    from llave.bulk.manifest import Settings, open_manifest
    from llave.bulk.precision import check_dimensions
    from llave.bulk.run import embed_collection
    from llave.encode.cache import model_fingerprint
    from llave.models.precision import eval_dtype
    from llave.terminal import quiet_libraries

    quiet_libraries()
    dtype = eval_dtype(config.dtype, config.device, config.quantize)
    model = _opened(config, dtype)
    path = Path(config.model)
    prompt = model.prompts.get("document", "") if config.prompt is None else config.prompt
    settings = Settings(
        input=str(config.input.resolve()),  # the same from any folder, and on every node of a cluster
        columns=config.columns,
        model=str(path.resolve()) if path.exists() else config.model,
        quantize=config.quantize,
        fingerprint=model_fingerprint(model),
        prompt=prompt or "",
        num_frames=config.frames,
        shard_size=config.shard_size,
        dimensions=check_dimensions(config.dimensions, model.get_embedding_dimension() or 0, config.precision),
        precision=config.precision,
        format=config.format,
        keep=config.keep,
        chunk_tokens=config.chunk_tokens,
        max_pixels=config.max_pixels,
        sounds=model.supports("audio"),
    )
    manifest = open_manifest(config.out, settings)
    report = embed_collection(
        manifest,
        model,
        engine=config.engine,
        workers=config.workers,
        gpus_per_worker=config.gpus_per_worker,
        batch_size=config.batch_size,
        tokens_per_batch=config.tokens_per_batch,
        ray_address=config.ray_address,
        device="cpu" if config.quantize == "int8" else config.device,
        dtype=dtype,
    )
    if config.json:
        sys.stdout.write(json.dumps(dataclasses.asdict(report)) + "\n")
    else:
        before = report.vectors - report.embedded
        sys.stdout.write(
            f"{config.out}: {report.vectors:,} vectors of {settings.dimensions} dimensions ({config.precision}); "
            f"{report.embedded:,} embedded now, {before:,} before\n"
        )
    for line in (
        *manifest.notes,
        *left_out_lines(manifest.left_out),
        *cut_lines(report.cut, model.max_seq_length, way_out=CHUNKS),
        *cut_sound_lines(report.cut_sounds, model),
    ):
        sys.stderr.write(f"llave: {line}\n")
    if report.errors:
        known = "" if report.new_errors else ", as was said before"
        sys.stderr.write(
            f"llave: {report.errors:,} items could not be embedded{known}: {config.out / 'errors.jsonl'}\n"
        )
    return int(report.new_errors > 0 or (config.strict and report.errors > 0))


def _opened(config: EmbedConfig, dtype: str | None) -> "EmbeddingModel":
    from llave.models.open import load_model

    if config.out.exists():  # what int8 costs was said when it was begun
        return load_model(config.model, device=config.device, dtype=dtype, quantize=config.quantize)
    return open_quantized(
        config.model,
        device=config.device,
        dtype=dtype,
        quantize=config.quantize,
        sample=of_collection(config.input, config.columns),
        prompt=config.prompt,
    )
