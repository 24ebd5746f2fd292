"""Sounds in folders, tables and archives: items where they are wanted, else counted with the reason."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llave.collection.check import check_table
from llave.collection.collection import Columns
from llave.collection.entry import BadEntry, Entry
from llave.collection.open import open_collection
from tests.sounds import tone, write_sound


def kinds(path: Path, *, sounds: bool = True) -> tuple[dict[str, str], dict[str, int], list[str]]:
    """Kinds by key, what was left out, and notes."""
    collection = open_collection(path, sounds=sounds)
    found = list(collection)
    assert not [entry for entry in found if isinstance(entry, BadEntry)]
    return (
        {e.key: e.item.kind for e in found if isinstance(e, Entry)},
        dict(collection.left_out),
        list(collection.notes),
    )


def test_a_folder(tmp_path: Path) -> None:
    write_sound(tmp_path / "A.MP3", tone(0.1))
    write_sound(tmp_path / "b.wav", tone(0.1))
    (tmp_path / "c.txt").write_text("words")
    (tmp_path / "metadata.csv").write_text("file_name,text,pitch\nb.wav,a tone,440\n")
    assert kinds(tmp_path)[:2] == ({"A.MP3": "audio", "b.wav": "audio", "c.txt": "text"}, {})
    spoken = next(e for e in open_collection(tmp_path) if e.key == "b.wav")
    assert isinstance(spoken, Entry)
    assert (spoken.item.text, spoken.item.file, spoken.fields["pitch"]) == ("a tone", tmp_path / "b.wav", 440)
    found, left_out, _ = kinds(tmp_path, sounds=False)
    assert found == {"c.txt": "text"}
    assert left_out[".mp3 (this model takes no sounds)"] == left_out[".wav (this model takes no sounds)"] == 1
    assert open_collection(tmp_path).state() != open_collection(tmp_path, sounds=False).state()


def test_tables(tmp_path: Path) -> None:
    data = write_sound(tmp_path / "a.wav", tone(0.1)).read_bytes()
    rows: list[dict[str, Any]] = [
        {"id": "x", "text": "a tone", "audio": {"bytes": data, "path": "a.wav"}},
        {"id": "y", "text": "", "audio": {"bytes": None, "path": "a.wav"}},
        {"id": "z", "text": "words", "audio": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert kinds(tmp_path / "t.parquet")[0] == {"x": "audio", "y": "audio", "z": "text"}
    found, left_out, notes = kinds(tmp_path / "t.parquet", sounds=False)
    assert found == {"x": "text", "z": "text"}
    assert left_out == {"rows with a sound alone (this model takes no sounds)": 1}
    assert "column 'audio' is not used: this model takes no sounds" in notes
    (tmp_path / "named.csv").write_text("file_name,pitch\na.wav,440\n")
    (tmp_path / "found.csv").write_text("clip,pitch\na.wav,440\n")
    for name in ("named.csv", "found.csv"):
        assert list(kinds(tmp_path / name)[0].values()) == ["audio"]
    (entry,) = open_collection(tmp_path / "found.csv", Columns(audio="clip"))
    assert isinstance(entry, Entry)
    assert (entry.name, entry.item.file, entry.fields) == ("a.wav", tmp_path / "a.wav", {"pitch": 440})
    (tmp_path / "bad.wav").write_text("no sound")
    (tmp_path / "bad.csv").write_text("audio\na.wav\nbad.wav\n")
    (problem,) = check_table(tmp_path / "bad.csv")
    assert (problem.row, problem.kind) == (1, "broken-audio")


def test_archives(tmp_path: Path) -> None:
    data = write_sound(tmp_path / "a.flac", tone(0.1)).read_bytes()
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for name, content in (("0.flac", data), ("1.flac", data), ("1.txt", b"a tone"), ("2.txt", b"words")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert kinds(tmp_path / "t.tar")[0] == {"t/0": "audio", "t/1": "audio", "t/2": "text"}
    found, left_out, _ = kinds(tmp_path / "t.tar", sounds=False)
    assert found == {"t/1": "text", "t/2": "text"}
    assert left_out == {".flac (this model takes no sounds)": 2}
