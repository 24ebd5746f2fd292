"""``llave index check``: is approximate search as good as exact search, and how few bytes does it get by with?"""

import dataclasses
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llave.cli.defaults import find_index
from llave.cli.parsing import parse
from llave.errors import UserError
from llave.storage.location import Location

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llave.search.index import Index
    from llave.search.small import Applied, SmallMeasurement
    from llave.search.store import Settings

__all__ = ["CheckConfig", "check"]


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """A measurement of an index.

    Args:
        index: its folder; null is "index" here, else the quickstart's.
        queries: how many searches.
        k: hits of each.
        seed: of the queries.
        small: instead, what a first stage of fewer dimensions and of 8 or 1 bits each would find, cost and take, and
            the cheapest that reaches the target.
        target: share of the k best that this first stage has to bring, before full vectors score again.
        refine: with --small, candidates per hit that full vectors score again.
        apply: with --small, build that first stage, and search with it from now on.
        exact_below: with --apply; with fewer items, a search compares all of them.
        json: print JSON instead of a table.
    """

    index: Location | None = None
    queries: int = 100
    k: int = 10
    seed: int = 0
    small: bool = False
    target: float = 0.98
    refine: int = 8
    apply: bool = False
    exact_below: int = 20_000
    json: bool = False


def check(argv: list[str]) -> int:
    """Measure; 1 if recall is lower than it should be."""
    config = parse(
        CheckConfig,
        argv,
        command="index check",
        description="Recall against exact search, and latency, without and with a filter. `llave index check "
        "photos.index --small` compares smaller vectors on the index's own items: quality, bytes and time by "
        "dimensions and precision; `--target 0.95 --apply` gives the index the cheapest that is good enough.",
        positional=("index",),
    )
    from llave.search.index import Index

    if config.queries < 1 or config.k < 1 or config.seed < 0:
        raise UserError(f"queries {config.queries}, k {config.k}, seed {config.seed}: at least 1, 1 and 0")
    if not 0 < config.target <= 1 or config.refine < 1:
        raise UserError(f"target {config.target:g}, refine {config.refine}: above 0 and at most 1, and at least 1")
    if config.apply and not config.small:
        raise UserError("--apply is of --small: llave index check DIR --small --apply")
    index = Index.open(find_index(config.index))
    if not index.count():
        raise UserError(f"{index.path}: has no items")
    return _small(index, config) if config.small else _recall(index, config)


def _recall(index: "Index", config: CheckConfig) -> int:
    from rich.console import Console
    from rich.table import Table

    from llave.search.check import check_index

    found = check_index(index, queries=config.queries, k=config.k, seed=config.seed)
    stats = index.store.stats()
    if config.json:
        sys.stdout.write(json.dumps([dataclasses.asdict(each) for each in found]) + "\n")
    else:
        how = f"approximate, {stats.unindexed:,} not indexed yet" if stats.approximate else "exact: all items compared"
        sys.stdout.write(f"{index.path}: {stats.rows:,} items, {how}; {config.queries} queries, seed {config.seed}\n")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in ("filter", "items", f"recall@{config.k}", "worst", "p50 ms", "p95 ms", "exact p50 ms"):
            table.add_column(name, justify="left" if name == "filter" else "right")
        for each in found:
            condition = "none" if each.filter is None else f"{each.filter.field} {each.filter.op} {each.filter.value}"
            numbers = [f"{each.p50_ms:.1f}", f"{each.p95_ms:.1f}", f"{each.exact_ms:.1f}"]
            table.add_row(condition, f"{each.share:.1%}", f"{each.recall:.4f}", f"{each.worst:.1f}", *numbers)
        Console().print(table)
    wanted = index.info.settings.target
    low = [each for each in found if each.recall < wanted]
    if low:
        sys.stderr.write(
            f"llave: recall below {wanted:g}; run llave index again, which finds better settings, or raise "
            "--exact_below\n"
        )
    return 1 if low else 0


