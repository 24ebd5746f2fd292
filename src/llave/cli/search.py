"""``llave search "red umbrella"``."""

import dataclasses
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llave.cli.defaults import find_index
from llave.cli.parsing import parse
from llave.errors import UserError
from llave.storage.location import Location

if TYPE_CHECKING:
    from llave.search.filters import Filter
    from llave.search.hits import Hit, Hits
    from llave.search.index import Index
    from llave.search.pipeline import Scorer

__all__ = ["SearchConfig", "run"]

TEXT_LIMIT = 160
"""Characters of a text in the table."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """A search.

    Args:
        text: what to look for.
        image: a picture to look for; with a text, the model relates the two ("this, but in red").
        audio: a sound to look for, by itself or with a text.
        weight: share of the picture or sound beside a text, from 0 to 1; null lets the model fuse them.
        like: an item whose neighbours are wanted: its path, key or id, or a file by any path; one that is not in the
            index is searched for as a picture.
        filter: e.g. "artist = noto and year >= 2000 and not (group in (animals, 'food & drink') or day < 2024-05)";
            also like, starts, between, is null.
        index: folder of the index; null is "index" here, else the quickstart's.
        sort: without anything to look for, list the items that pass the filter in the order of this field; "-year" has
            the highest first, and "-modified" the newest files.
        mode: vector, words (no model is opened) or hybrid; null is what the index's pipeline says (llave index
            pipeline).
        rerank: directory or hub id of a reranker, or of a late-interaction model, for the best hits; null is the
            pipeline's, "none" is none.
        top: hits that are reranked; null is the pipeline's.
        mmr: from 0 to 1, how much a hit loses for being like those before it; null is the pipeline's.
        one_per: one hit of each "document", of "twins" or of each value of a field; null is the pipeline's.
        stages: show every hit's place after each stage, and the time that each took.
        limit: how many hits.
        offset: leave out so many of the best.
        exact: compare all items, whatever index there is.
        model: where the index's model is now, if it has moved.
        html: write the hits as a page with thumbnails to this file.
        json: print JSON instead of a table.
        device: e.g. cpu or cuda; null is the best there is.
        dtype: of the weights; null is as when the index was made.
        server: ask a `llave serve` that you run for this index, if there is one: the same answer, sooner.
    """

    text: str = ""
    image: Path | None = None
    audio: Path | None = None
    weight: float | None = None
    like: str | None = None
    filter: str = ""
    sort: str | None = None
    index: Location | None = None
    mode: Literal["vector", "words", "hybrid"] | None = None
    rerank: str | None = None
    top: int | None = None
    mmr: float | None = None
    one_per: str | None = None
    stages: bool = False
    limit: int = 10
    offset: int = 0
    exact: bool = False
    model: str | None = None
    html: Path | None = None
    json: bool = False
    device: str | None = None
    dtype: str | None = None
    server: bool = True


def run(argv: list[str]) -> int:
    """Print the hits."""
    config = parse(
        SearchConfig,
        _with_order(argv),
        command="search",
        description="Search an index that `llave index` made. Examples: llave search 'red umbrella' --index "
        "photos.index; llave search --image cat.jpg; llave search --audio miaow.mp3; "
        "llave search 'in the snow' --image cat.jpg --weight 0.3; "
        "llave search --like pets/cat.jpg.",
        positional=("text",),
    )
    if config.limit < 1 or config.offset < 0:
        raise UserError(f"limit {config.limit}, offset {config.offset}: at least 1 hit, from 0 on")
    if config.sort is not None and (config.text or config.image or config.audio or config.like is not None):
        raise UserError("--sort lists items without a search; hits are in the order of their scores")
    from llave.cli.search_served import by_server

    folder = find_index(config.index)
    hits = by_server(config, folder)
    _show(config, _search_here(config, folder) if hits is None else hits)
    return 0


def _search_here(config: SearchConfig, folder: Location) -> "Hits":
    """By an index and a model that are opened for it."""
    from llave.search.filters import parse_filter
    from llave.search.index import Index
    from llave.search.near import suggest
    from llave.terminal import quiet_libraries

    conditions = parse_filter(config.filter)
    index = Index.open(folder)
    if config.like is not None and index.find(config.like) is None and Path(config.like).is_file():
        config = _of_file(config, index, Path(config.like))
    asked = bool(config.text or config.image or config.audio or config.weight is not None)
    if config.like is not None and asked:
        raise UserError("--like stands alone: an item's neighbours, without a text, picture or sound")
    if config.sort is not None or (config.filter and not asked and config.like is None):
        hits = index.browse(filter=conditions, sort=config.sort, limit=config.limit, offset=config.offset)
    else:
        quiet_libraries()
        if config.like is None and (config.mode or index.info.pipeline.mode) != "words":
            index.use_model(config.model, device=config.device, dtype=config.dtype)
        hits = index.search(
            config.text if config.like is None else None,
            image=config.image,
            audio=config.audio,
            weight=config.weight,
            like=config.like,
            limit=config.limit,
            offset=config.offset,
            filter=conditions,
            exact=config.exact,
            mode=config.mode,
            rerank=None if config.like is not None else _reranker(config, index),
            top=config.top,
            mmr=config.mmr,
            one_per=config.one_per,
        )
    if not hits:
        sys.stderr.writelines(f"{line}\n" for line in suggest(index.store, conditions))
    if config.html is not None:
        like = None if config.like is None else index.find(config.like)
        _write_html(config, index, hits, conditions, like)
    return hits


def _show(config: SearchConfig, hits: "Hits") -> None:
    if config.json:
        found = [{**dataclasses.asdict(hit), "score": None if math.isnan(hit.score) else hit.score} for hit in hits]
        sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    elif config.html is None:
        _print(config, hits)
        if config.stages and hits.times:
            sys.stdout.write(", ".join(f"{stage} {ms:.1f} ms" for stage, ms in hits.times.items()) + "\n")
    else:
        sys.stdout.write(f"{config.html}\n")


def _of_file(config: SearchConfig, index: "Index", path: Path) -> SearchConfig:
    """``--like PATH`` of a file: more like the item that it is, or else what looks like it."""
    from llave.search.sources import item_of_file

    item = item_of_file(index.store, path)
    if item is None:
        sys.stderr.write(f"{path}: no item of this index; searched for as a picture (--image)\n")
        return dataclasses.replace(config, like=None, image=path)
    return dataclasses.replace(config, like=item)


def _reranker(config: SearchConfig, index: "Index") -> "Scorer | None":
    """The one that was named, or the index's."""
    from llave.search.trust import allowed_model

    path = allowed_model(index.path, index.info.pipeline.rerank) if config.rerank is None else config.rerank
    if path in ("", "none"):
        return None
    from llave.models.open import is_late
    from llave.rerank.late import LateStage
    from llave.rerank.reranker import Reranker

    if is_late(path):
        return LateStage(path, device=config.device)
    return Reranker.open(path, device=config.device)


