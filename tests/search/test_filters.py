"""Filters as people write them, and what must not be one."""

import json

import pytest

from llave.errors import UserError
from llave.search.fields import check_conditions, new_fields
from llave.search.filters import Condition, field_name, filter_from_json, parse_filter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("artist = noto", (Condition("artist", "=", "noto"),)),
        ("artist==noto AND year>=2000", (Condition("artist", "=", "noto"), Condition("year", ">=", 2000.0))),
        ("a != 'x y' and b in (1, two, \"3\")", (Condition("a", "!=", "x y"), Condition("b", "in", (1.0, "two", "3")))),
        (r'a = "say \"hi\""', (Condition("a", "=", 'say "hi"'),)),
        ("good = true and x < -1.5e3", (Condition("good", "=", True), Condition("x", "<", -1500.0))),
        ("a = 1 and b = '1'", (Condition("a", "=", 1.0), Condition("b", "=", "1"))),
        ('name = "\'; DROP TABLE items; --"', (Condition("name", "=", "'; DROP TABLE items; --"),)),
    ],
)
def test_lines(text: str, expected: tuple[Condition, ...]) -> None:
    assert parse_filter(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "artist",
        "artist =",
        "= noto",
        "artist = noto or artist = fluent",
        "artist = noto year = 3",
        "artist in noto",
        "artist in (noto",
        "artist in (noto fluent)",
        "artist in ()",
        "a = 'open",
        "a = b; DROP TABLE items",
        "a like 'b'",
        "a = 1 and",
        " and ".join(["a = 1"] * 40),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="filter"):
        parse_filter(text)


def test_json() -> None:
    value = {"artist": "noto", "year": {">=": 2000, "<": 2010}, "group": ["a", "b"], "good": True}
    assert filter_from_json(json.loads(json.dumps(value))) == (
        Condition("artist", "=", "noto"),
        Condition("year", ">=", 2000.0),
        Condition("year", "<", 2010.0),
        Condition("group", "in", ("a", "b")),
        Condition("good", "=", True),
    )
    assert filter_from_json("a = 1") == (Condition("a", "=", 1.0),)
    assert filter_from_json(None) == ()


@pytest.mark.parametrize(
    "value", [5, ["a"], {"a": None}, {"a": {"like": "b"}}, {"a": []}, {"a": [["b"]]}, {"a": {}, "b": [None]}]
)
def test_other_json_is_refused(value: object) -> None:
    with pytest.raises(UserError, match="filter"):
        filter_from_json(value)


def test_conditions_fit_the_fields() -> None:
    types = {"year": "number", "name": "string", "good": "boolean"}
    assert check_conditions(parse_filter("name = 2000 and year = 2000"), types) == (  # type: ignore[arg-type]
        Condition("name", "=", "2000"),
        Condition("year", "=", 2000.0),
    )
    for text, message in {
        "nothing = 1": "no field 'nothing'",
        "year = old": "year is a number",
        "good = 1": "good is a boolean",
        "name < b": "compares numbers",
    }.items():
        with pytest.raises(UserError, match=message):
            check_conditions(parse_filter(text), types)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="year is a number"):
        check_conditions((Condition("year", "=", float("nan")),), types)  # type: ignore[arg-type]


def test_a_field_has_one_type() -> None:
    assert new_fields({}, [{"a": None}, {"a": 1.0}, {"b": True}]) == {"a": "number", "b": "boolean"}
    with pytest.raises(UserError, match=r"field 'a' is 'x', a string, but a number"):
        new_fields({"a": "number"}, [{"a": "x"}])


def test_names_of_fields_are_columns() -> None:
    assert [field_name(name) for name in ("a b", "1st", "x`; --", "ok_2", "é")] == [
        "a_b",
        "_1st",
        "x_____",
        "ok_2",
        "é",
    ]


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1" + "0" * 400, "1e400"])
def test_a_number_that_no_store_can_compare_with(number: str) -> None:
    said = r"'year' is compared with .*, which is no finite number"
    with pytest.raises(UserError, match=said):
        parse_filter(f"year >= {number}")
    with pytest.raises(UserError, match=said):
        filter_from_json(json.loads(f'{{"year": {number}}}'))
    with pytest.raises(UserError, match=said):
        filter_from_json({"year": [1, float("nan")]})
