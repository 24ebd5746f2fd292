"""What only PostgreSQL has: addresses with passwords, servers that go and come back, its index; whole indexes in it."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import numpy as np
import psycopg
import pytest
from sentence_transformers import SentenceTransformer

from llave.cli.main import main
from llave.collection.types import Date
from llave.errors import UserError
from llave.search import addresses, postgres_connect
from llave.search.addresses import name_postgres, postgres_address
from llave.search.build import build_index
from llave.search.filters import Condition, parse_filter
from llave.search.index import Index
from llave.search.info import IndexInfo, read_info, write_info
from llave.search.options import BuildOptions
from llave.search.postgres import PostgresStore, drop_table
from llave.search.store import Settings, row_id
from llave.search.trust import state_directory
from llave.search.upgrade import upgrade_index
from llave.search.words import Words
from tests.search.postgres_server import empty_database, server
from tests.search.things import D, opened_store, row, rows

SECRET = "p@ss/w:rd?#%"
NOWHERE = "postgresql://me@127.0.0.1:9/db"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PostgresStore]:
    with opened_store("postgres", tmp_path, D) as opened:
        assert isinstance(opened, PostgresStore)
        yield opened


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAVE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(addresses, "_said", {})
    for name in ("LLAVE_POSTGRES", "DATABASE_URL", "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("postgres://me@host/db", "postgresql://me@host/db"),
        ("postgresql://me:secret@host:5433/db/", "postgresql://me@host:5433/db"),
        ("postgresql://me:p%40ss@one,two:5433/db?sslmode=require", "postgresql://me@one,two:5433/db?sslmode=require"),
        ("postgresql://host/db?user=me&password=secret&sslpassword=secret", "postgresql://host/db?user=me"),
        ("postgresql:///db?host=/run/a%20b", "postgresql:///db?host=/run/a%20b"),
        ("postgresql://:secret@[::1]/", "postgresql://@[::1]"),
    ],
)
def test_an_address_is_kept_without_its_password(url: str, kept: str) -> None:
    assert postgres_address(url) == kept
    assert postgres_address(kept) == kept


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:sec@ret@host/db", "postgresql://me:sec/ret@host/db", "postgresql://me:sec?ret@host", "sec://ret",
     "postgresql://me:sec#ret@host/db", "host=/run password=secret"],
)  # fmt: skip
def test_an_address_of_which_it_is_not_certain(url: str) -> None:
    with pytest.raises(UserError, match="--postgres") as caught:
        postgres_address(url)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("password", ["secret", "sec%zz"])
def test_nobody_there_and_no_password_in_the_message(password: str) -> None:
    address = name_postgres(NOWHERE.replace("me@", f"me:{password}@"))
    assert address == NOWHERE
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/db: no ") as caught:
        PostgresStore(address, "items", D)
    assert "sec" not in str(caught.value)


def test_an_address_that_only_the_index_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_info(tmp_path, IndexInfo(model="m", fingerprint="f", dimension=4, store=NOWHERE))
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("DATABASE_URL", "mysql://another")
    with pytest.raises(UserError, match=f"set LLAVE_POSTGRES='{NOWHERE}'"):
        Index.open(tmp_path)
    for name in ("DATABASE_URL", "LLAVE_POSTGRES"):
        monkeypatch.setenv(name, NOWHERE.replace("me@", "me:secret@"))
        with pytest.raises(UserError, match="no PostgreSQL server that answers"):
            Index.open(tmp_path)
        monkeypatch.delenv(name)


@pytest.fixture
def keeper() -> Iterator[str]:
    """An address with the password of a user who needs it and may do little."""
    address = empty_database()
    hba = server().pgdata / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(f"local all keeper scram-sha-256\n{before}")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP EXTENSION IF EXISTS vector CASCADE")
        connection.execute(psycopg.sql.SQL("CREATE ROLE keeper LOGIN PASSWORD {}").format(SECRET))
        connection.execute("GRANT CREATE ON DATABASE postgres TO keeper")
        connection.execute("SELECT pg_reload_conf()")
    yield address.replace("postgres@", f"keeper:{quote(SECRET, safe='')}@")
    hba.write_text(before)
    empty_database()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP OWNED BY keeper")
        connection.execute("DROP ROLE keeper")
        connection.execute("SELECT pg_reload_conf()")


def test_passwords_and_a_user_who_may_do_little(keeper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = postgres_address(keeper)
    with pytest.raises(UserError, match=r"no PostgreSQL server that answers .*PGPASSWORD"):
        PostgresStore(address, "items", D)
    monkeypatch.setenv("LLAVE_POSTGRES", keeper)
    with pytest.raises(UserError, match="you may not add it: its administrator can"):
        PostgresStore(address, "items", D)
    with psycopg.connect(address.replace("keeper", "postgres"), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS extensions")
        connection.execute("GRANT USAGE ON SCHEMA extensions TO keeper")
        connection.execute("CREATE EXTENSION vector SCHEMA extensions")
    with closing(PostgresStore(address, "items", D)) as made:
        made.upsert([row(str(n)) for n in range(20)])
        made.optimize(exact_below=1, settings=Settings())
        assert len(made.nearest(np.ones(D, np.float32), limit=5)) == 5
    monkeypatch.delenv("LLAVE_POSTGRES")
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with closing(PostgresStore(address, "items", D)) as again:
        assert again.count() == 20
    with psycopg.connect(address.replace("keeper", "postgres"), autocommit=True) as connection:
        connection.execute("DROP SCHEMA extensions CASCADE")


def test_a_server_that_is_started_anew_in_the_middle(store: PostgresStore) -> None:
    """Nothing is lost and nothing is there twice, and who has a connection of before is served as well."""
    begun, failed = threading.Event(), []

    def write() -> None:
        for start in range(0, 400, 10):
            try:
                store.upsert([row(str(n)) for n in range(start, start + 10)])
            except UserError as error:
                failed.append(str(error))
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(60)
    server().stop()
    server().start()
    writer.join(60)
    assert failed == []
    assert store.count() == 400
    with closing(PostgresStore(store._database.address, "items", D)) as again:
        assert again.column(["key"])["key"].count("399") == 1


def test_a_server_that_does_not_come_back(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_connect, "WAITS", (0.0, 0.01))
    store.upsert([row("a")])
    server().stop()
    try:
        with pytest.raises(UserError, match=r"does not answer any more \(.*what was written before stays") as caught:
            store.upsert([row("b")])
    finally:
        server().start()
    assert "\n" not in str(caught.value)
    assert store.count() == 1


def test_a_killed_backend(store: PostgresStore) -> None:
    """Of a database's administrator, or of its lack of memory: the call is answered by another one."""
    store.upsert([row("a")])
    with psycopg.connect(store._database.address, autocommit=True) as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'llave'"
        assert connection.execute(others).fetchall() == [(True,)]
    assert store.count() == 1


