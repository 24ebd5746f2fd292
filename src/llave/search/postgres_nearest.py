"""Search by vector in a PostgreSQL table: through pgvector's index (HNSW), or over all rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Cursor, sql

from llave.search.postgres_rows import SHOWN
from llave.search.postgres_table import Table
from llave.search.store import Settings

__all__ = ["approximate", "exact"]

Floats = NDArray[np.float32]
Condition = tuple[sql.Composable, list[Any]]
EF_PER_PROBE = 4
"""The index is a graph: its measure of effort, ``hnsw.ef_search``, is taken to be so many times our probes."""
MOST_EF = 1000


def approximate(
    cursor: Cursor[Any],
    table: Table,
    query_D: NDArray[np.float32],
    limit: int,
    condition: Condition,
    settings: Settings,
) -> list[Any]:
    """The best candidates of the index, which has 16 bits a dimension, by their whole vectors: the columns
    :data:`~llave.search.postgres_rows.SHOWN` and the distance. Fewer than ``limit`` where the index gave up: few rows
    pass, and they lie far from the query."""
    effort = min(MOST_EF, max(limit, EF_PER_PROBE * settings.probes))
    candidates = max(limit, min(effort, limit * settings.refine))
    cursor.execute(
        "SELECT set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true)",
        [str(effort)],
    )
    clause, values = condition
    statement = table.sql(
        "SELECT * FROM (SELECT {shown}, vector {cosine} %s::real[]::{vector} AS distance FROM {items} WHERE {clause}"
        " ORDER BY vector::{halfvec} {cosine} %s::real[]::{halfvec} LIMIT %s) AS near ORDER BY distance, key LIMIT %s",
        shown=SHOWN,
        clause=clause,
    )
    return cursor.execute(statement, [query_D, *values, query_D, candidates, limit]).fetchall()


def exact(
    cursor: Cursor[Any], table: Table, query_D: NDArray[np.float32], limit: int, condition: Condition
) -> list[Any]:
    """As :func:`approximate`, of all rows that pass: no index has the order by a sum."""
    cursor.execute("SELECT set_config('jit', 'off', true)")  # to compile it takes longer than the query
    clause, values = condition
    statement = table.sql(
        "SELECT {shown}, vector {cosine} %s::real[]::{vector} AS distance FROM {items} WHERE {clause}"
        " ORDER BY (vector {cosine} %s::real[]::{vector}) + 0 LIMIT %s",
        shown=SHOWN,
        clause=clause,
    )
    return cursor.execute(statement, [query_D, *values, query_D, limit]).fetchall()
