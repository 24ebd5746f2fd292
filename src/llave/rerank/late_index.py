"""Tokens for the items of an index: what is new or has changed is encoded, what the index no longer has is removed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llave.collection.entry import BadEntry, Entry, chunks
from llave.collection.open import open_collection
from llave.encode.cache import model_fingerprint
from llave.encode.forward import Refused
from llave.encode.item import Reading
from llave.encode.late import LateEncoder
from llave.errors import UserError
from llave.models.about import model_name
from llave.models.late import LateModel
from llave.progress import Work, show_progress
from llave.rerank.late_store import LateInfo, LateRow, LateStore, read_late_info
from llave.search.index import Index
from llave.search.info import LANCE
from llave.search.lance_connect import said_in_a_line
from llave.search.sources import Source, read_sources
from llave.search.store import row_id
from llave.search.upgrade import allowed_roots
from llave.search.writing import writing

__all__ = ["LateReport", "index_late", "open_late_store"]

CHUNK = 64
"""Items between two commits: what a kill costs at most."""


@dataclass
class LateReport:
    """What a run did, in items.

    Args:
        items: that have tokens now, of ``wanted`` in the index.
        gone: whose file or row is not there any more, or not as it was indexed; bring the index up to date first.
        errors: by source and key.
        tokens: of an item, on average; ``bytes`` likewise.
        replaced: the model whose tokens were dropped for these.
    """

    wanted: int = 0
    items: int = 0
    embedded: int = 0
    removed: int = 0
    gone: int = 0
    errors: dict[str, str] = field(default_factory=dict)
    tokens: float = 0.0
    bytes: float = 0.0
    replaced: str = ""
    cut: int = 0


def open_late_store(index: Index) -> LateStore | None:
    """The tokens of an index's items; None where there are none."""
    info = read_late_info(index.path)
    return None if info is None else _opened(index, info)


def index_late(
    index: Index,
    model: LateModel,
    *,
    factor: float = 1,
    allow_sources: Sequence[str | Path] = (),
    exact_below: int = 20_000,
    batch_size: int = 64,
    max_pixels: int = 400_000_000,
    progress: bool = True,
) -> LateReport:
    """Bring the tokens of an index's items up to date. Killed at any moment, the same call goes on from there.

    Args:
        factor: of token pooling. Tokens of another model or factor are dropped, and all are encoded anew.
        allow_sources: folders that may be read, beside those that the user has indexed on this machine.
        exact_below: with fewer items, a search compares all tokens.

    Raises:
        UserError: an index on a server or of texts in parts, a source that this user has not indexed, another process
            that writes, or a model that takes no item at all.
    """
    if index.info.store != LANCE:
        raise UserError(f"{index.path}: its vectors are on a server; tokens are kept by LanceDB alone")
    if index.info.chunk_tokens is not None:
        raise UserError(f"{index.path}: its long texts are cut by its own model's tokens (chunk_tokens); not for late")
    info = LateInfo(
        model=model_name(model),
        fingerprint=model_fingerprint(model),
        dimensions=model.get_embedding_dimension() or 0,
        factor=factor,
    )
    reading = Reading(num_frames=index.info.num_frames, max_pixels=max_pixels)
    encoder = LateEncoder(model, "document", factor=factor, reading=reading, batch_size=batch_size)
    with writing(index), show_progress(progress) as work:
        sources = read_sources(index)
        allowed_roots(index, sources.values(), allow_sources)
        before = read_late_info(index.path)
        store = _opened(index, info)
        report = LateReport(replaced="" if before is None or before == info else before.model)
        columns = index.store.column(["id", "source", "content"])
        wanted = dict(zip(columns["id"], columns["content"], strict=True))
        have = store.known()
        stale = [identity for identity in have if identity not in wanted]
        store.delete(stale)
        todo = {identity for identity, content in wanted.items() if have.get(identity) != content}
        work.stage("tokens", len(todo))
        for path, source in sources.items():
            own = {name for name, origin in zip(columns["id"], columns["source"], strict=True) if origin == path}
            if own & todo and source.there:
                _follow(store, encoder, source, {name: wanted[name] for name in own & todo}, report, work)
        store.delete([identity for identity, content in store.known().items() if wanted.get(identity) != content])
        report.wanted, report.items = len(wanted), store.count()
        report.removed, report.cut = len(stale), encoder.cut
        report.gone = len(todo) - report.embedded - len(report.errors)
        store.optimize(exact_below=exact_below)
        report.tokens = store.tokens_per_row()
        report.bytes = report.tokens * info.dimensions * 2
    return report


def _opened(index: Index, info: LateInfo) -> LateStore:
    uri = index.path / LANCE
    return said_in_a_line(lambda: LateStore(index.path, uri, info), uri)


def _follow(
    store: LateStore, encoder: LateEncoder, source: Source, todo: dict[str, str], report: LateReport, work: Work
) -> None:
    """Encode these items of a source, by id with the content that they were indexed with."""
    collection = open_collection(source.path, source.columns, sounds=encoder.model.supports("audio"))
    wanted = ((row_id(source.name, entry.key), entry) for entry in collection if not isinstance(entry, BadEntry))
    for chunk in chunks((entry for identity, entry in wanted if identity in todo), CHUNK):
        entries = {row_id(source.name, entry.key): entry for entry in chunk if isinstance(entry, Entry)}
        measured = encoder.measure([entry.item for entry in entries.values()])
        same = [
            (identity, entry, about)
            for (identity, entry), about in zip(entries.items(), measured, strict=True)
            if not isinstance(about, Refused) and about.key.hex() == todo[identity]
        ]
        outcomes = encoder.encode(
            [entry.item for _, entry, _ in same],
            [about for _, _, about in same],
            advance=lambda items, _: work.advance(items),
        )
        rows = []
        for (identity, entry, about), outcome in zip(same, outcomes, strict=True):
            if isinstance(outcome, Refused):
                report.errors[f"{source.path}: {entry.key}"] = outcome.reason
            else:
                rows.append(LateRow(identity, about.key.hex(), outcome))
        store.upsert(rows)
        report.embedded += len(rows)