def test_names_and_letters(store: PostgresStore) -> None:
    """What PostgreSQL has no room or no letter for."""
    names = {f"{'long ' * 20}{n}": n for n in range(3)}
    store.upsert([row("a\0b", text="nul\0 is none", **names), row("b", name="50%_x"), row("c", name="Fifty")])
    assert store.fields() == dict.fromkeys(names, "integer") | {"text": "string", "name": "string"}
    found = store.get([row_id("s", "a\0b"), "no\0id"])
    assert [each.fields["text"] for each in found.values()] == ["nul\u2400 is none"]
    for text in ("text = 'nul\0 is none'", r"name like '50\%%'", "name like F_f%", "name ilike fI%", "name starts F"):
        assert store.count(parse_filter(text)) == 1, text
    with pytest.raises(UserError, match="PostgreSQL says: LIKE pattern must not end with escape character"):
        store.count(Condition("name", "like", "5\\"))
    with pytest.raises(UserError, match="at most 48 bytes"):
        PostgresStore(store._database.address, "long" * 13, D)
    with pytest.raises(UserError, match="16 dimensions, not 8"):
        PostgresStore(store._database.address, "items", 8)


def test_dates_that_python_reads(store: PostgresStore) -> None:
    days = ["2024-05-01T10:00:00+23:59", "2024-05-01T10:00:00-18:30", "2024-05-01 10:00:00.123456789", "0001-01-01"]
    store.upsert([row(key, day=Date(day)) for key, day in zip("abcd", days, strict=True)])
    assert store.count(parse_filter("day = 2024-04-30")) == 1
    assert store.count(parse_filter("day = 2024-05-02T04:30:00")) == 1
    assert store.count(parse_filter("day = 2024-05-01T10:00:00.123456")) == 1
    assert store.count(parse_filter("day < 2024")) == 1


def test_numbers_that_are_no_integers(store: PostgresStore) -> None:
    store.upsert([row("a", x=1e22), row("b", x=2.0), row("c", x=-1.5e-300)])
    assert store.column([], ["x"])["x"].count(1e22) == 1
    assert {repr(each.fields["x"]) for each in store.get(store.ordered()).values()} == {"1e+22", "2.0", "-1.5e-300"}
    assert store.count(parse_filter("x < 0")) == 1


