"""What a column's values make of its type, and what is written back."""

from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llave.collection.columns import field_types
from llave.collection.dates import is_date, span
from llave.collection.types import Date, cast, infer_types, join, type_of

TYPES = {
    "integer": ["0", "-7", "9223372036854775807"],
    "number": ["1", "2.5", "-0.25", "1999.0", "1e-07"],
    "boolean": ["True", "FALSE", "true"],
    "date": ["2024-05-01", "2024-05-01T10:00", "2024-05-01 10:00:59.123+02:00"],
}
TEXTS = [
    "01234",
    "1.10",
    "+49",
    "9223372036854775808",
    "1e5",
    "-0",
    "2024-02-30",
    "yes",
    "1,5",
    "nan",
    "٣",
    "0x1",
    ".5",
]


@pytest.mark.parametrize("kind", TYPES)
def test_a_column_of_texts(kind: str) -> None:
    rows = [{"a": text} for text in [*TYPES[kind], ""]]
    types = infer_types(rows, ["a", "b"], written=True)
    assert types.types == {"a": kind}
    assert types.of(rows[-1]) == {"a": None}
    for text in TEXTS:
        assert infer_types([*rows, {"a": text}], ["a"], written=True).types == {"a": "string"}
    assert infer_types(rows[:-1], ["a"], written=False).types == {"a": "date" if kind == "date" else "string"}


def test_values_of_their_own_types() -> None:
    rows = [{"a": 1, "b": 2**53 + 1, "c": True, "d": "2024-05-01", "e": 2**70}, "no row", {"a": 0.5, "b": 0.5, "c": 1}]
    types = infer_types(rows, list("abcde"), written=False)
    assert types.types == {"a": "number", "b": "string", "c": "string", "d": "date", "e": "string"}
    assert [note.split(":")[0] for note in types.notes] == ["field 'b'", "field 'c'"]
    assert types.of(rows[0]) == {"a": 1.0, "b": str(2**53 + 1), "c": "true", "d": "2024-05-01", "e": str(2**70)}  # type: ignore[arg-type]


def test_parquet_has_types(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    rows = [{"day": datetime(2024, 5, 1, 10), "text": "2024-05-01", "n": 2**60 + 1}]
    pq.write_table(pa.Table.from_pylist(rows), path)
    types = field_types(path, ["day", "text", "n"])
    found = types.of({"day": "2024-05-01T10:00:00", "text": "2024-05-01", "n": 2**60 + 1})
    assert {name: type_of(value) for name, value in found.items() if value is not None} == {
        "day": "date",
        "text": "string",
        "n": "integer",
    }
    assert type_of(types.of({"day": "10000-01-01"})["day"] or 0) == "string"


def test_types_are_joined_and_cast() -> None:
    assert join("integer", "number") == "number"
    assert join("date", "string") == join("boolean", "integer") == "string"
    assert cast(Date("2024-05-01"), "string") == "2024-05-01"
    for value, kind in ((True, "integer"), (0.5, "integer"), (2**53 + 1, "number"), ("1.10", "number"), (1, "date")):
        with pytest.raises(ValueError, match=f"is no {kind}"):
            cast(value, kind)  # type: ignore[arg-type]


def test_spans() -> None:
    day = datetime(2024, 2, 29)
    assert span("2024") == (datetime(2024, 1, 1), datetime(2025, 1, 1))
    assert span("2024-02") == (datetime(2024, 2, 1), datetime(2024, 3, 1))
    assert span("2024-02-29") == (day, day + timedelta(days=1))
    assert span("2024-02-29 10:30") == (day.replace(hour=10, minute=30), day.replace(hour=10, minute=31))
    assert span("2024-02-29T00:00:01+01:00")[0] == datetime(2024, 2, 28, 23, 0, 1)
    assert span("9999-12")[1] == datetime.max
    for text in ("24", "2024-13", "2023-02-29", "2024-02-29T25:00", "0001-01-01T00:00:00+14:00", "x" * 99, "２０２４"):
        with pytest.raises(ValueError, match="is no date"):
            span(text)
        assert not is_date(text)
