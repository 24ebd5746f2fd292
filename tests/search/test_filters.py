"""Filters as people write them, and what must not be one."""

import json
from datetime import datetime

import pytest

from llave.collection.types import Date, FieldType
from llave.errors import UserError
from llave.search.fields import changed_types, check_filter
from llave.search.filters import EVERYTHING, And, Condition, Filter, Not, Or, filter_from_json, parse_filter
from llave.search.names import column_of, field_of

A, B, C = (Condition(name, "=", "1") for name in "abc")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EVERYTHING),
        ("artist = noto", Condition("artist", "=", "noto")),
        ("artist==noto AND year>=2000", And((Condition("artist", "=", "noto"), Condition("year", ">=", "2000")))),
        ("a != 'x y'", Not(Condition("a", "=", "x y"))),
        ("a <> x", Not(Condition("a", "=", "x"))),
        ('b in (1, two, "3")', Condition("b", "in", ("1", "two", "3"))),
        ("b not in (01, 1.10)", Not(Condition("b", "in", ("01", "1.10")))),
        (r'a = "say \"hi\" in C:\new"', Condition("a", "=", r'say "hi" in C:\new')),
        ("a = 1 or b = 1 and c = 1", Or((A, And((B, C))))),
        ("(a = 1 or b = 1) and not c = 1", And((Or((A, B)), Not(C)))),
        ("not not (a = 1)", Not(Not(A))),
        ("a is null and b is not null", And((Condition("a", "null"), Not(Condition("b", "null"))))),
        ('folder starts "animals/" ', Condition("folder", "starts", "animals/")),
        ("folder starts with animals/", Condition("folder", "starts", "animals/")),
        ("a not like %x_ or a ilike Y%", Or((Not(Condition("a", "like", "%x_")), Condition("a", "ilike", "Y%")))),
        ("y between 1 and 2 and a = 1", And((And((Condition("y", ">=", "1"), Condition("y", "<=", "2"))), A))),
        ('`a b.c` = 1 and "not" = or', And((Condition("a b.c", "=", "1"), Condition("not", "=", "or")))),
        ('name = "\'; DROP TABLE items; --"', Condition("name", "=", "'; DROP TABLE items; --")),
    ],
)
def test_lines(text: str, expected: Filter) -> None:
    assert parse_filter(text) == expected
    assert hash(parse_filter(text)) == hash(expected)


