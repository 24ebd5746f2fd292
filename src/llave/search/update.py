"""Bring an index up to date with a collection: only what is new or has changed goes through the model."""

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from llave.collection.collection import Collection
from llave.collection.entry import BadEntry, Entry, chunks
from llave.collection.long_texts import in_parts
from llave.data.pages import split_page
from llave.encode.encoder import Encoder
from llave.encode.forward import Refused
from llave.encode.item import Measured, Reading
from llave.errors import UserError
from llave.files import remove_leftovers, write_jsonl
from llave.progress import Work, show_progress
from llave.search.check import find_settings
from llave.search.index import Index
from llave.search.options import BuildOptions, BuildReport
from llave.search.projection import project, write_map
from llave.search.schema import SCHEMA, Schema
from llave.search.store import Known, Row, row_id

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["update_index"]

CHUNK = 256
"""Items between two commits: what a kill costs at most."""
TEXT_LIMIT = 10_000
"""Characters of an item's text that are kept to be shown; the vector is of the whole."""


def update_index(
    index: Index,
    model: "SentenceTransformer",
    collection: Collection,
    source: Path,
    options: BuildOptions = BuildOptions(),  # noqa: B008 — frozen
) -> BuildReport:
    """Add, replace and remove items until the index holds the collection. Killed at any moment, it goes on from there.

    Args:
        index: of this model.
        collection: what it is to hold.
        source: the collection's path; items of other sources stay as they are.

    Raises:
        UserError: another process writes to this index, the collection is empty, or the model takes no item at all.
    """
    try:
        with FileLock(index.path / "write.lock", timeout=0), show_progress(options.progress) as work:
            remove_leftovers(index.path)
            encoder = Encoder(
                model,
                prompt=index.info.prompts["item"],
                reading=Reading(num_frames=index.info.num_frames, max_pixels=options.max_pixels),
                batch_size=options.batch_size,
                tokens_per_batch=options.tokens_per_batch,
            )
            report = _Run(index, encoder, source, options.check_content, work)(collection, options.allow_empty)
            _write_errors(index.path / "errors.jsonl", report.errors)
            _finish(index, work, options)
            return report
    except Timeout:
        raise UserError(f"{index.path}: another process writes to this index; wait until it is done") from None


