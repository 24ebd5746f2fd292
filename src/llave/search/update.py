"""Bring an index up to date with a collection: only what is new or has changed goes through the model."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from llave.collection.collection import Collection, Columns
from llave.collection.entry import BadEntry, Entry, chunks
from llave.collection.long_texts import in_parts
from llave.data.pages import page_text, split_page
from llave.encode.encoder import Encoder
from llave.encode.forward import Refused
from llave.encode.item import Measured, Reading
from llave.errors import UserError
from llave.models.about import model_name
from llave.progress import Work, show_progress
from llave.search.finish import finish_index
from llave.search.index import Index
from llave.search.known_errors import KnownErrors
from llave.search.options import BuildOptions, BuildReport
from llave.search.schema import Schema
from llave.search.sources import Source, fresh_source, full_path, read_sources, root_of, updated, write_sources
from llave.search.store import Row, row_id
from llave.search.takeover import Takeover
from llave.search.trust import named_roots, remember
from llave.search.words import words_of
from llave.search.writing import writing
from llave.storage.location import Location, is_address

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["follow_source", "update_index"]

CHUNK = 256
"""Items between two commits: what a kill costs at most."""
TEXT_LIMIT = 10_000
"""Characters of an item's text that are kept to be shown; the vector is of the whole."""


def update_index(
    index: Index,
    model: "SentenceTransformer",
    collection: Collection,
    source: str | Location,
    options: BuildOptions = BuildOptions(),  # noqa: B008 — frozen
    columns: Columns = Columns(),  # noqa: B008 — frozen
) -> BuildReport:
    """Add, replace and remove items until the index holds the collection. Killed at any moment, it goes on from there.

    Args:
        index: of this model.
        collection: what it is to hold.
        source: the collection's path; items of other sources stay as they are, but for those that have moved here.
        columns: that the collection was opened with, for an upgrade to open it again.

    Raises:
        UserError: another process writes to this index, the collection is empty, or the model takes no item at all.
    """
    with writing(index), show_progress(options.progress) as work:
        if options.words is not None and options.words != index.info.words:
            index.store.forget_words()  # before anyone reads that they are of these sources
            index.info = dataclasses.replace(index.info, words=options.words, weighed_at=min(index.info.weighed_at, 0))
            index.save()
        sources, path = read_sources(index), full_path(source)
        now = dataclasses.replace(sources.get(path) or fresh_source(sources, path, columns), columns=columns)
        write_sources(index, {**sources, path: now})
        forgetful = remember(
            index.path, index.info.store, {**named_roots(index.path), path: root_of(path)}, model=model_name(model)
        )
        takeover = Takeover(index, now)
        report = follow_source(index, model, collection, now, options, takeover, work)
        report.notes += takeover.notes()
        del takeover  # what it knew of every row
        if forgetful:
            report.notes.append(
                f"cannot remember that you indexed {path} ({forgetful}); a server needs --allow_sources"
            )
        sources = read_sources(index)  # with the types of its fields by now
        write_sources(index, {**sources, path: updated(sources[path])})
        finish_index(index, model, work, options)
        return report


def follow_source(
    index: Index,
    model: "SentenceTransformer",
    collection: Collection,
    source: Source,
    options: BuildOptions,
    takeover: Takeover,
    work: Work,
) -> BuildReport:
    """The items of one source as they are on the disk. The index is to be this process's alone (:func:`writing`)."""
    encoder = Encoder(
        model,
        prompt=index.info.prompts["item"],
        reading=Reading(num_frames=index.info.num_frames, max_pixels=options.max_pixels),
        batch_size=options.batch_size,
        tokens_per_batch=options.tokens_per_batch,
    )
    errors = KnownErrors(index.path, source.path, f"{index.info.fingerprint} {options.max_pixels}")
    report = _Run(index, encoder, source, options.check_content, takeover, errors, work)(
        collection, options.allow_empty
    )
    errors.write()
    return report