def _with_order(argv: list[str]) -> list[str]:
    """``--sort -year`` in one word, since what begins with ``-`` is taken for an option."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] == "--sort":
            joined[-1] = f"--sort={word}"
        else:
            joined.append(word)
    return joined


def _print(config: SearchConfig, hits: "list[Hit]") -> None:
    from rich.console import Console
    from rich.table import Table

    if not hits:
        sys.stdout.write("no hits" + (f" pass the filter {config.filter!r}\n" if config.filter else "\n"))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "score"):
        table.add_column(name, justify="right")
    stages = list(dict.fromkeys(stage for hit in hits for stage in hit.ranks)) if config.stages else []
    for stage in stages:
        table.add_column(stage, justify="right")
    for name in ("item", "about"):
        table.add_column(name, overflow="fold")
    for place, hit in enumerate(hits, start=config.offset + 1):
        table.add_row(
            str(place),
            "" if math.isnan(hit.score) else f"{hit.score:.3f}",
            *(str(hit.ranks.get(stage, "")) for stage in stages),
            _plain(hit.path),
            _plain(_about(hit)),
        )
    Console().print(table)


def _about(hit: "Hit") -> str:
    """Kind, text and fields in one line."""
    text = hit.text if len(hit.text) <= TEXT_LIMIT else hit.text[: TEXT_LIMIT - 1] + "…"
    fields = [
        f"{name}: {value:g}" if isinstance(value, float) else f"{name}: {value}"
        for name, value in hit.fields.items()
        if value is not None and value != ""
    ]
    return " · ".join([hit.kind, *([text] if text else []), *fields])


def _plain(text: str) -> str:
    """A text whose brackets are no markup, and that cannot move the cursor."""
    from rich.markup import escape

    return escape("".join(letter if letter.isprintable() else " " for letter in text))


def _write_html(
    config: SearchConfig, index: "Index", hits: "list[Hit]", conditions: "Filter", like: str | None
) -> None:
    from llave.search.results_page import write_results_page

    write_results_page(
        config.html or Path("results.html"),
        index,
        hits,
        text=config.text,
        image=config.image,
        weight=config.weight,
        like=config.like,
        like_image=b"" if like is None else index.thumbnail(like) or b"",
        filter_text=config.filter,
        passing=index.count(conditions),
    )
