"""Pages, texts, pictures or sounds to retrieve, in BEIR's form: queries, a corpus, and relevance judgements (qrels).

Tables ``queries``, ``corpus`` and ``qrels`` of a hub data set (columns ``query-id``, ``query``; ``corpus-id``,
``image``; ``query-id``, ``corpus-id``, ``score``), or a folder as BEIR's own: ``queries.jsonl``, ``corpus.jsonl``
(``_id``, ``text``) and ``qrels/test.tsv``. A page is a picture file, ``FILE.pdf#page=3``, or a picture within the
table, which is then written out once, under the name that the released bundle gives it.

Other names go by the table's ``tables`` (``qrels: qrels_og``) and ``columns``:

- ``query``, ``instruction``: a query's text, and what is before it;
- ``relevant``: ids of the relevant documents in the query's row, instead of qrels;
- ``document``: a document's text, or the columns that it is made of, as ``NAME: VALUE`` lines;
- ``images``: a document's pictures by address or name, of which the first that is there counts;
- ``audio``, ``query_audio``: a document's, or a query's, sound.

In BEIR's own form a document with the id of a query is the query itself (ArguAna, Quora): as BEIR's evaluator does, it
is left out of that query's ranking, unless it is judged relevant or the table says ``itself``. Ids of hub tables
(``query-id``, ``corpus-id``) are unrelated numbers.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from llave.data.mmeb import RowItem
from llave.data.tables import as_text
from llave.errors import DataError
from llave.evaluation.benchmarks.judged import Judged, Row, named_ids
from llave.evaluation.benchmarks.places import Place, picture_file
from llave.evaluation.benchmarks.sounds import sound_path
from llave.evaluation.benchmarks.spec import TaskSpec
from llave.evaluation.benchmarks.task import TaskData
from llave.evaluation.benchmarks.wording import target, worded
from llave.files import write_bytes

__all__ = ["document_of", "query_of", "read_beir"]

QUERY_TEXTS = ("query", "text", "query_content", "short_query", "caption", "sentence")
DOCUMENT_TEXTS = ("text", "content")


def read_beir(spec: TaskSpec, place: Place) -> TaskData:
    """Queries that have a judgement above 0, each against the whole corpus."""
    found = Judged(spec.name, itself=spec.itself)
    names = {role: spec.tables.get(role, role) for role in ("queries", "corpus", "qrels")}
    found.add_documents(place.rows(spec, [names["corpus"]]), document_of(spec, place))
    column = spec.columns.get("relevant")
    if column is None:
        found.add_judgements(place.rows(spec, [names["qrels"]]))

    def relevant(row: Row) -> list[str]:
        return named_ids(_value(row, column))

    queries = place.rows(spec, [names["queries"]])
    found.add_queries(queries, query_of(spec, place), None if column is None else relevant)
    return found.data(place.rows_folder(spec), judged=spec.judged)


def query_of(spec: TaskSpec, place: Place, instruction: str | None = None) -> Callable[[Row, str], RowItem]:
    """Makes a query of a row; ``instruction`` instead of the table's."""
    before = spec.query if instruction is None else instruction

    def parse(row: Row, where: str) -> RowItem:
        told = as_text(row.get(spec.columns.get("instruction", "")))
        sound = sound_path(row, spec, place, where, "query_audio") if "query_audio" in spec.columns else ""
        text = "" if sound else as_text(_value(row, spec.columns.get("query", QUERY_TEXTS)))
        asked = " ".join(part for part in (before, told) if part.strip())
        wording = worded(asked, text) if asked else None
        words = " ".join(part.strip() for part in (before, told, text) if part.strip())
        return RowItem(words, audio=sound, wording=wording)

    return parse


def document_of(spec: TaskSpec, place: Place) -> Callable[[str, Row, str], RowItem]:
    """Makes a document of a row; a picture within the table becomes a file."""
    folder = place.media_name(spec) or "images"
    wording = target(spec.target, image=True) if spec.target else None

    def shown(picture: str) -> RowItem:
        return RowItem(spec.target, picture, wording=wording)

    def parse(name: str, row: Row, where: str) -> RowItem:
        if "audio" in spec.columns:
            sound = sound_path(row, spec, place, where)
            return RowItem(spec.target, audio=sound, wording=target(spec.target) if spec.target else None)
        if "images" in spec.columns:
            return RowItem(_text(row, spec) or f"candidate_id: {name}", _picture(row, spec, place, where))
        text = _text(row, spec)
        if text and spec.modality in ("text", "agent"):
            return RowItem(spec.title.join(part for part in (as_text(row.get("title")), text) if part))
        picture = row.get("image") or row.get("image_path")
        if isinstance(picture, str):
            return shown(f"{folder}/{picture}")
        file = f"{folder}/{picture_file(name, spec.pictures)}"
        if isinstance(picture, Mapping) and picture.get("bytes") and not (place.root / file).is_file():
            write_bytes(place.root / file, picture["bytes"])
        if picture is None and text and not (place.root / file).is_file():
            return RowItem(spec.title.join(part for part in (as_text(row.get("title")), text) if part))
        return shown(file)

    return parse


def _text(row: Row, spec: TaskSpec) -> str:
    """A document's text; of what is JSON, the same as Python writes it."""
    columns = spec.columns.get("document", DOCUMENT_TEXTS)
    if isinstance(columns, list):
        lines = {column: _flat(row.get(column)) for column in columns}
        return "\n".join(f"{column}: {text}" for column, text in lines.items() if text)
    value = _value(row, columns)
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.dumps(json.loads(value))
        except ValueError:
            return value
    return json.dumps(value) if isinstance(value, Mapping) else as_text(value)


def _flat(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(part for part in map(_flat, value) if part)
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping) else as_text(value).strip()


def _picture(row: Row, spec: TaskSpec, place: Place, where: str) -> str:
    """The first of a document's pictures that is there, by the last part of its address."""
    entries = row.get(spec.columns["images"]) or []
    entries = entries if isinstance(entries, list) else [entries]
    found = (_value(entry, ("url", "path", "image")) if isinstance(entry, Mapping) else entry for entry in entries)
    names = [as_text(name) for name in found]
    folder = place.media_name(spec)
    files = [f"{folder}/{PurePosixPath(name.strip().partition('?')[0]).name}" for name in names if name.strip()]
    if not files:
        raise DataError(f"{where}: no picture in {spec.columns['images']}")
    return next((file for file in files if (place.root / file).is_file()), files[0])


def _value(row: Row, columns: Any) -> Any:
    """A column, or the first of several that says something."""
    names = [columns] if isinstance(columns, str) else columns
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)
