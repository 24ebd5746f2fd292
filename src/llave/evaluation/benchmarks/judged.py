"""Queries, documents and what is relevant to each query, gathered row by row; a bad row costs itself."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from llave.data.mmeb import EvalRow, RowItem
from llave.errors import DataError
from llave.evaluation.benchmarks.cells import Row
from llave.evaluation.benchmarks.task import TaskData

__all__ = ["Judged", "Row", "first", "named_ids"]

QUERY_IDS = ("query-id", "query_id", "qid", "q_id", "qry_id", "_id", "id")
DOCUMENT_IDS = ("corpus-id", "corpus_id", "doc_id", "document_id", "p_id", "candidate_id", "cand_id", "_id", "id")
OWN_ID = "_id"
"""The column of BEIR's own form, in which one id is one text, in queries and corpus alike."""
Rows = Iterable[tuple[str, Row | DataError]]


class Judged:
    """A collection in the making: documents first, then judgements, then queries.

    Args:
        name: of the data set, for messages.
        itself: a document with the id of a query, which in BEIR's own form is the query itself, is a candidate like
            others; otherwise it is left out of that query's ranking, unless it is judged relevant.
    """

    def __init__(self, name: str, *, itself: bool = False) -> None:
        self.name = name
        self.itself = itself
        self.corpus: dict[str, RowItem] = {}
        self.gains: dict[str, dict[str, float]] = {}
        self.rows: list[EvalRow] = []
        self.bad: list[DataError] = []

    def add_documents(self, rows: Rows, parse: Callable[[str, Row, str], RowItem], prefix: str = "") -> None:
        """``parse(id, row, where)`` makes a document of a row; of several with one id the first counts.

        Args:
            prefix: before the ids, where collections are joined.
        """

        def add(row: Row, where: str) -> None:
            name = first(row, DOCUMENT_IDS, where)
            self.corpus.setdefault(prefix + name, parse(name, row, where))

        self._each(rows, add)

    def add_judgements(self, rows: Rows, prefix: str = "", documents: str = "") -> None:
        """Those above 0; a document that is judged twice for a query has the higher gain.

        Args:
            prefix, documents: before the ids of queries, and of documents.
        """

        def add(row: Row, where: str) -> None:
            query, document = first(row, QUERY_IDS, where), documents + first(row, DOCUMENT_IDS, where)
            told = [row[column] for column in ("score", "label") if row.get(column) is not None]
            gain = float(told[0]) if told else 1.0
            if gain > 0:
                if document not in self.corpus:
                    raise DataError(f"{where}: document {document!r} is not in the corpus of {self.name}")
                of_query = self.gains.setdefault(prefix + query, {})
                of_query[document] = max(gain, of_query.get(document, 0.0))

        self._each(rows, add)

    def add_queries(
        self,
        rows: Rows,
        parse: Callable[[Row, str], RowItem],
        relevant: Callable[[Row], Sequence[str]] | None = None,
        prefix: str = "",
    ) -> None:
        """``parse(row, where)`` makes a query of a row; one to which nothing is relevant is no row.

        Args:
            relevant: ids of the relevant documents that the row itself names, where there are no judgements.
            prefix: before the ids.
        """

        def add(row: Row, where: str) -> None:
            name = first(row, QUERY_IDS, where)
            gains = self.gains.get(prefix + name, {})
            if relevant is not None:
                gains = dict.fromkeys(relevant(row), 1.0)
                unknown = [document for document in gains if document not in self.corpus]
                if unknown:
                    raise DataError(f"{where}: document {unknown[0]!r} is not in the corpus of {self.name}")
            if gains:
                own = OWN_ID in row and not self.itself and name in self.corpus and name not in gains
                found = tuple(self.corpus[document] for document in gains)
                exclude = (self.corpus[name],) if own else ()
                self.rows.append(EvalRow(parse(row, where), found, tuple(gains.values()), exclude))

        self._each(rows, add)

    def data(self, where: object, *, judged: bool = False) -> TaskData:
        """Every query against the whole corpus, or against what is relevant to some query.

        Raises:
            DataError: nothing is relevant to any query.
        """
        if not self.rows:
            reason = f"; first problem: {self.bad[0]}" if self.bad else ""
            raise DataError(f"{self.name}: no query of {where} has a judgement above 0{reason}")
        corpus = dict.fromkeys(item for row in self.rows for item in row.candidates) if judged else self.corpus.values()
        return TaskData(self.rows, tuple(corpus), self.bad)

    def _each(self, rows: Rows, add: Callable[[Row, str], None]) -> None:
        for where, row in rows:
            try:
                if isinstance(row, DataError):
                    raise row
                add(row, where)
            except Exception as error:  # of one row: a score that is no number, or whatever
                self.bad.append(error if isinstance(error, DataError) else DataError(f"{where}: {error}"))


def first(row: Row, columns: Sequence[str], where: str) -> str:
    """The first of the columns that says something."""
    for column in columns:
        if row.get(column) is not None:
            return str(row[column])
    raise DataError(f"{where}: none of the columns {', '.join(columns)}")


def named_ids(value: Any) -> list[str]:
    """Ids of a cell: one, a list of them or of ``{"id": …}``, or such a list as JSON."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        value = json.loads(value)
    if value is None or value != value or value == "":  # nan, as which pandas writes what is missing
        return []
    entries = value if isinstance(value, list) else [value]
    return [str(entry["id"] if isinstance(entry, Mapping) else entry) for entry in entries]
