"""Pages to retrieve, in BEIR's form: queries, a corpus, and relevance judgements (qrels), graded or not.

Tables ``queries``, ``corpus`` and ``qrels`` of a hub data set (columns ``query-id``, ``query``; ``corpus-id``,
``image``; ``query-id``, ``corpus-id``, ``score``), or a folder as BEIR's own: ``queries.jsonl``, ``corpus.jsonl``
(``_id``, ``text``) and ``qrels/test.tsv``. A page is a picture file, ``FILE.pdf#page=3``, or a picture within the
table, which is then written out once, under the name that the released bundle gives it.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llave.data.mmeb import EvalRow, RowItem
from llave.errors import DataError
from llave.evaluation.benchmarks.places import Place, picture_file, read_table
from llave.evaluation.benchmarks.spec import TaskSpec
from llave.evaluation.benchmarks.task import TaskData

__all__ = ["read_beir"]

QUERY_IDS = ("query-id", "_id", "query_id", "id")
CORPUS_IDS = ("corpus-id", "_id", "corpus_id", "id")
BATCH_ROWS = 64
"""Rows of a corpus held at a time: their pictures are in them."""


def read_beir(spec: TaskSpec, place: Place) -> TaskData:
    """Queries that have a judgement above 0, each against the whole corpus.

    A page that is judged twice for a query has the higher gain.
    """
    corpus: dict[str, RowItem] = {}
    for path in place.tables(spec, "corpus"):
        corpus |= dict(_pages(path, spec, place))
    gains: dict[str, dict[str, float]] = {}
    for where, row in place.rows(spec, ["qrels"]):
        query, page, gain = _first(row, QUERY_IDS, where), _first(row, CORPUS_IDS, where), float(row.get("score", 1))
        if gain > 0:
            if page not in corpus:
                raise DataError(f"{where}: page {page!r} is not in the corpus of {spec.name}")
            of_query = gains.setdefault(query, {})
            of_query[page] = max(gain, of_query.get(page, 0.0))
    rows: list[EvalRow] = []
    for where, row in place.rows(spec, ["queries"]):
        relevant = gains.get(_first(row, QUERY_IDS, where))
        if relevant:
            text = str(row.get("query") or row.get("text") or "")
            query_item = RowItem(" ".join(part for part in (spec.query.strip(), text.strip()) if part))
            rows.append(EvalRow(query_item, tuple(corpus[page] for page in relevant), tuple(relevant.values())))
    if not rows:
        raise DataError(f"{spec.name}: no query of {place.rows_folder(spec)} has a judgement above 0")
    return TaskData(rows, tuple(corpus.values()))


def _pages(path: Path, spec: TaskSpec, place: Place) -> Iterator[tuple[str, RowItem]]:
    folder = spec.media or "images"
    for where, row in _corpus_rows(path):
        name = _first(row, CORPUS_IDS, where)
        picture = row.get("image") or row.get("image_path")
        if isinstance(picture, str):
            yield name, RowItem(spec.target, f"{folder}/{picture}")
            continue
        file = f"{folder}/{picture_file(name, spec.pictures)}"
        if isinstance(picture, Mapping) and picture.get("bytes") and not (place.root / file).is_file():
            _write(place.root / file, picture["bytes"])
        text = str(row.get("text") or "")
        if picture is None and text and not (place.root / file).is_file():
            yield name, RowItem(" ".join(part for part in (str(row.get("title") or ""), text) if part))
        else:
            yield name, RowItem(spec.target, file)


def _corpus_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a corpus, a few at a time; pictures within a parquet file would not fit the memory together."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                number = 0
                for batch in file.iter_batches(BATCH_ROWS):
                    for row in batch.to_pylist():
                        yield f"{path} row {number}", row
                        number += 1
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot read ({error})") from None
        return
    for number, row in enumerate(read_table(path)):
        yield f"{path} row {number}", row


def _write(path: Path, content: bytes) -> None:
    """The picture as it is in the table; a killed run leaves whole files only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _first(row: Mapping[str, Any], columns: tuple[str, ...], where: str) -> str:
    for column in columns:
        if row.get(column) is not None:
            return str(row[column])
    raise DataError(f"{where}: none of the columns {', '.join(columns)}")
