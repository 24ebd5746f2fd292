"""Words in a LanceDB table: a column, its full-text index, and a query of it that forgives spelling."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa
from lancedb.index import FTS
from lancedb.query import BooleanQuery, FullTextOperator, FullTextQuery, MatchQuery, Occur

from llave.search.store import Row
from llave.search.words import WORD, Words, words_of

__all__ = ["SPELLED", "WORDS", "WORD_COLUMNS", "Heard", "every_word", "fill", "index_words"]

WORDS = "$words"
"""No field's column has this name; tables of before have none until the next run."""
SPELLED = "$spelled"
"""The same once more, whose index keeps endings: a misspelt word has another stem."""
WORD_COLUMNS = (WORDS, SPELLED)
SPELLING = {1: (0.5, 3), 2: (0.25, 6)}
"""What a word counts with so many letters wrong, and how long it must be."""
MOST_WORDS = 24
"""Of a longer text, the first ones may be misspelt."""
ROWS_AT_ONCE = 1000
REMEMBERED = 10_000
"""Texts whose best scores are kept, of one version of a table."""


class Heard:
    """What the items of one version of a table say: the best scores of texts, each asked for once. A hybrid search asks
    for the same words several times, and the next one has words in common with it.

    Args:
        version: of the table, as it is now.
    """

    def __init__(self, table: Any, version: int) -> None:
        self.version = version
        self._table = table
        self._whole: dict[str, float] = {}
        self._like: dict[str, float] = {}

    def full(self) -> bool:
        """Whether it is time for another one."""
        return len(self._whole) + len(self._like) >= REMEMBERED

    def whole(self, text: str) -> float:
        """The best score of an item that has every word, as they are written or with other endings; 0 of none."""
        if text not in self._whole:
            self._whole[text] = self._best(every_word(text))
        return self._whole[text]

    def like(self, word: str) -> float:
        """The best score of an item that has a word, or, where there is none, one like it; 0 of none."""
        if word not in self._like:
            self._like[word] = self.whole(word) or self._best(self.query(word))
        return self._like[word]

    def query(self, text: str) -> FullTextQuery:
        """The words of a text; and in place of those that no item has, for less, words of which a letter or two are
        others. Such words take ten times as long to find as others, and where an item has every word, none is misspelt.
        """
        parts = [_match(text, WORDS)]
        if not self.whole(text):
            unknown = [word for word in [*dict.fromkeys(WORD.findall(text))][:MOST_WORDS] if not self.whole(word)]
            for letters, (boost, least) in SPELLING.items():
                if long := " ".join(word for word in unknown if len(word) >= least):
                    parts.append(_match(long, SPELLED, boost=boost, fuzziness=letters, prefix_length=1))
        return BooleanQuery([(Occur.SHOULD, part) for part in parts])

    def _best(self, query: FullTextQuery) -> float:
        found = self._table.search(query, query_type="fts").limit(1).select(["id", "_score"]).to_arrow()
        return float(found["_score"][0].as_py()) if len(found) else 0.0


def every_word(text: str) -> FullTextQuery:
    """All words of a text, as they are written or with other endings."""
    return _match(text, WORDS, operator=FullTextOperator.AND)


def _match(text: str, column: str, **options: Any) -> FullTextQuery:
    made: Any = MatchQuery  # pydantic's dataclass, whose defaults mypy does not see
    query: FullTextQuery = made(text, column, **options)
    return query


def index_words(table: Any, language: str) -> None:
    """Make the indices of a language's words that are not there; of "none", of words as they are."""
    there = {index.name for index in table.list_indices()}
    for column, stemmed in zip(WORD_COLUMNS, (language != "none", False), strict=True):
        name = f"{column.removeprefix('$')}_idx"
        if name not in there:
            config = FTS(
                base_tokenizer="icu/split",
                language=language if stemmed else "English",
                stem=stemmed,
                remove_stop_words=False,  # "the who" is a name; what is frequent counts little anyway
            )
            table.create_index(column, config=config, name=name, replace=True)


def fill(table: Any, ids: Sequence[str], rows_of: Callable[[Sequence[str]], Iterable[Row]], words: Words) -> None:
    """Write the words of these rows."""
    for start in range(0, len(ids), ROWS_AT_ONCE):
        rows = list(rows_of(ids[start : start + ROWS_AT_ONCE]))
        spelled = [words_of(row.text, row.path or row.key, row.fields, words) for row in rows]
        texts = pa.array(spelled, pa.string())
        content = pa.table({"id": [row.id for row in rows], **dict.fromkeys(WORD_COLUMNS, texts)})
        table.merge_insert("id").when_matched_update_all().execute(content)
