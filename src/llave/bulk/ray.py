"""A bulk run on a Ray cluster: the same manifest and the same shards, written by a pool of Ray Data actors.

Ray's own checkpoints are not used: a shard that is there is done, whoever wrote it. An actor that dies is replaced, and
its part is done again; since a shard appears whole or not at all, nothing is lost or doubled.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llave.bulk.manifest import Manifest, load_manifest
from llave.bulk.shard import Batches, Counts, ShardWriter
from llave.data.door import reason_of
from llave.errors import UserError

__all__ = ["run_on_ray"]

LOCAL_CPUS = 4
"""Ray's count, not cores: with 2, its readers and the actors wait for one another for minutes."""


def run_on_ray(
    manifest: Manifest,
    todo: Sequence[int],
    batches: Batches,
    *,
    workers: int,
    device: str | None,
    dtype: str | None,
    address: str | None = None,
) -> Iterator[Counts]:
    """Write the shards of the parts in ``todo``.

    Args:
        manifest: every node can open its model, and its input and output are on shared storage.
        workers: actors, each with its own model; on GPUs, each has one.
        device: of every actor; None is a GPU where the cluster has one.
        address: of a cluster; None starts one on this machine, without a dashboard.

    Raises:
        UserError: Ray is not installed, there is no cluster at the address, or an actor refused the model.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise UserError("--engine ray needs the package ray: pip install 'llave[ray]'") from None
    started = not ray.is_initialized()
    if started:
        options: dict[str, Any] = {"include_dashboard": False, "num_cpus": max(LOCAL_CPUS, os.cpu_count() or 1)}
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **({} if address else options))
        except Exception as error:
            raise UserError(f"{address}: no Ray cluster there ({reason_of(error)})") from None
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    cluster: Any = ray  # whose annotations are incomplete
    gpus = cluster.cluster_resources().get("GPU", 0) >= workers and (device is None or device.startswith("cuda"))
    try:
        parts = ray.data.from_items([{"part": number} for number in todo], override_num_blocks=len(todo))
        steps = parts.map_batches(
            _Actor,
            fn_constructor_args=(str(manifest.out.resolve()), device, dtype, batches),  # small, for actors that restart
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
            num_gpus=1 if gpus else 0,
        )
        for row in steps.iter_rows():
            yield Counts(*(int(row[name]) for name in Counts._fields))
    except ray.exceptions.RayError as error:
        reason = str(error).strip().split("\n")[-1]
        raise UserError(f"a Ray actor failed: {reason}; finished shards are kept, the same command goes on") from None
    finally:
        if started:
            ray.shutdown()


class _Actor:
    """Opens the model once and writes one shard a call."""

    def __init__(self, out: str, device: str | None, dtype: str | None, batches: Batches) -> None:
        from llave.models.open import load_model
        from llave.terminal import quiet_libraries

        quiet_libraries()
        manifest = load_manifest(Path(out))
        settings = manifest.settings
        model = load_model(settings.model, device=device, dtype=dtype, quantize=settings.quantize)
        self._writer = ShardWriter(manifest, model, batches)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        counts = [self._writer(int(number)) for number in batch["part"]]
        return {name: np.asarray([getattr(each, name) for each in counts]) for name in Counts._fields}
