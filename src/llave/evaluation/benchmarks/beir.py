"""Pages to retrieve, in BEIR's form: queries, a corpus, and relevance judgements (qrels), graded or not.

Tables ``queries``, ``corpus`` and ``qrels`` of a hub data set (columns ``query-id``, ``query``; ``corpus-id``,
``image``; ``query-id``, ``corpus-id``, ``score``), or a folder as BEIR's own: ``queries.jsonl``, ``corpus.jsonl``
(``_id``, ``text``) and ``qrels/test.tsv``. A page is a picture file, ``FILE.pdf#page=3``, or a picture within the
table, which is then written out once, under the name that the released bundle gives it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from llave.data.mmeb import EvalRow, RowItem
from llave.data.tables import as_text
from llave.errors import DataError
from llave.evaluation.benchmarks.places import Place, picture_file
from llave.evaluation.benchmarks.spec import TaskSpec
from llave.evaluation.benchmarks.task import TaskData
from llave.evaluation.benchmarks.wording import worded
from llave.files import write_bytes

__all__ = ["read_beir"]

QUERY_IDS = ("query-id", "_id", "query_id", "id")
CORPUS_IDS = ("corpus-id", "_id", "corpus_id", "id")
OWN_ID = "_id"
"""The column of BEIR's own form, in which one id is one text, in queries and corpus alike."""


def read_beir(spec: TaskSpec, place: Place) -> TaskData:
    """Queries that have a judgement above 0, each against the whole corpus.

    A page that is judged twice for a query has the higher gain. In BEIR's own form a document with the id of a query is
    the query itself (ArguAna, Quora): as BEIR's evaluator does, it is left out of that query's ranking, unless it is
    judged relevant. Ids of hub tables (``query-id``, ``corpus-id``) are unrelated numbers.
    """
    bad: list[DataError] = []

    def sound(rows: Iterable[tuple[str, Any]], parse: Callable[[Mapping[str, Any], str], None]) -> None:
        for where, row in rows:
            try:
                if isinstance(row, DataError):
                    raise row
                parse(row, where)
            except Exception as error:  # of one row: a score that is no number, or whatever
                bad.append(error if isinstance(error, DataError) else DataError(f"{where}: {error}"))

    corpus: dict[str, RowItem] = {}
    gains: dict[str, dict[str, float]] = {}
    rows: list[EvalRow] = []

    def page_row(row: Mapping[str, Any], where: str) -> None:
        name = _first(row, CORPUS_IDS, where)
        corpus[name] = _page(name, row, spec, place)

    def judgement(row: Mapping[str, Any], where: str) -> None:
        query, page, gain = _first(row, QUERY_IDS, where), _first(row, CORPUS_IDS, where), float(row.get("score", 1))
        if gain > 0:
            if page not in corpus:
                raise DataError(f"{where}: page {page!r} is not in the corpus of {spec.name}")
            of_query = gains.setdefault(query, {})
            of_query[page] = max(gain, of_query.get(page, 0.0))

    def query_row(row: Mapping[str, Any], where: str) -> None:
        name = _first(row, QUERY_IDS, where)
        relevant = gains.get(name)
        if relevant:
            text = as_text(row.get("query") or row.get("text"))
            asked = " ".join(part for part in (spec.query.strip(), text.strip()) if part)
            item = RowItem(asked, wording=worded(spec.query, text) if spec.query else None)
            itself = OWN_ID in row and name in corpus and name not in relevant
            exclude = (corpus[name],) if itself else ()
            rows.append(EvalRow(item, tuple(corpus[page] for page in relevant), tuple(relevant.values()), exclude))

    sound(place.rows(spec, ["corpus"]), page_row)
    sound(place.rows(spec, ["qrels"]), judgement)
    sound(place.rows(spec, ["queries"]), query_row)
    if not rows:
        reason = f"; first problem: {bad[0]}" if bad else ""
        raise DataError(f"{spec.name}: no query of {place.rows_folder(spec)} has a judgement above 0{reason}")
    return TaskData(rows, tuple(corpus.values()), bad)


def _page(name: str, row: Mapping[str, Any], spec: TaskSpec, place: Place) -> RowItem:
    """A document of the corpus; a picture within the table becomes a file."""
    folder = spec.media or "images"
    picture = row.get("image") or row.get("image_path")
    if isinstance(picture, str):
        return _target(spec, f"{folder}/{picture}")
    file = f"{folder}/{picture_file(name, spec.pictures)}"
    if isinstance(picture, Mapping) and picture.get("bytes") and not (place.root / file).is_file():
        write_bytes(place.root / file, picture["bytes"])
    text = as_text(row.get("text"))
    if picture is None and text and not (place.root / file).is_file():
        return RowItem(" ".join(part for part in (as_text(row.get("title")), text) if part))
    return _target(spec, file)


def _target(spec: TaskSpec, picture: str) -> RowItem:
    wording = replace(worded(spec.target, image=True), instruction="", words="") if spec.target else None
    return RowItem(spec.target, picture, wording=wording)


def _first(row: Mapping[str, Any], columns: tuple[str, ...], where: str) -> str:
    for column in columns:
        if row.get(column) is not None:
            return str(row[column])
    raise DataError(f"{where}: none of the columns {', '.join(columns)}")
