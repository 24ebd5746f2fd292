"""The one reader of tables: every format alike, a bad row costs itself, and a budget of bytes."""

import csv
import datetime
import decimal
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llave.data.parquet import BATCH_BYTES
from llave.data.tables import as_text, count_rows, named_tables, parts, quoted, read_part, read_table
from llave.errors import DataError


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def split(path: Path) -> tuple[list[Any], list[str]]:
    """Rows and messages, in order each."""
    found = list(read_table(path))
    return [row for row in found if not isinstance(row, DataError)], [
        str(row) for row in found if isinstance(row, DataError)
    ]


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
@pytest.mark.parametrize("suffix", [".jsonl", ".JSONL", ".json", ".csv", ".CSV", ".tsv", ".parquet"])
def test_what_only_python_takes_for_a_line_end_is_a_letter(tmp_path: Path, suffix: str, end: str) -> None:
    path, row = tmp_path / f"t{suffix}", {"a": f"x{end}y", "b": "z"}
    match suffix.lower():
        case ".parquet":
            pq.write_table(pa.Table.from_pylist([row]), path)
        case ".json":
            path.write_text(json.dumps([row], ensure_ascii=False), "utf-8")
        case ".jsonl":
            path.write_bytes(lines(row).encode())
        case _:
            mark = "\t" if suffix == ".tsv" else ","
            path.write_bytes(f"a{mark}b\n{row['a']}{mark}z\n".encode())
    assert list(read_table(path)) == [row]
    assert count_rows(path) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_encodings(tmp_path: Path, suffix: str, encoding: str) -> None:
    row = {"a": "crème brûlée, c'est très bon", "b": "1"}
    text = {
        ".jsonl": lines(row) * 3,
        ".json": json.dumps([row] * 3, ensure_ascii=False),
        ".csv": "a,b\n" + f'"{row["a"]}",1\n' * 3,
    }[suffix]
    path = tmp_path / f"t{suffix}"
    path.write_bytes(text.encode(encoding))
    assert list(read_table(path)) == [row] * 3
    assert [row for part in parts(path, 2) for row in read_part(path, part)] == [row] * 3


def test_a_guess_is_said_and_nothing_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.csv").write_bytes("a\ncrème\n".encode("cp1252"))
    assert list(read_table(tmp_path / "t.csv")) == [{"a": "crème"}]
    assert "t.csv: not UTF-8; read as cp1252, which is a guess" in caplog.text
    (tmp_path / "u.csv").write_bytes("a\nsür\n".encode() + b"\xff\n" + b"b\n")
    rows, bad = split(tmp_path / "u.csv")
    assert rows == [{"a": "sür"}, {"a": "b"}]
    assert len(bad) == 1
    assert "line 3: not valid utf-8" in bad[0]
    (tmp_path / "u.csv").write_bytes("sür,b".encode() + b"\xff\n1,2\n")  # as a name, no row can be told from it
    with pytest.raises(DataError, match="line 1: not valid utf-8"):
        list(read_table(tmp_path / "u.csv"))


def test_long_cells_and_nul_in_any_thread(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "x" * 300_000 + ",1\n\0,2\n")
    found: list[int] = []

    def read() -> None:
        found.extend(len(row["a"]) for row in read_table(tmp_path / "t.csv"))

    csv.field_size_limit(131_072)  # as a library before us may have left it
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [1] * 4 + [300_000] * 4


def test_a_bad_row_costs_itself(tmp_path: Path) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    good = '{"a": "x"}'
    (tmp_path / "t.jsonl").write_text(
        "\n".join([good, "{", deep, '{"a": "\\ud83d"}', "", '{"a": "\\ud83d\\ude00"}', good])
    )
    rows, bad = split(tmp_path / "t.jsonl")
    assert rows == [{"a": "x"}, {"a": "\U0001f600"}, {"a": "x"}]
    assert ["line 2" in bad[0], "line 3: nested too deeply" in bad[1], "line 4" in bad[2]] == [True] * 3
    assert max(map(len, bad)) < 300
    (tmp_path / "t.csv").write_text('a,b\n1,2\n3\n4,5,6\n"7"x,8\n9,10\n')
    rows, bad = split(tmp_path / "t.csv")
    assert rows == [{"a": "1", "b": "2"}, {"a": "9", "b": "10"}]
    assert ["line 3" in bad[0], "line 4" in bad[1], "line 5" in bad[2]] == [True] * 3
    (tmp_path / "t.json").write_text('[{"a": 1}, {"a": "\\ud83d"}, 7]')
    rows, bad = split(tmp_path / "t.json")
    assert rows == [{"a": 1}, 7]
    assert "half a character" in bad[0]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("t.jsonl", '{"a": 1}\n{"a": 2}\n{"a', "line 3"),
        ("t.json", '[{"a": 1},\n {"a": 2},\n {"a', "line 3"),
        ("t.json", '[{"a": 1},\n {"a": 2}', "line 2"),
        ("t.json", '[{"a": 1},\n {"a": 2},\n' + "[" * 100_000, "line 3: nested too deeply"),
        ("t.csv", 'a\n1\n2\n"3', "line 4"),
    ],
)
def test_a_file_that_is_cut_off_keeps_the_rows_before(tmp_path: Path, name: str, content: str, line: str) -> None:
    (tmp_path / name).write_text(content)
    rows, bad = split(tmp_path / name)
    assert [int(row["a"]) for row in rows] == [1, 2]
    assert len(bad) == 1
    assert line in bad[0]
    assert "the rows after it are missing" in bad[0]


