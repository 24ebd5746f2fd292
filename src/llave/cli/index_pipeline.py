"""``llave index pipeline``: the stages of a search in an index, and how its modes answer the index's own queries."""

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llave.cli.defaults import find_index
from llave.cli.parsing import parse
from llave.storage.location import Location

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llave.search.own_queries import Quality
    from llave.search.pipeline import Pipeline

__all__ = ["PipelineConfig", "pipeline"]


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """The stages of a search. What is null stays as it is.

    Args:
        index: its folder; null is "index" here, else the quickstart's.
        mode: vector, words, hybrid; or "measured", what answers the index's own queries best, from now on.
        weight: of the words beside the cosine in hybrid search.
        rerank: directory or hub id of a reranker for the best hits; "none" takes it away.
        top: hits that are reranked.
        mmr: from 0 (off) to 1, how much a hit loses for being like those before it.
        one_per: one hit of each "document" (its pages and parts), of "twins" (near duplicates), or of each value of a
            field; "none" is all of them.
        measure: answer queries that are made of the index's own items by each mode, and print how well.
        queries: items that these queries are made of.
        seed: of the queries.
        json: print JSON.
    """

    index: Location | None = None
    mode: str | None = None
    weight: float | None = None
    rerank: str | None = None
    top: int | None = None
    mmr: float | None = None
    one_per: str | None = None
    measure: bool = False
    queries: int = 80
    seed: int = 0
    json: bool = False


def pipeline(argv: list[str]) -> int:
    """Show it, or change it."""
    config = parse(
        PipelineConfig,
        argv,
        command="index pipeline",
        description="How `llave search`, the server and Index.search find what they find: by vector, by words or by "
        "both, then reranked, then without what says the same. Example: llave index pipeline photos.index --mode "
        "hybrid --one_per twins. `--measure` prints how each mode answers queries made of the index's own items.",
        positional=("index",),
    )
    from llave.errors import UserError
    from llave.search.index import Index
    from llave.search.info import BY_USER
    from llave.search.own_queries import choose_pipeline
    from llave.search.writing import writing
    from llave.terminal import quiet_libraries

    if config.queries < 1 or config.seed < 0:
        raise UserError(f"queries {config.queries}, seed {config.seed}: at least 1 and 0")
    index = Index.open(find_index(config.index))
    qualities: Sequence[Quality] = []
    measured = config.mode == "measured"
    changes = _changes(config)
    wanted = dataclasses.replace(index.info.pipeline, **changes)
    if measured or config.measure:
        quiet_libraries()
        model = index.use_model()
        chosen = choose_pipeline(index, model, count=config.queries, seed=config.seed)
        if chosen is None:
            raise UserError(f"{index.path}: too few items with a name or text of their own to ask for")
        best, qualities = chosen
        if measured:
            wanted = dataclasses.replace(wanted, mode=best.mode, weight=best.weight)
    if wanted != index.info.pipeline or measured:
        with writing(index):
            by_user = not measured and ("mode" in changes or "weight" in changes)
            weighed_at = BY_USER if by_user else index.count() if measured else index.info.weighed_at
            index.info = dataclasses.replace(index.info, pipeline=wanted, weighed_at=weighed_at)
            index.save()
    if config.json:
        answers = [dataclasses.asdict(each) for each in qualities]
        sys.stdout.write(json.dumps({"pipeline": dataclasses.asdict(wanted), "qualities": answers}) + "\n")
    else:
        sys.stdout.write(f"{index.path}: {_line(wanted)}\n")
        if qualities:
            _print(qualities)
    return 0


def _changes(config: PipelineConfig) -> dict[str, Any]:
    said = {name: getattr(config, name) for name in ("mode", "weight", "rerank", "top", "mmr", "one_per")}
    changes = {name: value for name, value in said.items() if value is not None}
    for name in ("rerank", "one_per"):
        if changes.get(name) == "none":
            changes[name] = ""
    if changes.get("mode") == "measured":
        del changes["mode"]
    if changes.get("rerank") and Path(changes["rerank"]).exists():
        changes["rerank"] = str(Path(changes["rerank"]).resolve())
    return changes


def _line(of: "Pipeline") -> str:
    stages = [f"{of.mode}, words weigh {of.weight:g}" if of.mode == "hybrid" else of.mode]
    if of.rerank:
        stages.append(f"the best {of.top} reranked by {of.rerank}")
    if of.mmr:
        stages.append(f"mmr {of.mmr:g}")
    if of.one_per:
        stages.append(f"one per {of.one_per}")
    return " → ".join(stages)


def _print(qualities: "Sequence[Quality]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    modes = list(dict.fromkeys(each.mode for each in qualities))
    for name in ("queries", "", *(f"P@1 {mode}" for mode in modes), *(f"recall@10 {mode}" for mode in modes)):
        table.add_column(name, justify="left" if name == "queries" else "right")
    for slice_ in dict.fromkeys(each.slice for each in qualities):
        of = {each.mode: each for each in qualities if each.slice == slice_}
        first = [f"{of[mode].p_at_1:.3f}" for mode in modes]
        table.add_row(slice_, str(of[modes[0]].queries), *first, *(f"{of[mode].recall_at_10:.3f}" for mode in modes))
    Console().print(table)