@pytest.mark.parametrize(
    "text",
    [
        "artist",
        "artist =",
        "= noto",
        "artist = noto year = 3",
        "artist in noto",
        "artist in (noto",
        "artist in (noto fluent)",
        "artist in ()",
        "a = 'open",
        "a = b; DROP TABLE items",
        "a = 1 and",
        "a = 1 or or b = 1",
        "(a = 1",
        "a = 1)",
        "a is 5",
        "a not = 5",
        "a between 1",
        "a in (" + "1, " * 1000 + "1)",
        " and ".join(["a = 1"] * 101),
        "(" * 13 + "a = 1" + ")" * 13,
        "not " * 13 + "a = 1",
        "a = " + "b" * 20_000,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"filter .{1,200}$"):
        parse_filter(text)


def test_json() -> None:
    value = {"artist": "noto", "year": {">=": 2000, "<": 2010.5}, "group": ["a", "b"], "good": True, "bad": None}
    assert filter_from_json(json.loads(json.dumps(value))) == And(
        (
            Condition("artist", "=", "noto"),
            Condition("year", ">=", "2000"),
            Condition("year", "<", "2010.5"),
            Condition("group", "in", ("a", "b")),
            Condition("good", "=", "true"),
            Condition("bad", "null"),
        )
    )
    assert filter_from_json("a = 1") == filter_from_json({"a": 1}) == A
    assert filter_from_json(None) == filter_from_json({}) == EVERYTHING
    assert filter_from_json({"or": [{"a": 1}, "b = 1"], "not": {"c": 1}}) == And((Or((A, B)), Not(C)))
    assert filter_from_json({"and": [{"a": {"!=": 1}}]}) == And((Not(A),))
    assert filter_from_json({"`or`": ["x"]}) == Condition("or", "in", ("x",))


@pytest.mark.parametrize(
    "value",
    [
        5,
        ["a"],
        {"a": {"near": "b"}},
        {"a": {"null": True}},
        {"a": []},
        {"a": {}},
        {"a": [["b"]]},
        {"b": [None]},
        {"or": "a"},
        {"or": []},
        {"not": 3},
        {"or": ["a = 1 or a = 2"] * 60},
        json.loads('{"not": ' * 13 + '{"a": 1}' + "}" * 13),
    ],
)
def test_other_json_is_refused(value: object) -> None:
    with pytest.raises(UserError, match="filter"):
        filter_from_json(value)


TYPES: dict[str, FieldType] = {
    "zip": "string",
    "year": "integer",
    "price": "number",
    "good": "boolean",
    "day": "date",
    "path": "string",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zip = 01234", Condition("zip", "=", "01234")),
        ("zip = '01234'", Condition("zip", "=", "01234")),
        ("zip in (00501, 90210)", Condition("zip", "in", ("00501", "90210"))),
        ("year = '2000'", Condition("year", "=", 2000)),
        ("year = 9007199254740993", Condition("year", "=", 9007199254740993)),
        ("year >= 1.5 and year < 1.5", And((Condition("year", ">", 1), Condition("year", "<=", 1)))),
        ("year > -1.5", Condition("year", ">", -2)),
        ("year in (1, 1.5, 2e3)", Condition("year", "in", (1, 2000))),
        ("year = 1.5", Or()),
        ("price < 3", Condition("price", "<", 3.0)),
        ("good = True", Condition("good", "=", True)),
        ("day >= 2024-05", Condition("day", ">=", datetime(2024, 5, 1))),
        ("day <= 2024-02", Condition("day", "<", datetime(2024, 3, 1))),
        ("day > 2024", Condition("day", ">=", datetime(2025, 1, 1))),
        ("day < 2024-05-01T10:00", Condition("day", "<", datetime(2024, 5, 1, 10))),
        ("day < '2024-05-01 10:00:00+02:00'", Condition("day", "<", datetime(2024, 5, 1, 8))),
        (
            "day = 2024-12-31",
            And((Condition("day", ">=", datetime(2024, 12, 31)), Condition("day", "<", datetime(2025, 1, 1)))),
        ),
        ("day like 2024%", Condition("day", "like", "2024%")),
        ("path = x and kind = y", And((Condition("$70$ath", "=", "x"), Condition("kind", "=", "y")))),
        ("not (year is null)", Not(Condition("year", "null"))),
    ],
)
def test_the_field_says_what_a_word_means(text: str, expected: Filter) -> None:
    assert check_filter(parse_filter(text), TYPES) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing = 1", "no field 'nothing'; there are: day, good, key, kind, path, price, source, year, zip"),
        ("year = old", "year is an integer, and 'old' is no number"),
        ("good = 1", "good is a boolean"),
        ("zip < b", "compares numbers and dates, and zip is a string"),
        ("year like 2%", "compares texts, and year is an integer"),
        ("day = 2024-13", "day is a date, and '2024-13' is none"),
        ("day = 2024-02-30", "day is a date"),
        ("price = 1e99999999999", "price is a number"),
        ("year = 9223372036854775808", "no finite number of 64 bits"),
        ("year >= 1" + "0" * 400, "no finite number of 64 bits"),
        ("price >= -1" + "0" * 400, "no finite number of 64 bits"),
        ("price = 1e400", "no finite number of 64 bits"),
    ],
)
def test_a_word_that_its_field_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_filter(parse_filter(text), TYPES)


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1e400", "NaN", "-Infinity"])
def test_a_number_that_no_store_can_compare_with(number: str) -> None:
    for value in (f'{{"year": {number}}}', f'{{"year": [1, {number}]}}', f'{{"year": {{"<": {number}}}}}'):
        with pytest.raises(UserError, match="no finite number of 64 bits"):
            filter_from_json(json.loads(value))


def test_a_type_that_holds_what_comes() -> None:
    assert changed_types({}, [{"a": None}, {"a": 1.0}, {"b": True}]) == {"a": "number", "b": "boolean"}
    assert changed_types({}, [{"a": 1}, {"a": 1.5}, {"d": Date("2024-05-01")}]) == {"a": "number", "d": "date"}
    assert changed_types({"a": "number"}, [{"a": "x"}]) == {"a": "string"}
    assert changed_types({"a": "number"}, [{"a": 3}]) == changed_types({"a": "integer"}, [{"a": 3.0}]) == {}
    assert changed_types({"a": "integer"}, [{"a": 1.5}]) == {"a": "number"}
    assert changed_types({"a": "string"}, [{"a": 3}]) == {}
    assert changed_types({"a": "number"}, [{"a": 2**60 + 1}]) == {"a": "string"}
    assert changed_types({}, [{"a": 2**60 + 1}, {"a": 0.5}]) == {"a": "string"}


def test_names_of_fields_are_columns() -> None:
    names = [
        "a b",
        "1st",
        "x`; --",
        "ok_2",
        "é",
        "_distance",
        "_ROWID",
        "id",
        "Path",
        "a.b",
        "a$24$",
        "$new",
        "",
        "год",
    ]
    columns = [column_of(name) for name in names]
    assert [field_of(column) for column in columns] == names
    assert len(set(columns)) == len(names)
    assert columns[:6] == ["a$20$b", "1st", "x$60$$3b$$20$$2d$$2d$", "ok_2", "é", "$5f$distance"]
