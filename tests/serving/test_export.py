"""Chosen items to take away: what is in it, and what is not given out."""

import csv
import dataclasses
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave import build_index
from llave.search.index import Index
from llave.search.options import BuildOptions
from llave.serving.app import AppOptions
from llave.serving.limits import Limits
from tests.serving.running import Running, encoded, running


def picture(shade: int) -> bytes:
    return encoded(Image.new("RGB", (40, 30), (shade, 90, 10)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures and a text; beside them a secret that a link leads to."""
    root = tmp_path / "things"
    (root / "in").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(picture(1))
    for number, name in enumerate(("a.png", "in/b.png", "link.png")):
        (root / name).write_bytes(picture(100 + number))
    (root / "note.txt").write_text('a "quoted", comma')
    (root / "metadata.csv").write_text("file_name,year\na.png,1990\nin/b.png,2001\n")
    return root


@pytest.fixture
def index(nano_untouched: SentenceTransformer, folder: Path) -> Index:
    return build_index(folder.parent / "index", nano_untouched, folder, options=BuildOptions(progress=False))[0]


def export(server: Running, ids: list[str], form: str) -> Any:
    return server.client.post("/v1/export", json={"ids": ids, "format": form})


def by_path(index: Index) -> dict[str, str]:
    return {hit.path: hit.id for hit in index.browse()}


def unpacked(response: Any) -> dict[str, bytes]:
    assert response.status_code == 200, response.text
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_tables(nano_untouched: SentenceTransformer, index: Index) -> None:
    ids = by_path(index)
    wanted = [ids["note.txt"], "f" * 32, ids["a.png"]]
    with running(nano_untouched, AppOptions(index=index)) as server:
        table = export(server, wanted, "csv")
        assert table.headers["content-disposition"] == 'attachment; filename="llave-2-items.csv"'
        rows = list(csv.DictReader(io.StringIO(table.text)))
        assert [row["path"] for row in rows] == ["note.txt", "a.png"]
        assert rows[0]["text"] == 'a "quoted", comma'
        assert rows[1]["year"] == "1990"
        found = export(server, wanted, "json").json()
        assert [row["year"] for row in found] == [None, 1990]
        assert found[0]["id"] == ids["note.txt"]
        assert export(server, ["f" * 32], "csv").status_code == 404
        assert export(server, [], "csv").status_code == 400
        assert export(server, ["a"] * 10_001, "csv").status_code == 400


def test_files(nano_untouched: SentenceTransformer, index: Index, folder: Path) -> None:
    ids = by_path(index)
    with running(nano_untouched, AppOptions(index=index)) as server:
        response = export(server, [ids["a.png"], ids["in/b.png"]], "zip")
        assert unpacked(response) == {name: (folder / name).read_bytes() for name in ("a.png", "in/b.png")}
        assert response.headers["x-left-out"] == "0"
        (folder / "a.png").unlink()
        response = export(server, [ids["a.png"], ids["in/b.png"]], "zip")
        assert response.headers["x-left-out"] == "1"
        assert b"a.png: has no file" in unpacked(response)["left_out.txt"]
        assert export(server, [ids["a.png"]], "zip").status_code == 404


def test_a_link_out_of_the_folder_is_not_followed(
    nano_untouched: SentenceTransformer, index: Index, folder: Path
) -> None:
    ids = by_path(index)
    (folder / "link.png").unlink()
    os.symlink(folder.parent / "secret.png", folder / "link.png")
    with running(nano_untouched, AppOptions(index=index)) as server:
        found = unpacked(export(server, [ids["link.png"], ids["a.png"]], "zip"))
        assert set(found) == {"a.png", "left_out.txt"}
        assert export(server, [ids["link.png"]], "zip").status_code == 404


def test_names_of_a_foreign_index_stay_in_the_folder(
    nano_untouched: SentenceTransformer, index: Index, folder: Path
) -> None:
    ids = by_path(index)
    (row,) = index.store.get([ids["a.png"]], vectors=True).values()
    evil = ["../things/a.png", str(folder / "in" / ".." / "a.png"), "../secret.png"]
    index.store.upsert([dataclasses.replace(row, id=f"{n:032}", file=file) for n, file in enumerate(evil)])
    with running(nano_untouched, AppOptions(index=index)) as server:
        names = set(unpacked(export(server, [f"{n:032}" for n in range(3)], "zip")))
        assert not any(name.startswith("/") or ".." in name.split("/") for name in names)
        assert export(server, [f"{2:032}"], "zip").status_code == 404


def test_files_that_nobody_gave_out_are_kept(
    nano_untouched: SentenceTransformer, index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ids = by_path(index)
    monkeypatch.setenv("LLAVE_HOME", str(tmp_path / "another user"))
    with running(nano_untouched, AppOptions(index=Index.open(index.path))) as server:
        assert export(server, list(ids.values()), "zip").status_code == 404
        assert export(server, list(ids.values()), "json").status_code == 200


def test_more_bytes_than_are_allowed(nano_untouched: SentenceTransformer, index: Index) -> None:
    limits = Limits(export_bytes=100)
    with running(nano_untouched, AppOptions(index=index, limits=limits)) as server:
        assert export(server, list(by_path(index).values()), "zip").status_code == 413