def test_endings_of_words_and_words_of_another_language(store: PostgresStore) -> None:
    store.upsert([row("two dogs and the Häuser"), row("a dog"), row("who is who")])
    store.keep_words(Words())
    assert {each.key for each, _ in store.match("dogs", limit=9)} == {"two dogs and the Häuser", "a dog"}
    assert [each.key for each, _ in store.match("the who", limit=1, every=False)] == ["who is who"]
    assert store.match("haus", limit=9) == []
    store.forget_words()
    assert not store.has_words()
    with pytest.raises(UserError, match="has no words yet"):
        store.match("dog", limit=9)
    store.keep_words(Words(language="German"))
    assert [each.key for each, _ in store.match("häusern", limit=9)] == ["two dogs and the Häuser"]
    store.forget_words()
    store.keep_words(Words(language="none"))
    assert [each.key for each, _ in store.match("dogs", limit=9)] == ["two dogs and the Häuser"]


def clusters(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    vector_ND = rng.normal(size=(50, D))[rng.integers(50, size=count)] + 0.5 * rng.normal(size=(count, D))
    return (vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)).astype(np.float32)


def test_approximate_search(store: PostgresStore) -> None:
    """Its recall with and without filters, one of which few rows pass, and none that was written later is missed."""
    vector_ND = clusters(4000)
    rows = [
        row(str(n), vector, tenth=n % 10, rare=n % 1000, word=None if n % 7 else "seven")
        for n, vector in enumerate(vector_ND)
    ]
    for start in range(0, 4000, 1000):
        store.upsert(rows[start : start + 1000])
    store.optimize(exact_below=10_000, settings=Settings())
    assert not store.stats().approximate
    store.optimize(exact_below=1000, settings=Settings(20, 8))
    assert (store.stats().approximate, store.stats().unindexed) == (True, 0)
    with psycopg.connect(store._database.address) as connection:
        query = str(vector_ND[0].tolist())
        plan = connection.execute(
            "EXPLAIN SELECT id FROM llave.items ORDER BY vector::halfvec(16) <=> %s::halfvec(16) LIMIT 10", [query]
        ).fetchall()
        assert "items hnsw" in str(plan)
        exact = connection.execute(
            "EXPLAIN SELECT id FROM llave.items ORDER BY (vector <=> %s::vector(16)) + 0 LIMIT 10", [query]
        ).fetchall()
        assert "items hnsw" not in str(exact)
    keys = np.arange(4000)
    for text, passes in {
        "": keys >= 0,
        "tenth = 3": keys % 10 == 3,
        "rare = 7": keys % 1000 == 7,
        "word = seven and tenth < 5": (keys % 7 == 0) & (keys % 10 < 5),
    }.items():
        hits = wanted = 0
        for query_D in vector_ND[::200]:
            cosine_N = np.where(passes, vector_ND @ query_D, -2)
            best = {str(n) for n in np.argsort(-cosine_N)[:10] if passes[n]}
            found = store.nearest(query_D, limit=10, conditions=parse_filter(text))
            hits += len(best & {each.key for each, _ in found})
            wanted += len(best)
            places = [int(each.key) for each, _ in found]
            np.testing.assert_allclose([score for _, score in found], cosine_N[places], atol=1e-6)
            exact_hits = store.nearest(query_D, limit=10, conditions=parse_filter(text), exact=True)
            assert {each.key for each, _ in exact_hits} == best
        assert hits >= 0.97 * wanted, text
    store.upsert([row("fresh", vector_ND[5])])
    assert {each.key for each, _ in store.nearest(vector_ND[5], limit=2)} == {"5", "fresh"}
    assert len(store.nearest(vector_ND[5], limit=1500)) == 1500
    for settings in (Settings(precision="binary"), Settings(prefix=8)):
        with pytest.raises(UserError, match="LanceDB's alone"):
            store.optimize(exact_below=1, settings=settings)


def test_more_dimensions_than_the_index_takes(tmp_path: Path) -> None:
    with opened_store("postgres", tmp_path, 4100) as store:
        vector_ND = np.random.default_rng(0).normal(size=(5, 4100)).astype(np.float32)
        store.upsert([row(str(n), vector) for n, vector in enumerate(vector_ND)])
        store.optimize(exact_below=1, settings=Settings())
        assert (store.stats().approximate, store.stats().unindexed) == (False, 5)
        assert store.nearest(vector_ND[3], limit=1)[0][0].key == "3"
        ids, kept_ND = store.vectors(limit=None)
        by_id = {row_id("s", str(n)): vector for n, vector in enumerate(vector_ND)}
        np.testing.assert_array_equal(kept_ND, np.stack([by_id[each] for each in ids]))


