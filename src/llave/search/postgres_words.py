"""Words in a PostgreSQL table: its full-text search finds who has them, and BM25 says how much they weigh.

Words are told apart as everywhere in llave and come to PostgreSQL one by one; it cuts their endings off, by a
configuration of its own language that leaves no word out ("the who" is a name). Misspelt words find nothing.
PostgreSQL's own ranks know nothing of how rare a word is, so the scores are computed here, of the same constants as on
Qdrant.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import Cursor, sql

from llave.search.postgres_table import SCHEMA, Table, change, lock, read_about, write_language
from llave.search.words import K1, USUAL, B, tokens

__all__ = ["ensure_language", "speak", "terms_of", "words_sql", "write_words"]

MOST_WORDS = 16_000
"""Of an item, the first ones: PostgreSQL tells their places up to here."""
LONGEST = 500
"""Letters of a word."""
KINDS_OF_WORDS = "asciiword, word, asciihword, hword, hword_asciipart, hword_part"
OTHER_KINDS = (
    "numword, numhword, hword_numpart, email, protocol, url, host, url_path, file, sfloat, float, int, uint, version"
)


def ensure_language(cursor: Cursor[Any], language: str) -> None:
    """A full-text configuration of a language, if it is not there; of "none", words stay as they are."""
    name = _configuration(language)
    if _is_there(cursor, name):
        return
    lock(cursor)
    if _is_there(cursor, name):
        return
    configuration = sql.Identifier(SCHEMA, name)
    stems = sql.SQL("pg_catalog.simple") if language == "none" else sql.Identifier(SCHEMA, f"{name}_stem")
    if language != "none":
        make = sql.SQL("CREATE TEXT SEARCH DICTIONARY {} (TEMPLATE = snowball, Language = {})")
        cursor.execute(make.format(stems, sql.Literal(language.lower())))
    cursor.execute(sql.SQL("CREATE TEXT SEARCH CONFIGURATION {} (PARSER = default)").format(configuration))
    for kinds, dictionary in ((KINDS_OF_WORDS, stems), (OTHER_KINDS, sql.SQL("pg_catalog.simple"))):
        add = sql.SQL("ALTER TEXT SEARCH CONFIGURATION {} ADD MAPPING FOR {} WITH {}")
        cursor.execute(add.format(configuration, sql.SQL(kinds), dictionary))


def speak(cursor: Cursor[Any], table: Table, language: str) -> None:
    """Words are of this language from now on; those that are of another one are forgotten."""
    ensure_language(cursor, language)
    if read_about(cursor, table).language != language:
        change(cursor, table)
        cursor.execute(table.sql("TRUNCATE {words}"))
        write_language(cursor, table, language)


def _is_there(cursor: Cursor[Any], name: str) -> bool:
    statement = (
        "SELECT count(*) FROM pg_ts_config JOIN pg_namespace ON pg_namespace.oid = cfgnamespace"
        " WHERE nspname = %s AND cfgname = %s"
    )
    return cursor.execute(statement, [SCHEMA, name]).fetchone() != (0,)


def write_words(cursor: Cursor[Any], table: Table, language: str, said: Sequence[tuple[str, str]]) -> None:
    """The words of rows.

    Args:
        said: ids, and what is read of each.
    """
    if not said:
        return
    split = [_split(text) for _, text in said]
    cursor.execute(
        table.sql(
            "INSERT INTO {words} SELECT id, length, to_tsvector({configuration}, said)"
            " FROM unnest(%s::text[], %s::integer[], %s::text[]) AS row (id, length, said)"
            " ON CONFLICT (id) DO UPDATE SET length = excluded.length, lexemes = excluded.lexemes",
            configuration=_regconfig(language),
        ),
        [[row_id for row_id, _ in said], [len(words) for words in split], [" ".join(words) for words in split]],
    )


def terms_of(cursor: Cursor[Any], language: str, text: str) -> list[str]:
    """The words of a query without their endings, each once."""
    statement = sql.SQL("SELECT tsvector_to_array(to_tsvector({}, %s))").format(_regconfig(language))
    found = cursor.execute(statement, [" ".join(_split(text))]).fetchone()
    return [] if found is None else list(found[0])


def words_sql(
    table: Table,
    terms: Sequence[str],
    condition: tuple[sql.Composable, list[Any]],
    columns: sql.Composable,
    *,
    ids: Sequence[str] | None,
    every: bool,
    limit: int,
) -> tuple[sql.Composed, list[Any]]:
    """The rows that share one of these words, best first, with their scores: a statement and its parameters.

    How rare a word is, is counted among all rows, whatever has to pass; how many these are is the server's own estimate
    where they are many.
    """
    clause, values = condition
    if every:
        clause, values = sql.SQL("({}) AND lexemes @@ %s::tsquery").format(clause), [*values, _query(terms, " & ")]
    if ids is not None:
        clause, values = sql.SQL("({}) AND id = ANY(%s)").format(clause), [*values, list(ids)]
    statement = table.sql(
        "WITH said AS (SELECT id, length, lexeme, cardinality(positions) AS times FROM {words}, unnest(lexemes)"
        " WHERE lexemes @@ %s::tsquery AND lexeme = ANY(%s)),"
        " total AS (SELECT CASE WHEN reltuples > 50000 THEN reltuples ELSE (SELECT count(*) FROM {words}) END AS rows"
        " FROM pg_class WHERE oid = {name}::regclass),"
        " rare AS (SELECT lexeme, ln(1 + greatest(0, max(rows) - count(*) + 0.5) / (count(*) + 0.5)) AS weight"
        " FROM said, total GROUP BY lexeme),"
        " scored AS (SELECT id, sum(weight * times * ({k1} + 1) / (times + {k1} * (1 - {b} + {b} * length / {usual})))"
        "::double precision AS score FROM said JOIN rare USING (lexeme) GROUP BY id)"
        " SELECT {columns}, score FROM scored JOIN {items} USING (id) JOIN {words} USING (id) WHERE {clause}"
        " ORDER BY score DESC, key LIMIT %s",
        name=sql.Literal(table.sql("{words}").as_string()),
        k1=sql.Literal(K1),
        b=sql.Literal(B),
        usual=sql.Literal(float(USUAL)),
        columns=columns,
        clause=clause,
    )
    return statement, [_query(terms, " | "), list(terms), *values, limit]


def _query(terms: Sequence[str], operator: str) -> str:
    quoted = (term.replace("\\", "\\\\").replace("'", "''") for term in terms)
    return operator.join(f"'{term}'" for term in quoted)


def _split(text: str) -> list[str]:
    return [word[:LONGEST] for word in tokens(text)[:MOST_WORDS]]


def _configuration(language: str) -> str:
    return f"words_{language.lower()}"


def _regconfig(language: str) -> sql.Composable:
    name = sql.Identifier(SCHEMA, _configuration(language)).as_string()
    return sql.SQL("{}::regconfig").format(sql.Literal(name))