def _small(index: "Index", config: CheckConfig) -> int:
    from llave.search.info import LANCE
    from llave.search.small import apply_small, cheapest, measure_small
    from llave.serving.engine import trained_dimensions

    if config.apply and index.info.store != LANCE:
        raise UserError(f"{index.path}: is not in LanceDB, whose alone smaller vectors are; leave out --apply")
    trained = [each for each in trained_dimensions(index.info.model) if 0 < each < index.info.dimension]
    found = measure_small(
        index, dimensions=trained, queries=config.queries, k=config.k, refine=config.refine, seed=config.seed
    )
    best = cheapest(found, config.target)
    if not config.json:
        _print(index, config, found, best, trained)
    applied = None
    if config.apply and best is not None:
        applied = apply_small(
            index,
            found,
            target=config.target,
            exact_below=config.exact_below,
            seed=config.seed,
            tell=_missed,
        )
    if config.json:
        answer = {
            "items": index.count(),
            "measured": [dataclasses.asdict(each) for each in found],
            "chosen": None if best is None else dataclasses.asdict(best),
            "applied": None if applied is None else dataclasses.asdict(applied),
        }
        sys.stdout.write(json.dumps(answer) + "\n")
    elif applied is not None:
        sys.stdout.write(f"{index.path}: {_applied(applied, index.info.dimension, config.exact_below)}\n")
    missed = applied is not None and applied.recall is not None and applied.recall < config.target
    return int(best is None or missed)


def _missed(line: str) -> None:
    sys.stderr.write(f"llave: {line}; that misses the target\n")


def _print(
    index: "Index",
    config: CheckConfig,
    found: "Sequence[SmallMeasurement]",
    best: "SmallMeasurement | None",
    trained: list[int],
) -> None:
    from rich.console import Console
    from rich.table import Table

    from llave.search.small import SAMPLE

    rows = index.count()
    sample = f"a sample of {SAMPLE:,}" if rows > SAMPLE else "all of them"
    sys.stdout.write(
        f"{index.path}: {rows:,} items, {sample} compared by numpy on this machine; {config.queries} queries, "
        f"seed {config.seed}\n"
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("dimensions", "precision", "bytes", f"recall@{config.k}", "alone", "ms", ""):
        table.add_column(name, justify="left" if name in ("precision", "") else "right")
    for each in found:
        shares = [f"{each.recall:.4f}", f"{each.alone:.4f}", f"{each.ms:.2f}"]
        marked = "fewest" if each == best else ""
        table.add_row(f"{each.dimensions:,}", each.precision, f"{each.bytes:,}", *shares, marked)
    Console().print(table)
    sys.stdout.write(
        f"bytes: of an item in the first stage. recall@{config.k}: of its best {config.k * config.refine}, scored anew "
        "by full vectors; alone: without that.\nms: of its scan of these items for a query, by numpy, not LanceDB's. "
        f"fewest: bytes with a recall of {config.target:g}, of int8 and binary, which an index can have.\n"
    )
    if trained:
        sys.stdout.write(f"The model was trained for its first {', '.join(map(str, trained))} dimensions, too.\n")
    if best is None:
        sys.stderr.write(
            f"llave: none of int8 and binary reaches {config.target:g}; raise --refine or lower --target\n"
        )
    elif not config.apply:
        sys.stdout.write("--apply gives it to the index.\n")


def _applied(applied: "Applied", whole: int, exact_below: int) -> str:
    settings: Settings = applied.settings
    stage = f"finds candidates by {settings.precision} of the first {settings.prefix or whole} of {whole} dimensions"
    if applied.recall is None:
        return f"{stage} from {exact_below:,} items on; with so few as now, every one is compared"
    how = f"{settings.probes} parts visited, {settings.refine} candidates per hit scored by full vectors"
    missed = "" if applied.recall >= settings.target else f", which misses the target of {settings.target:g}"
    return f"{stage}; {how}: {applied.recall:.3f} of the ten best in the approximate index itself{missed}"