def test_tables_lie_side_by_side_and_are_dropped(store: PostgresStore) -> None:
    address = store._database.address
    store.upsert([row("a")])
    with closing(PostgresStore(address, "items-1", D // 2)) as other:
        version = store.version()
        for _ in range(2):
            drop_table(address, "items")
        assert other.count() == 0
        with pytest.raises(UserError, match="the table 'items' is gone"):
            store.count()
        with closing(PostgresStore(address, "items", D)) as again:
            assert again.count() == 0
            assert again.version() != version


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "texts"
    made.mkdir()
    for n, text in enumerate(("a red umbrella in the rain", "two dogs", "the red square", "a green tree", "a dog")):
        (made / f"{n}.txt").write_text(text)
    (made / "metadata.csv").write_text("file_name,year\n0.txt,1999\n1.txt,2001\n2.txt,2001\n")
    return made


def test_an_index_in_postgres_is_as_one_in_lance(
    folder: Path, tmp_path: Path, keeper: str, nano_untouched: SentenceTransformer, other_nano: SentenceTransformer
) -> None:
    """Made, brought up to date, searched and made anew by another model; its password is written nowhere."""
    with psycopg.connect(postgres_address(keeper).replace("keeper", "postgres"), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    quiet = {"progress": False, "make_map": False}
    lance, _ = build_index(tmp_path / "lance", nano_untouched, folder, options=BuildOptions(**quiet))
    options = BuildOptions(postgres=keeper, **quiet)
    index, report = build_index(tmp_path / "index", nano_untouched, folder, options=options)
    assert report.added == 5
    assert read_info(index.path).store == postgres_address(keeper)
    kept = [path for path in (*index.path.rglob("*"), *state_directory().rglob("*")) if path.is_file()]
    assert kept
    for path in kept:
        assert not any(each in path.read_bytes() for each in (SECRET.encode(), quote(SECRET, safe="").encode()))
    for each in (lance, index):
        each.use_model(nano_untouched)
    assert {row_id: each.fields for row_id, each in rows(index).items()} == {
        row_id: each.fields for row_id, each in rows(lance).items()
    }
    for filter in ("", "year >= 2000"):
        for how in ({"exact": True}, {"mode": "words"}, {"mode": "hybrid"}):
            one, other = (each.search("red umbrella", filter=filter, limit=5, **how) for each in (lance, index))
            assert [hit.id for hit in one] == [hit.id for hit in other], how
    (folder / "0.txt").unlink()
    (folder / "new.txt").write_text("a parasol")
    (folder / "metadata.csv").write_text("file_name,year\n1.txt,unknown\n")
    again, report = build_index(index.path, nano_untouched, folder, options=options)
    assert (report.added, report.removed, report.unchanged) == (1, 1, 2)
    assert again.store.fields()["year"] == "string"
    assert [hit.path for hit in again.search("parasol", mode="words")] == ["new.txt"]
    new, upgraded = upgrade_index(again, other_nano, BuildOptions(progress=False, make_map=False))
    assert (upgraded.items, new.info.table) == (5, "items-1")
    assert new.count() == 5
    with pytest.raises(UserError, match="another --index or --collection"):
        build_index(tmp_path / "third", other_nano, folder, options=BuildOptions(postgres=keeper, collection="items-1"))
    with pytest.raises(UserError, match="was made with postgres 'postgresql://keeper@"):
        build_index(index.path, other_nano, folder, options=BuildOptions(postgres=NOWHERE, **quiet))


def test_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = empty_database()
    index = str(tmp_path / "index")
    made = ["index", "nano", str(folder), "--index", index, "--postgres", address, "--collection", "texts"]
    assert main([*made, "--map", "false"]) == 0
    assert "5 items; 5 added" in capsys.readouterr().out
    assert main(["search", "square", "--mode", "words", "--index", index, "--json", "--server", "false"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["path"] == "2.txt"
    assert main(["index", "check", index, "--small", "--apply"]) == 2
    assert "is not in LanceDB" in capsys.readouterr().err
    assert main([*made, "--qdrant", "http://127.0.0.1:9", "--index", f"{index}2"]) == 2
    assert "an index has one store" in capsys.readouterr().err
