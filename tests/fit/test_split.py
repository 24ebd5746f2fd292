"""No content stands in two parts, and the parts are a function of the seed."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from llave.data.mmeb import RowItem
from llave.errors import UserError
from llave.fit.columns import Asked, Chosen, Side
from llave.fit.rows import FitRow, Rows, read_rows
from llave.fit.split import LEAST_ROWS, PARTS, Split, split_rows
from tests.fit.conftest import WriteTable, pairs


def made(items: list[tuple[RowItem, RowItem, RowItem | None]], digests: dict[str, bytes], kind: str = "pairs") -> Rows:
    """Rows as if they had been read."""
    side = Side(text="t")
    chosen = Chosen(kind=kind, query=side, positive=side, negative=side if kind == "triplets" else None)  # type: ignore[arg-type]
    rows = [FitRow(f"row {number}", *item) for number, item in enumerate(items, start=1)]
    return Rows(chosen, None, rows, [], len(rows), digests)


@st.composite
def tables(draw: st.DrawFn) -> Rows:
    """Rows that share pictures (under several names), texts and negatives."""
    number = draw(st.integers(LEAST_ROWS, 90))
    pictures, texts = draw(st.integers(60, 300)), draw(st.integers(60, 300))
    place = st.integers(0, 10**6)
    digests: dict[str, bytes] = {}
    items = []
    for _ in range(number):
        content, name = draw(place) % pictures, draw(st.integers(0, 2))
        file = f"/{content}-{name}.png"
        digests[file] = content.to_bytes(32, "big")
        text = RowItem(f"text {draw(place) % texts}")
        negative = RowItem(f"text {draw(place) % (2 * texts)}") if draw(st.booleans()) else None
        items.append((RowItem("", file), text, negative))
    return made(items, digests, "triplets")


def contents(rows: Rows, part: list[FitRow]) -> set[int]:
    """Of all that a part shows."""
    return {rows.key(item) for row in part for item in (row.query, row.positive, row.negative) if item is not None}


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(0, 3))
def test_no_content_stands_in_two_parts(rows: Rows, seed: int) -> None:
    try:
        split = split_rows(rows, seed)
    except UserError:  # all hang together
        reject()
    shown = [contents(rows, split.rows[name]) for name in PARTS]
    assert not shown[0] & shown[1]
    assert not shown[0] & shown[2]
    assert not shown[1] & shown[2]
    assert sum(map(len, split.rows.values())) == len(rows.rows)
    groups = [set(split.groups[name]) for name in PARTS]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert {name: len(part) for name, part in split.groups.items()} == {n: len(p) for n, p in split.rows.items()}
    assert split_rows(rows, seed) == split


def distinct(number: int) -> Rows:
    return made([(RowItem(f"a {place}"), RowItem(f"b {place}"), None) for place in range(number)], {})


@pytest.mark.parametrize(("number", "sizes"), [(50, (35, 5, 10)), (600, (420, 60, 120)), (8000, (6500, 500, 1000))])
def test_sizes(number: int, sizes: tuple[int, int, int]) -> None:
    split = split_rows(distinct(number), 0)
    assert tuple(len(split.rows[name]) for name in PARTS) == sizes


def test_another_seed_is_another_split() -> None:
    rows = distinct(100)
    assert split_rows(rows, 0).rows["test"] != split_rows(rows, 1).rows["test"]


def test_the_same_bytes_under_two_names(drawings: Path, table: WriteTable) -> None:
    """Every picture twice, with two captions: both are in one part."""
    rows = pairs(60)
    for row in rows:
        copy = drawings / f"copy-{row['photo']}"
        copy.write_bytes((drawings / row["photo"]).read_bytes())
    again = [{**row, "photo": f"copy-{row['photo']}", "caption": f"drawn: {row['caption']}"} for row in rows]
    found = read_rows(table("copies.csv", [*rows, *again]), Asked(), progress=False)
    split = split_rows(found, 0)
    assert sum(map(len, split.rows.values())) == 120
    for part in split.rows.values():
        seen = Counter(Path(row.query.image).name.removeprefix("copy-") for row in part)
        assert set(seen.values()) == {2}


def test_too_few_rows_says_how_many_are_needed() -> None:
    with pytest.raises(UserError, match=f"^49 usable rows: at least {LEAST_ROWS} are needed"):
        split_rows(distinct(LEAST_ROWS - 1), 0)


def test_texts_that_many_rows_share_are_no_pairs() -> None:
    rows = made([(RowItem(f"a {place}"), RowItem(f"b {place % 2}"), None) for place in range(100)], {})
    with pytest.raises(UserError, match=r"50 of 100 rows hang together.*--label"):
        split_rows(rows, 0)


def test_classes_share_their_labels() -> None:
    items = [(RowItem(f"a {place}"), RowItem(f"b {place % 2}"), None) for place in range(100)]
    split: Split = split_rows(made(items, {}, "classes"), 0)
    assert [len(split.rows[name]) for name in PARTS] == [70, 10, 20]
    alone = [(query, RowItem("b"), None) for query, _, _ in items]
    with pytest.raises(UserError, match="all 100 rows have the label 'b'"):
        split_rows(made(alone, {}, "classes"), 0)


def test_a_negative_in_another_part_leaves_its_row() -> None:
    """Every row's negative is the positive of the next."""
    items = [(RowItem(f"a {place}"), RowItem(f"b {place}"), RowItem(f"b {(place + 1) % 100}")) for place in range(100)]
    split = split_rows(made(items, {}, "triplets"), 0)
    assert sum(map(len, split.rows.values())) == 100
    kept = sum(row.negative is not None for part in split.rows.values() for row in part)
    assert 0 < split.negatives_dropped == 100 - kept