class _Run:
    def __init__(self, index: Index, encoder: Encoder, source: Path, check_content: bool, work: Work) -> None:
        self.index = index
        self.encoder = encoder
        self.source = str(source.resolve())
        self.root = source.resolve() if source.is_dir() else source.resolve().parent
        self.check_content = check_content
        self.work = work
        self.known = index.store.known(self.source)
        self.schema = Schema(index.path / SCHEMA, index.store, self.source)
        self.report = BuildReport()
        self.seen: set[str] = set()
        self.hidden = False

    def __call__(self, collection: Collection, allow_empty: bool) -> BuildReport:
        self.work.stage("index", collection.size())
        entries = in_parts(collection, self.encoder.tokens, self.index.info.chunk_tokens)
        for chunk in chunks(entries, CHUNK):
            self._chunk(chunk)
        gone = [] if self.hidden else [known for known in self.known if known not in self.seen]
        if gone and not self.seen and not allow_empty:
            raise UserError(
                f"{self.source}: nothing to embed there, while the index holds {len(gone):,} items of it; if they are "
                "to go, say --allow_empty"
            )
        self.index.store.delete(gone)
        self.report.removed = len(gone)
        self.report.left_out = dict(collection.left_out)
        self.report.notes = [*collection.notes, *self.schema.settle(complete=not self.hidden)]
        self.report.cut = self.encoder.cut
        return self.report

    def _chunk(self, chunk: list[Entry | BadEntry]) -> None:
        fresh: list[tuple[str, Entry]] = []
        for entry in chunk:
            if isinstance(entry, BadEntry):
                self.report.errors[entry.key] = entry.message
                self.hidden |= entry.hides
                continue
            identity = row_id(self.source, entry.key)
            if identity in self.seen:
                self.report.errors[f"{entry.key} (again)"] = "a second item of this id; ids must be unique"
                continue
            self.schema.see(entry.fields)
            self.seen.add(identity)
            if self._is_as_before(entry, self.known.get(identity)):
                self.report.unchanged += 1
            else:
                fresh.append((identity, entry))
        self.work.advance(len(chunk) - len(fresh), worked=0)
        self._write(fresh)

    def _is_as_before(self, entry: Entry, known: Known | None) -> bool:
        if known is None or self.check_content or not entry.stamp:
            return False
        return known.stamp == entry.stamp and known.digest == entry.digest()

    def _write(self, fresh: list[tuple[str, Entry]]) -> None:
        todo: list[tuple[str, Entry, Measured]] = []
        same: list[tuple[str, Entry]] = []
        measured = self.encoder.measure([entry.item for _, entry in fresh])
        for (identity, entry), about in zip(fresh, measured, strict=True):
            known = self.known.get(identity)
            if isinstance(about, Refused):
                self._failed(identity, entry, about.reason)
            elif known is None or known.content != about.key.hex():
                todo.append((identity, entry, about))
            elif known.digest == entry.digest() and known.stamp == entry.stamp:
                self.report.unchanged += 1
            else:
                same.append((identity, entry))
        self._refresh(same)
        self.work.advance(len(fresh) - len(todo), worked=0)
        thumbnails: dict[int, bytes] = {}
        outcomes = self.encoder.encode(
            [entry.item for _, entry, _ in todo],
            [about for _, _, about in todo],
            thumbnails=thumbnails,
            advance=lambda items, _: self.work.advance(items),
        )
        rows = []
        for place, ((identity, entry, about), outcome) in enumerate(zip(todo, outcomes, strict=True)):
            if isinstance(outcome, Refused):
                self._failed(identity, entry, outcome.reason)
                continue
            row = self._row(identity, entry)
            rows.append(
                dataclasses.replace(row, content=about.key.hex(), vector_D=outcome, thumbnail=thumbnails[place])
            )
        self.index.store.upsert(rows)
        self.report.changed += sum(row.id in self.known for row in rows)
        self.report.added += sum(row.id not in self.known for row in rows)

    def _refresh(self, same: list[tuple[str, Entry]]) -> None:
        """Items whose content is as before: the vector stays, the rest is written anew."""
        old = self.index.store.get([identity for identity, _ in same], vectors=True, thumbnails=True)
        rows = [
            dataclasses.replace(
                self._row(identity, entry),
                content=old[identity].content,
                vector_D=old[identity].vector_D,
                thumbnail=old[identity].thumbnail,
            )
            for identity, entry in same
            if identity in old
        ]
        self.index.store.upsert(rows)
        self.report.refreshed += len(rows)

    def _row(self, identity: str, entry: Entry) -> Row:
        return Row(
            id=identity,
            source=self.source,
            key=entry.key,
            kind=entry.item.kind,
            text=entry.item.text[:TEXT_LIMIT],
            path=entry.name,
            file=self._relative(entry.item.file),
            stamp=entry.stamp,
            content="",
            digest=entry.digest(),
            fields=entry.fields,
        )

    def _relative(self, file: Path | None) -> str:
        if file is None:
            return ""
        document, page = split_page(file)
        relative = document.resolve().relative_to(self.root).as_posix()
        return relative if page is None else f"{relative}#page={page}"

    def _failed(self, identity: str, entry: Entry, reason: str) -> None:
        """It is not in the index any more: what was there is of a file that is no longer there."""
        self.seen.discard(identity)
        self.report.errors[entry.key] = reason


def _finish(index: Index, work: Work, options: BuildOptions) -> None:
    work.stage("compact")
    index.store.optimize(exact_below=options.exact_below, settings=index.info.settings)
    stats = index.store.stats()
    if stats.approximate and stats.rows:
        work.stage("measure recall")
        index.info = dataclasses.replace(index.info, settings=find_settings(index, seed=options.seed))
        index.store.use(index.info.settings)
        index.save()
    if not options.make_map:
        return
    old, state = index.map(), _state(index)
    if old is not None and old.state == state:
        return
    work.stage("map")
    ids, vector_ND = index.store.vectors(limit=None)
    write_map(index.path, ids, project(vector_ND, seed=options.seed), state=state)


def _state(index: Index) -> str:
    """A hash of what the vectors are of. What a run did does not tell whether its map is of now: the run before may
    have been killed before its map, or have been told to make none."""
    columns = index.store.column(["id", "content"])
    digest = hashlib.sha256()
    for identity, content in sorted(zip(columns["id"], columns["content"], strict=True)):
        digest.update(f"{identity} {content}\n".encode())
    return digest.hexdigest()


def _write_errors(path: Path, errors: dict[str, str]) -> None:
    if not errors:
        path.unlink(missing_ok=True)
        return
    write_jsonl(path, ({"key": key, "error": reason} for key, reason in errors.items()))
