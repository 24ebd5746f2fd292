"""Another model for an index: its items are embedded anew in a second table, beside the first one; then one file is
replaced, ``index.json``, which names the table. So search goes on all the while, with the model before.

``upgrade.json`` says what is being made. Killed at any moment, the same call goes on where it was: what the second
table holds and has not changed is not embedded again.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llave.collection.open import open_collection
from llave.errors import UserError
from llave.models.about import model_name
from llave.progress import Work, show_progress
from llave.search.finish import draw, finish_index, tune
from llave.search.given import keep_given
from llave.search.index import Index
from llave.search.info import LANCE, IndexInfo, index_info, read_info, write_info
from llave.search.open_store import drop_store, open_store
from llave.search.options import BuildOptions
from llave.search.sources import Source, read_sources, root_of, updated, write_sources
from llave.search.takeover import Takeover
from llave.search.trust import named_roots, remember, seems_there
from llave.search.update import follow_source
from llave.search.writing import writing
from llave.storage.location import Location, is_below, location

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["UpgradeReport", "allowed_roots", "upgrade_index"]

FILE = "upgrade.json"


@dataclass
class UpgradeReport:
    """What became of an index's items.

    Args:
        items: that the index has now.
        embedded: of these, by this call.
        gone: items of before whose file, row or whole source is not there any more, by source.
        errors: by source and key; such an item is not in the index.
        known: those that failed before, with the same content.
        left_out: what the sources hold and no item was made of.
        notes: how they were read, where that was not certain.
        cut: texts that are longer than the model reads.
        cut_sounds: sounds that are longer than it hears.
    """

    items: int = 0
    embedded: int = 0
    gone: dict[str, int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    cut: int = 0
    cut_sounds: int = 0


def upgrade_index(
    index: Index,
    model: "SentenceTransformer",
    options: BuildOptions = BuildOptions(),  # noqa: B008 — frozen
    *,
    allow_sources: Sequence[str | Location] = (),
) -> tuple[Index, UpgradeReport]:
    """Embed every item with another model, and make the index that model's. The table before stays for some minutes,
    for whoever has it open; the next run after that removes it.

    Args:
        options: of these, how items are embedded; what an index is made with stays, but for the prompts.
        allow_sources: folders that may be read, beside those that the user has indexed on this machine.

    Raises:
        UserError: a source that this user has not indexed, no item is left, another process writes to this index, or
            the model takes no item at all.
    """
    with writing(index), show_progress(options.progress) as work:
        wanted = _wanted(index.info, model, options)
        if _embeds_alike(wanted, index.info):  # also what a kill after the switch has left
            (index.path / FILE).unlink(missing_ok=True)
            if wanted.model != index.info.model:
                index.info = dataclasses.replace(index.info, model=wanted.model)
                index.save()
            finish_index(index, model, work, options)
            return index, UpgradeReport(items=index.count())
        sources = read_sources(index)
        roots = allowed_roots(index, sources.values(), allow_sources)
        new = _begun(index, wanted)
        report = _embed(new, model, sources.values(), options, work)
        _compare(index, new, report)
        if index.count() and not report.items:
            gone = ", ".join(report.gone) or f"all items have errors, see {index.path / 'errors.jsonl'}"
            raise UserError(f"{index.path}: no item is left to embed, so that the index stays as it is ({gone})")
        keep_given(index, new)
        tune(new, model, work, options)
        new.info = dataclasses.replace(new.info, retired=(*index.info.retired, index.info.generation))
        new.save()  # from here on, the index is the new model's
        (index.path / FILE).unlink(missing_ok=True)
        remember(index.path, new.info.store, roots, model=model_name(model))
        write_sources(index, {path: updated(each) if each.there else each for path, each in sources.items()})
        draw(new, work, options)
        return new, report


def _wanted(info: IndexInfo, model: "SentenceTransformer", options: BuildOptions) -> IndexInfo:
    wanted = index_info(
        model,
        model_name(model),
        item_prompt=options.item_prompt,
        query_prompt=options.query_prompt,
        num_frames=info.num_frames,
        collection=info.collection,
        chunk_tokens=info.chunk_tokens,
        words=info.words,
    )
    weighed_at = min(info.weighed_at, 0)  # what was measured was of the model before
    return dataclasses.replace(
        wanted,
        store=info.store,
        generation=info.generation + 1,
        pipeline=info.pipeline,
        weighed_at=weighed_at,
        given=info.given,
    )


def _embeds_alike(one: IndexInfo, other: IndexInfo) -> bool:
    same = ("fingerprint", "dtype", "quantize", "prompts")
    return all(getattr(one, name) == getattr(other, name) for name in same)


def allowed_roots(index: Index, sources: Iterable[Source], allowed: Sequence[str | Location]) -> dict[str, Location]:
    """The folders that are read. What an index names may be anybody's.

    Raises:
        UserError: one that this user has not named.
    """
    roots = named_roots(index.path)
    folders = [location(each).resolve() for each in allowed]
    for source in sources:
        root = root_of(source.path)
        if source.path not in roots and any(is_below(root, each) for each in folders):
            roots[source.path] = root
        if source.path not in roots and seems_there(index.path, source):
            raise UserError(
                f"{source.path}: you have not indexed it on this machine, so that it is not read because {index.path} "
                f"names it; if it may be, say --allow_sources '[{root}]'"
            )
    return roots


def _begun(index: Index, wanted: IndexInfo) -> Index:
    """What a call before has begun to make, or an empty table."""
    try:
        begun = read_info(index.path, FILE)
        goes_on = begun == dataclasses.replace(wanted, id=begun.id)  # each call would give it another one
        wanted = begun if goes_on else wanted
    except UserError:  # none, or none that can be read
        goes_on = False
    if not goes_on and (wanted.store == LANCE or (index.path / FILE).is_file()):
        drop_store(index.path, wanted, wanted.generation)
    new = Index(index.path, wanted, open_store(index.path, wanted))
    if not goes_on:
        if rows := new.count():
            raise UserError(f"{wanted.store}: the collection {wanted.table!r} has {rows:,} items already; remove it")
        write_info(index.path, wanted, FILE)
    return new


def _embed(
    new: Index, model: "SentenceTransformer", sources: Iterable[Source], options: BuildOptions, work: Work
) -> UpgradeReport:
    report = UpgradeReport()
    there = [source for source in sources if source.there]
    for source in there:
        collection = open_collection(source.path, source.columns, sounds=model.supports("audio"))
        takeover = Takeover(new, source)
        quiet = dataclasses.replace(options, allow_empty=True)
        found = follow_source(new, model, collection, source, quiet, takeover, work)
        report.embedded += found.added + found.changed
        report.errors |= {f"{source.path}: {key}": reason for key, reason in found.errors.items()}
        report.known += [f"{source.path}: {key}" for key in found.known]
        report.left_out.update(found.left_out)
        report.notes += found.notes
        report.cut += found.cut
        report.cut_sounds += found.cut_sounds
    paths = {source.path for source in there}  # others were moved or removed since a call before was killed
    columns = new.store.column(["id", "source"])
    rows = zip(columns["id"], columns["source"], strict=True)
    new.store.delete([row_id for row_id, path in rows if path not in paths])
    return report


def _compare(index: Index, new: Index, report: UpgradeReport) -> None:
    """What is not in the new table, and not an error."""
    ids = set(new.store.column(["id"])["id"])
    report.items = len(ids)
    before = index.store.column(["id", "source", "key"])
    for row_id, source, key in zip(before["id"], before["source"], before["key"], strict=True):
        if row_id not in ids and f"{source}: {key}" not in report.errors:
            report.gone[source] = report.gone.get(source, 0) + 1
