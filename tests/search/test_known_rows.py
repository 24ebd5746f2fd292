"""Rows in arrays, against a dictionary of them."""

import tracemalloc
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from llave.search.known_rows import KnownRows
from llave.search.store import Known, row_id

ids = st.binary(min_size=2, max_size=2).map(lambda few: (few + bytes(12) + few).hex())  # many that are almost alike
contents = st.sampled_from([bytes(16).hex(), (b"\1" + bytes(15)).hex(), bytes(range(16)).hex(), b"\xff".hex() * 16])
words = st.sampled_from(["", "a", "a\0", "\udcff"])
known = st.builds(Known, words, contents, words)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(ids, known, max_size=40), st.lists(ids, max_size=20), st.lists(ids, max_size=5), contents)
def test_it_is_a_dictionary(rows: dict[str, Known], seen: list[str], forgotten: list[str], content: str) -> None:
    found = KnownRows(rows.items())
    assert len(found) == len(rows)
    for each in {*rows, *seen}:
        about = rows.get(each)
        assert (each in found) is (about is not None)
        assert found.content(each) == (None if about is None else about.content)
        for stamp, digest in (("a", ""), ("", "a"), ("a\0", "a"), ("\udcff", "")):
            assert found.is_as_before(each, stamp, digest) is (
                about is not None and (about.stamp, about.digest) == (stamp, digest)
            )
    owners = {each for each, about in rows.items() if about.content == content}
    owner = found.owner(content)
    assert owner in owners if owners else owner is None
    left = set(rows)
    assert not found.any_seen()
    for each in seen:
        found.see(each)
    for each in forgotten:
        found.forget(each)
    left -= set(seen) - set(forgotten)
    assert set(found.unseen()) == left
    assert found.any_seen() is (left != set(rows))
    assert all(found.has_seen(each) is (each in rows and each not in left) for each in {*rows, *seen})


def test_a_row_takes_little() -> None:
    count = 50_000

    def rows() -> Iterator[tuple[str, Known]]:
        for number in range(count):
            yield row_id("s", str(number)), Known(f"{number}-1700000000", f"{number:032x}", f"{number:016x}")

    tracemalloc.start()
    try:
        found = KnownRows(rows())
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == count
    assert kept < 50 * count
    assert peak < 150 * count