def test_a_damaged_row_group_keeps_those_before(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    rows = [{"a": f"row {number} " + "x" * 50} for number in range(300)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100, compression="snappy", use_dictionary=False)
    column = pq.read_metadata(path).row_group(1).column(0)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset : column.data_page_offset + column.total_compressed_size] = bytes(
        column.total_compressed_size
    )
    path.write_bytes(content)
    good, bad = split(path)
    assert good == rows[:100]
    assert len(bad) == 1
    assert "the rows after row 99, counted from 0, are missing" in bad[0]
    assert list(read_part(path, {"start": 200, "stop": 300})) == rows[200:]


@pytest.mark.parametrize("name", ["t.parquet", "t.json", "t.txt", "gone.csv", "folder.csv"])
def test_what_cannot_be_read_at_all_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + bytes(100))
    (tmp_path / "t.json").write_text('{"a": 1}')
    (tmp_path / "t.txt").write_text("a")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError) as caught:
        list(read_table(tmp_path / name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_that_python_lacks(tmp_path: Path) -> None:
    far = pa.array([253402300800, 0, None], pa.timestamp("s"))
    columns = {
        "far": far,
        "deep": pa.StructArray.from_arrays([far], ["at"]),
        "list": pa.array([[253402300800], [], None], pa.list_(pa.timestamp("s"))),
        "nano": pa.array([1, 1_000, None], pa.timestamp("ns")),
        "for": pa.array([datetime.timedelta(seconds=90), None, None], pa.duration("us")),
        "price": pa.array([decimal.Decimal("1.50"), None, None]),
        "big": pa.array([2**53 + 1, 2**63 - 1, None]),
        "day": pa.array([datetime.date(2024, 1, 2), None, None]),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    first, second, third = read_table(tmp_path / "t.parquet")
    assert first["far"].startswith("10000-01-01T00:00:00")
    assert first["deep"]["at"] == first["list"][0] == first["far"]
    assert first["nano"].startswith("1970-01-01T00:00:00.000000001")
    assert (first["for"], as_text(first["price"]), first["big"], first["day"]) == (
        "PT90.0S",
        "1.50",
        2**53 + 1,
        "2024-01-02",
    )
    assert (second["far"], as_text(second["big"])) == ("1970-01-01T00:00:00", str(2**63 - 1))
    assert third == {**dict.fromkeys(columns), "deep": {"at": None}}


def test_an_undecodable_cell_costs_its_row(tmp_path: Path) -> None:
    cells = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xffc")]
    )
    pq.write_table(pa.table({"t": cells}), tmp_path / "t.parquet")
    rows, bad = split(tmp_path / "t.parquet")
    assert rows == [{"t": "a"}, {"t": "c"}]
    assert "row 1, counted from 0, column t" in bad[0]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json", ".csv"])
def test_parts_are_the_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    rows = [{"a": str(number), "b": "é" * (number % 7)} for number in range(25)]
    match suffix:
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=4)
        case ".jsonl":
            path.write_bytes(("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n{\n").encode())
        case ".json":
            path.write_text(json.dumps(rows))
        case _:
            path.write_text("a,b\n" + "".join(f"{row['a']},{row['b']}\n" for row in rows), "utf-8")
    whole = [row for row in read_table(path) if isinstance(row, dict)]
    assert whole == rows
    for size in (1, 3, 8, 100):
        found = list(parts(path, size))
        assert [part["start"] for part in found] == list(range(0, count_rows(path), size))
        again = [row for part in reversed(found) for row in list(read_part(path, part))[::-1]][::-1]
        assert [row for row in again if isinstance(row, dict)] == rows
        assert len(again) == count_rows(path)


def test_rows_in_memory_are_a_budget_of_bytes(tmp_path: Path) -> None:
    """One large row group, in which a dictionary makes the rows far smaller in the file than in memory."""
    size, number = 100_000, 400
    pq.write_table(pa.table({"p": [bytes(size)] * number, "n": range(number)}), tmp_path / "t.parquet")
    pool = pa.default_memory_pool()
    before, most = pool.bytes_allocated(), 0
    for place, row in enumerate(read_table(tmp_path / "t.parquet")):
        assert (row["n"], len(row["p"])) == (place, size)
        most = max(most, pool.bytes_allocated() - before)
    assert most < 4 * BATCH_BYTES < number * size


def test_texts_of_cells() -> None:
    values = {3: "3", 2**60 + 1: str(2**60 + 1), 0.5: "0.5", True: "True", None: "", float("nan"): "", "x": "x"}
    assert [as_text(value) for value in values] == list(values.values())
    assert as_text(decimal.Decimal("1.50")) == "1.50"
    with pytest.raises(DataError, match="is no text"):
        as_text(["a"])
    assert len(quoted("x" * 160_000)) < 70
    assert len(quoted(["x" * 160_000])) < 70


def test_named_tables(tmp_path: Path) -> None:
    for name in ("a.JSONL", "a.csv", "b.Parquet", ".hidden.csv", "c.txt"):
        (tmp_path / name).write_text("")
    assert named_tables(tmp_path) == {"a": tmp_path / "a.JSONL", "b": tmp_path / "b.Parquet"}


def test_a_footer_that_counts_wrong_is_no_loss_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": ["a", "b", "c"]}), path, store_schema=False)
    whole = path.read_bytes()
    rows = bytes([0x16, 2 * 3])  # as thrift writes a number of three
    total, group = whole.rindex(rows + b"\x19\x1c"), whole.rindex(rows)
    for places, reason in (((total,), "a damaged footer"), ((total, group), "1 rows of a row group are not there")):
        data = bytearray(whole)
        for place in places:
            data[place + 1] = 2 * 4
        path.write_bytes(data)
        found = list(_caught(path))
        assert isinstance(found[-1], DataError)
        assert reason in str(found[-1])
        assert "t.parquet" in str(found[-1])


def _caught(path: Path) -> Iterator[Any]:
    try:
        yield from read_table(path)
    except DataError as error:
        yield error
