"""What a writer of its own process needs, and no more: tests start it, and kill it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from llave.search.store import Row, VectorStore, row_id

__all__ = ["AT_ONCE", "D", "opener", "rows"]

D = 8
AT_ONCE = 20


def rows(start: int, end: int) -> list[Row]:
    """Of numbers from ``start`` to ``end``, the same in every process."""
    own = dict.fromkeys(("path", "file", "stamp", "digest"), "")
    made = []
    for n in range(start, end):
        vector_D = np.random.default_rng(n).normal(size=D).astype(np.float32)
        made.append(
            Row(
                id=row_id("s", str(n)),
                source="s",
                key=str(n),
                kind="text",
                text=f"number {n}",
                content=str(n),
                words=f"number {n} {'odd' if n % 2 else 'even'}",
                fields={"n": n, "odd": bool(n % 2), f"of {n % 3}": n / 2},
                vector_D=vector_D / np.linalg.norm(vector_D),
                **own,
            )
        )
    return made


def opener(kind: str, where: str) -> Callable[[], VectorStore]:
    """How a process opens a store, which another one may have open."""
    if kind == "postgres":
        from llave.search.postgres import PostgresStore

        return lambda: PostgresStore(where, "items", D)
    if kind == "qdrant server":
        from llave.search.qdrant import QdrantStore

        address, _, folder = where.partition(" ")
        return lambda: QdrantStore(address, "items", D, Path(folder) / "fields.json")
    if kind == "qdrant":
        from llave.search.qdrant import QdrantStore

        return lambda: QdrantStore(Path(where) / "qdrant", "items", D, Path(where) / "fields.json")
    from llave.search.lance import LanceStore

    return lambda: LanceStore(Path(where) / "db", D)
