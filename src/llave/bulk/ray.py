"""A bulk run on a Ray cluster: the same manifest and the same shards, written by actors that each have the model.

The parts are handed out one by one: to an actor that is there, as soon as it is. An actor that dies, alone or with its
node, is replaced where the cluster has room for another one, and its part goes to whoever is free; since a shard
appears whole or not at all, nothing is lost or doubled. (Ray Data's pool gives a part back to the actor that had it: on
a cluster that has lost a node, that one never comes.)
"""

import logging
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

from llave.bulk.manifest import Manifest, load_manifest
from llave.bulk.shard import Batches, Counts, ShardWriter
from llave.data.door import reason_of
from llave.errors import UserError
from llave.storage.location import location

__all__ = ["Hands", "run_on_ray"]

DEATHS = 3
"""So many actors a part may take with it, before it is its fault and not theirs."""
PATIENCE = 60
"""Seconds without any actor before a word about it."""
log = logging.getLogger("llave.bulk")


def run_on_ray(
    manifest: Manifest,
    todo: Sequence[int],
    batches: Batches,
    *,
    workers: int,
    device: str | None,
    dtype: str | None,
    address: str | None = None,
    gpus: float | None = None,
) -> Iterator[Counts]:
    """Write the shards of the parts in ``todo``.

    Args:
        manifest: every node can open its model, and its input and output are on shared storage or in a bucket.
        workers: actors at most, each with its own model; work begins with the first that the cluster has room for.
        device: of every actor; None is a GPU where the cluster has one.
        address: of a cluster; None starts one on this machine, without a dashboard.
        gpus: of each actor, also a fraction; a cluster that grows adds nodes with GPUs for it. None is one, where the
            cluster has one for each actor by now, else none.

    Raises:
        UserError: Ray is not installed, there is no cluster at the address, an actor refused the model, or a part that
            actors do not live through.
    """
    try:
        import ray
    except ImportError:
        raise UserError("--engine ray needs the package ray: pip install 'llave[ray]'") from None
    started = not ray.is_initialized()
    if started:
        options: dict[str, Any] = {"include_dashboard": False, "num_cpus": max(workers, os.cpu_count() or 1)}
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **({} if address else options))
        except Exception as error:
            raise UserError(f"{address}: no Ray cluster there ({reason_of(error)})") from None
    cluster: Any = ray  # whose annotations are incomplete
    if gpus is None:
        enough = cluster.cluster_resources().get("GPU", 0) >= workers
        gpus = 1 if enough and (device is None or device.startswith("cuda")) else 0
    actor = cluster.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Actor)
    try:
        yield from Hands(
            lambda: actor.remote(str(manifest.out.resolve()), device, dtype, batches), min(workers, len(todo))
        ).write(todo)
    finally:
        if started:
            ray.shutdown()


class Hands:
    """Actors, and the parts that they have in hand.

    Args:
        make: another actor. It waits for room in the cluster by itself.
        most: actors.
    """

    def __init__(self, make: Any, most: int) -> None:
        self._make = make
        self._deaths: Counter[int] = Counter()
        self._busy: dict[Any, tuple[Any, int | None]] = {}  # by what it will have done; None is opening the model
        for _ in range(most):
            self._begin()

    def _begin(self) -> None:
        actor = self._make()
        self._busy[actor.ready.remote()] = (actor, None)

    def write(self, todo: Sequence[int]) -> Iterator[Counts]:
        """What every part came to, in the order of their ends."""
        import ray

        waiting, left = deque(todo), len(todo)
        idle: list[Any] = []
        began = False
        while left:
            done, _ = ray.wait(list(self._busy), num_returns=1, timeout=None if began else PATIENCE)
            if not done:
                log.warning("no actor is ready yet: a model that opens slowly, or no room (see `ray status`); waiting")
                began = True
                continue
            began = True
            actor, number = self._busy.pop(done[0])
            try:
                counts = ray.get(done[0])
            except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
                if number is None and "creation task" in str(error):
                    raise UserError(f"a Ray actor cannot open the model: {_last_line(error)}") from None
                if number is not None:
                    self._deaths[number] += 1
                    if self._deaths[number] == DEATHS:
                        raise UserError(
                            f"part {number}: {DEATHS} Ray actors died of it, of memory perhaps ({_last_line(error)}); "
                            "finished shards are kept, the same command goes on"
                        ) from None
                    waiting.appendleft(number)
                ray.kill(actor)  # if it was only out of reach
                self._begin()
            except ray.exceptions.RayError as error:
                raise UserError(
                    f"a Ray actor failed: {_last_line(error)}; finished shards are kept, the same command goes on"
                ) from None
            else:
                idle.append(actor)
                if number is not None:
                    left -= 1
                    yield Counts(*counts)
            while idle and waiting:
                actor, number = idle.pop(), waiting.popleft()
                self._busy[actor.write.remote(number)] = (actor, number)


def _last_line(error: Exception) -> str:
    return str(error).strip().split("\n")[-1]


class _Actor:
    """Opens the model once and writes one shard a call."""

    def __init__(self, out: str, device: str | None, dtype: str | None, batches: Batches) -> None:
        from llave.models.open import load_model
        from llave.terminal import quiet_libraries

        quiet_libraries()
        manifest = load_manifest(location(out))
        settings = manifest.settings
        model = load_model(settings.model, device=device, dtype=dtype, quantize=settings.quantize)
        self._writer = ShardWriter(manifest, model, batches)

    def ready(self) -> None:
        """The model is open."""

    def write(self, number: int) -> tuple[int, ...]:
        """A part's shard."""
        return tuple(self._writer(number))