class _Run:
    def __init__(
        self,
        index: Index,
        encoder: Encoder,
        source: Source,
        check_content: bool,
        takeover: Takeover,
        errors: KnownErrors,
        work: Work,
    ) -> None:
        self.index = index
        self.encoder = encoder
        self.source = source
        self.root = Path()
        """Of the files of the collection, links followed."""
        self.places = ("", "")
        """Where they are, and how a person calls that place: object storage, of which they are copies."""
        self.check_content = check_content
        self.takeover = takeover
        self.errors = errors
        self.work = work
        self.known = takeover.known
        self.alone = len(self.known) == index.store.count()
        """Whether the table has this source's rows and no others: then it is known which ids are new. Others may have
        an id of this source's, where it was moved while an upgrade was under way."""
        self.schema = Schema(index, source)
        self.report = BuildReport()
        self.new: set[str] = set()
        """Ids of this run's items that were not in the index; of the others ``known`` tells which have been seen."""
        self.hidden = False
        self.textless: list[str] = []
        """Why pages that could be drawn have no words."""

    def __call__(self, collection: Collection, allow_empty: bool) -> BuildReport:
        self.root, self.places = collection.root.resolve(), (str(collection.root), collection.address)
        self.work.stage("index", collection.size())
        if is_address(self.source.path):
            from llave.collection.remote import RemoteFolder

            if isinstance(collection, RemoteFolder):
                collection.leave_out = self._needs_no_file
        entries = in_parts(collection, self.encoder.tokens, self.index.info.chunk_tokens)
        for chunk in chunks(entries, CHUNK):
            self._chunk(chunk)
        gone = [] if self.hidden else self.known.unseen()
        if gone and not self.new and not self.known.any_seen() and not allow_empty:
            raise UserError(
                f"{self.source.path}: nothing to embed there, while the index holds {len(gone):,} items of it; if they "
                "are to go, say --allow_empty"
            )
        self.index.store.delete(gone)
        self.report.removed = len(gone)
        self.report.left_out = dict(collection.left_out)
        self.report.notes = [*collection.notes, *self.schema.settle(complete=not self.hidden)]
        if self.textless:
            count = len(self.textless)
            self.report.notes.append(f"{count:,} pages without words, since their text is not read: {self.textless[0]}")
        self.report.cut, self.report.cut_sounds = self.encoder.cut, self.encoder.cut_sounds
        return self.report

    def _chunk(self, chunk: list[Entry | BadEntry]) -> None:
        fresh: list[tuple[str, Entry]] = []
        unchanged: dict[str, str] = {}
        for entry in chunk:
            if isinstance(entry, BadEntry):
                self._error(entry.key, entry.message, stamp=entry.stamp)
                self.hidden |= entry.hides
                continue
            identity = row_id(self.source.name, entry.key)
            if identity in self.new or self.known.has_seen(identity):
                self._error(f"{entry.key} (again)", "a second item of this id; ids must be unique")
                continue
            if not self.check_content and (reason := self.errors.skip(entry)) is not None:
                self._error(entry.key, reason, stamp=entry.stamp, lasting=entry)
                continue
            self.schema.see(entry.fields)
            self._see(identity)
            content = self.known.content(identity)
            if content is not None and self._is_as_before(identity, entry):
                unchanged[entry.key] = content
            else:
                fresh.append((identity, entry))
        self.report.unchanged += len(unchanged)
        self.takeover.arrived(unchanged)
        self.work.advance(len(chunk) - len(fresh), worked=0)
        self._write(fresh)

    def _see(self, identity: str) -> None:
        if identity in self.known:
            self.known.see(identity)
        else:
            self.new.add(identity)

    def _is_as_before(self, identity: str, entry: Entry) -> bool:
        if self.check_content or not entry.stamp:
            return False
        return self.known.is_as_before(identity, entry.stamp, entry.digest())

    def _needs_no_file(self, entry: Entry) -> bool:
        """Whether nothing is done with an item that is still there."""
        if self.check_content:
            return False
        identity = row_id(self.source.name, entry.key)
        return self._is_as_before(identity, entry) or self.errors.skip(entry) is not None

    def _write(self, fresh: list[tuple[str, Entry]]) -> None:
        """Items that may be new: those whose vector is known are written with it, the others are embedded."""
        contents: dict[str, str] = {}  # by id
        unchanged: dict[str, str] = {}  # by key
        todo: list[tuple[str, Entry, Measured]] = []
        measured = self.encoder.measure([entry.item for _, entry in fresh])
        for (identity, entry), about in zip(fresh, measured, strict=True):
            if isinstance(about, Refused):
                self._refused(identity, entry, about)
            elif self.known.content(identity) == about.key.hex() and self.known.is_as_before(
                identity, entry.stamp, entry.digest()
            ):
                unchanged[entry.key] = about.key.hex()
            else:
                contents[identity] = about.key.hex()
                todo.append((identity, entry, about))
        known = self.takeover.rows(contents)
        rows = []
        for identity, entry, _ in todo:
            if identity in known:
                old = known[identity]
                row = self._row(identity, entry, old.content)
                fields = {**{name: old.fields.get(name) for name in self.index.info.given}, **row.fields}
                rows.append(dataclasses.replace(row, vector_D=old.vector_D, thumbnail=old.thumbnail, fields=fields))
        self.work.advance(len(fresh) - len(todo) + len(rows), worked=0)
        rows += self._embed([job for job in todo if job[0] not in known])
        self.index.store.upsert([row for row in rows if not self._is_new(row)])
        self.index.store.upsert([row for row in rows if self._is_new(row)], new=True)
        for row in rows:
            before = self.known.content(row.id)
            if before is None:
                self.report.added += 1
            elif before != row.content:
                self.report.changed += 1
            else:
                self.report.refreshed += 1
        self.report.unchanged += len(unchanged)
        self.takeover.arrived(unchanged | {row.key: row.content for row in rows})

    def _is_new(self, row: Row) -> bool:
        return self.alone and row.id not in self.known

    def _embed(self, todo: list[tuple[str, Entry, Measured]]) -> list[Row]:
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
                self._refused(identity, entry, outcome)
                continue
            row = self._row(identity, entry, about.key.hex())
            rows.append(dataclasses.replace(row, vector_D=outcome, thumbnail=thumbnails[place]))
        return rows

    def _row(self, identity: str, entry: Entry, content: str) -> Row:
        text = (entry.item.text or self._page_text(entry.item.file))[:TEXT_LIMIT]
        return Row(
            id=identity,
            source=self.source.path,
            key=entry.key,
            kind=entry.item.kind,
            text=text,
            path=entry.name,
            file=self._relative(entry.item.file),
            stamp=entry.stamp,
            content=content,
            digest=entry.digest(),
            fields=entry.fields,
            words=words_of(text, entry.name or entry.key, entry.fields, self.index.info.words),
        )

    def _page_text(self, file: Path | None) -> str:
        """Of a PDF's page, for words and for people; its vector is of the picture alone."""
        document, page = split_page(file) if file is not None else (None, None)
        if document is None or page is None:
            return ""
        try:
            return page_text(document, page, most=TEXT_LIMIT)
        except UserError as error:
            self.textless.append(str(error))
            return ""

    def _relative(self, file: Path | None) -> str:
        if file is None:
            return ""
        document, page = split_page(file)
        relative = document.resolve().relative_to(self.root).as_posix()
        return relative if page is None else f"{relative}#page={page}"

    def _refused(self, identity: str, entry: Entry, why: Refused) -> None:
        """It is not in the index any more: what was there is of a file that is no longer there."""
        self.known.forget(identity)
        self.new.discard(identity)
        self._error(entry.key, why.reason, stamp=entry.stamp, lasting=None if why.kind == "memory" else entry)

    def _error(self, key: str, reason: str, *, stamp: str = "", lasting: Entry | None = None) -> None:
        reason = reason.replace(*self.places)
        self.report.errors[key] = reason
        if self.errors.note(key, reason, stamp=stamp, lasting=lasting):
            self.report.known.append(key)
