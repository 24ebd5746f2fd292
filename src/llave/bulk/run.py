"""A whole bulk run: what is not done yet, by the engine that was asked for, and what is left in the end."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from llave.bulk.local import run_here, run_in_processes
from llave.bulk.manifest import Manifest
from llave.bulk.shard import Batches, Counts
from llave.errors import UserError
from llave.files import remove_leftovers, whole_folder, write_bytes
from llave.progress import show_progress
from llave.storage.location import Found, Location, ObjectPath
from llave.storage.locks import alone

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["BulkReport", "embed_collection"]

Engine = Literal["local", "ray"]
LANCE = "vectors.lance"
ERRORS = "errors.jsonl"
FOOTER = 64 << 10


@dataclass(frozen=True)
class BulkReport:
    """Items of the whole run, and of these those that this call embedded, and whose texts and sounds it cut.

    Args:
        new_errors: none if an earlier call had come to the end, and named them.
    """

    vectors: int
    errors: int
    new_errors: int
    embedded: int
    cut: int
    cut_sounds: int


def embed_collection(
    manifest: Manifest,
    model: "SentenceTransformer",
    *,
    engine: Engine = "local",
    workers: int = 1,
    gpus_per_worker: float | None = None,
    batch_size: int = 64,
    tokens_per_batch: int | None = None,
    ray_address: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    progress: bool = True,
) -> BulkReport:
    """Write the shards that are not there, then the table of errors and, if asked for, a Lance dataset.

    Args:
        model: of the manifest.
        engine: this machine, or a Ray cluster.
        workers: processes here, or actors there.
        gpus_per_worker: of Ray's actors; None is one where the cluster has one for each.
        ray_address: of a cluster; None starts one on this machine.
        device: of Ray's actors; None is a GPU where the cluster has one.
        dtype: of their weights.

    Raises:
        UserError: see the engines; another process that writes to the same folder.
    """
    batches = Batches(batch_size=batch_size, tokens_per_batch=tokens_per_batch)
    out = manifest.out
    if isinstance(out, ObjectPath) and manifest.settings.format == "lance":
        raise UserError(f"{out}: --format lance is for a folder of this machine; leave it out")
    with alone(out):
        if isinstance(out, Path) and (out / LANCE).is_dir():
            shutil.rmtree(out / "shards", ignore_errors=True)  # of a run that was killed just then
            return _report(manifest, Counts(0, 0, 0, 0), new=False)
        for folder in (out, out / "shards"):
            remove_leftovers(folder)
        todo = manifest.todo()
        ended = not todo and (out / ERRORS).is_file()
        if not todo:
            written: Iterator[Counts] = iter(())
        elif engine == "ray":
            from llave.bulk.ray import run_on_ray

            written = run_on_ray(
                manifest,
                todo,
                batches,
                workers=workers,
                device=device,
                dtype=dtype,
                address=ray_address,
                gpus=gpus_per_worker,
            )
        elif workers > 1 and len(todo) > 1:
            written = run_in_processes(model, todo, manifest, batches, min(workers, len(todo)))
        else:
            written = run_here(model, todo, manifest, batches)
        done = _follow(written, manifest, todo, progress)
        _finish(manifest)
        return _report(manifest, done, new=not ended)


def _follow(written: Iterator[Counts], manifest: Manifest, todo: Sequence[int], progress: bool) -> Counts:
    done = Counts(0, 0, 0, 0)
    with show_progress(progress) as work:
        work.stage("embed", len(manifest.parts), unit="shards")
        work.advance(len(manifest.parts) - len(todo), worked=0)
        for counts in written:
            done = Counts(*map(sum, zip(done, counts, strict=True)))
            work.advance(1, worked=counts.vectors)
    return done


def _finish(manifest: Manifest) -> None:
    missing = manifest.todo()
    if missing:
        raise UserError(f"{manifest.out}: {len(missing)} shards were not written; the same command goes on")
    there = manifest.written()
    named = [manifest.errors(number) for number in range(len(manifest.parts))]
    write_bytes(manifest.out / ERRORS, b"".join(file.read_bytes() for file in named if file.name in there))
    if manifest.settings.format == "lance":
        assert isinstance(manifest.out, Path)
        _write_lance(manifest, manifest.out)


def _write_lance(manifest: Manifest, out: Path) -> None:
    """All shards as one dataset; then they go."""
    try:
        import lance
    except ImportError:
        raise UserError("--format lance needs the package pylance: pip install 'llave[bulk]'") from None
    shards = [manifest.shard(number) for number in range(len(manifest.parts))]
    schema = pq.read_schema(shards[0])
    reader = pa.RecordBatchReader.from_batches(
        schema, (batch for shard in shards for batch in pq.read_table(shard).to_batches())
    )
    with whole_folder(out / LANCE) as partial:
        lance.write_dataset(reader, str(partial))
    shutil.rmtree(out / "shards")


def _report(manifest: Manifest, done: Counts, *, new: bool) -> BulkReport:
    errors = (manifest.out / ERRORS).read_bytes().count(b"\n")
    return BulkReport(
        _rows(manifest.out, manifest), errors, errors if new else 0, done.vectors, done.cut, done.cut_sounds
    )


def _rows(out: Location, manifest: Manifest) -> int:
    if isinstance(out, ObjectPath):
        shards = [found for found in (out / "shards").files() if found.key.endswith(".parquet")]
        return sum(_rows_of(out / "shards" / found.key, found) for found in shards)
    if (out / LANCE).is_dir():
        import lance

        return int(lance.dataset(str(out / LANCE)).count_rows())
    return sum(pq.read_metadata(manifest.shard(number)).num_rows for number in range(len(manifest.parts)))


def _rows_of(shard: ObjectPath, found: Found) -> int:
    """From the end of a shard, which is where parquet says it: nothing else of it is read."""
    tail = shard.read_range(max(found.size - FOOTER, 0), found.size, found.tag)
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if length > len(tail):
        tail = shard.read_range(found.size - length, found.size, found.tag)
    return int(pq.read_metadata(pa.BufferReader(tail)).num_rows)
