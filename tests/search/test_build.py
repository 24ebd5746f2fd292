"""An index follows its folder: new, changed, renamed and removed files, other sources, other models, kills."""

import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.data.images import load_image
from llave.errors import UserError
from llave.models.nano_build import build_nano
from llave.search.filters import parse_filter
from llave.search.index import Index
from llave.search.info import IndexInfo, index_info
from llave.search.query import combine, embed_query
from llave.search.store import Settings
from tests.data.films import frames
from tests.search.things import build, counts

Draw = Callable[[int], Image.Image]


@pytest.fixture
def folder(tmp_path: Path, picture: Draw) -> Path:
    root = tmp_path / "things"
    (root / "sub").mkdir(parents=True)
    for number in range(6):
        picture(number).save(root / ("sub" if number % 2 else ".") / f"p{number}.png")
    (root / "note.txt").write_text("a red circle on blue")
    stills = frames(4)
    stills[0].save(root / "moving.gif", save_all=True, append_images=stills[1:])
    return root


@pytest.fixture
def index(tmp_path: Path, nano_untouched: SentenceTransformer) -> Index:
    return Index.create(tmp_path / "index", index_info(nano_untouched, "nano"))


def test_an_index_follows_its_folder(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, picture: Draw
) -> None:
    assert counts(build(index, nano_untouched, folder)) == (8, 0, 0, 0, 0)
    assert counts(build(index, nano_untouched, folder)) == (0, 0, 0, 8, 0)
    picture(9).save(folder / "p0.png")
    (folder / "p2.png").unlink()
    picture(7).save(folder / "p7.png")
    os.utime(folder / "p4.png", (1, 1))  # touched, with the same content
    assert counts(build(index, nano_untouched, folder)) == (1, 1, 1, 5, 1)
    assert index.count() == 8
    assert counts(build(index, nano_untouched, folder)) == (0, 0, 0, 8, 0)
    best = index.search(nano_untouched.encode(picture(9)), limit=1)[0]  # type: ignore[call-overload]
    assert (best.path, best.kind) == ("p0.png", "image")
    assert best.score == pytest.approx(1, abs=1e-5)


def test_vectors_are_the_models(index: Index, nano_untouched: SentenceTransformer, folder: Path) -> None:
    build(index, nano_untouched, folder)
    for hit in index.get([index.find(name) or "" for name in ("sub/p1.png", "note.txt")]):
        source: str | Image.Image = "a red circle on blue" if hit.kind == "text" else load_image(folder / hit.path)
        np.testing.assert_allclose(index.vector(hit.id), nano_untouched.encode(source), atol=1e-5)  # type: ignore[call-overload]


def test_changed_metadata_costs_no_encoding(index: Index, nano_untouched: SentenceTransformer, folder: Path) -> None:
    build(index, nano_untouched, folder)
    (folder / "metadata.jsonl").write_text('{"file_name": "p0.png", "artist": "me"}\n')
    assert counts(build(index, nano_untouched, folder)) == (0, 0, 1, 7, 0)
    assert [field.name for field in index.fields()] == ["folder", "artist"]
    (folder / "metadata.jsonl").write_text('{"file_name": "p0.png", "artist": "me", "text": "now with words"}\n')
    assert counts(build(index, nano_untouched, folder)) == (0, 1, 0, 7, 0)


def test_a_change_that_hides(index: Index, nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    source = tmp_path / "texts"
    source.mkdir()
    (source / "a.txt").write_text("one")
    build(index, nano_untouched, source)
    stat = (source / "a.txt").stat()
    (source / "a.txt").write_text("two")
    os.utime(source / "a.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert counts(build(index, nano_untouched, source)) == (0, 0, 0, 1, 0)
    assert counts(build(index, nano_untouched, source, check_content=True)) == (0, 1, 0, 0, 0)


def test_several_sources(index: Index, nano_untouched: SentenceTransformer, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    table.write_text('{"id": "p0.png", "text": "same key, other source"}\n')
    build(index, nano_untouched, folder)
    assert counts(build(index, nano_untouched, table)) == (1, 0, 0, 0, 0)
    assert index.count() == 9
    assert index.kinds() == {"image": 6, "text": 2, "video": 1}


def test_bad_items_cost_only_themselves(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, picture: Draw
) -> None:
    build(index, nano_untouched, folder)
    (folder / "p0.png").write_bytes(b"no picture any more")
    (folder / "p4.png").write_bytes((folder / "p4.png").read_bytes()[:100])
    report = build(index, nano_untouched, folder)
    assert counts(report) == (0, 0, 0, 6, 2)
    assert report.errors.keys() == {"p0.png", "p4.png"}
    written = [json.loads(line) for line in (index.path / "errors.jsonl").read_text().splitlines()]
    assert {row["key"] for row in written} == {"p0.png", "p4.png"}
    picture(0).save(folder / "p0.png")
    picture(4).save(folder / "p4.png")
    assert counts(build(index, nano_untouched, folder)) == (2, 0, 0, 6, 0)
    assert not (index.path / "errors.jsonl").exists()


def test_ids_are_unique_and_fields_of_one_type(
    index: Index, nano_untouched: SentenceTransformer, tmp_path: Path
) -> None:
    table = tmp_path / "t.jsonl"
    rows = [{"id": 1, "text": "a", "size": 5}, {"id": 1, "text": "b", "size": 6}, {"id": 2, "text": "c", "size": "big"}]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = build(index, nano_untouched, table)
    assert counts(report) == (2, 0, 0, 0, 0)
    assert "unique" in report.errors["1 (again)"]
    assert "field 'size': string and integer in different rows, so that all of them are kept as texts" in report.notes
    assert index.store.fields() == {"size": "string"}
    assert index.count("size = 5 or size = big") == 2
    table.write_text("".join(json.dumps({**row, "size": 5}) + "\n" for row in rows[1:]))
    assert build(index, nano_untouched, table).notes[1:] == ["field 'size': its type was string, and is integer now"]
    assert index.count("size >= 5") == 2


def test_a_csv_has_types(index: Index, nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    lines = ["id,text,zip,version,year,big,day,public,note", "1,a,01234,1.10,1999,9007199254740993,2024-05-01,True,x"]
    table.write_text("\n".join([*lines, "2,b,90210,2.0,2010,1,2024-06-01T10:00,False,"]) + "\n")
    build(index, nano_untouched, table)
    texts = dict.fromkeys(["zip", "version", "note"], "string")
    assert index.store.fields() == {**texts, "year": "integer", "big": "integer", "day": "date", "public": "boolean"}
    conditions = [
        "zip = 01234",
        "version = 1.10",
        "year < 2000",
        "big > 9007199254740992",
        "day < 2024-06",
        "public = True",
    ]
    assert [index.count(condition) for condition in [*conditions, "note is null"]] == [1] * 7
    hits = index.browse(sort="-year")
    assert [hit.fields["day"] for hit in hits] == ["2024-06-01T10:00", "2024-05-01"]
    assert [hit.fields["big"] for hit in index.browse(sort="big", offset=1)] == [9007199254740993]
    assert all(np.isnan(hit.score) for hit in hits)


def test_a_map_that_was_not_made_is_made_later(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, picture: Draw
) -> None:
    """As after a kill between the last row and the map."""
    build(index, nano_untouched, folder)
    first = index.map()
    picture(8).save(folder / "p8.png")
    picture(9).save(folder / "p0.png")
    assert counts(build(index, nano_untouched, folder, make_map=False)) == (1, 1, 0, 7, 0)
    assert counts(build(index, nano_untouched, folder)) == (0, 0, 0, 9, 0)
    second = index.map()
    assert first is not None
    assert second is not None
    assert len(second.ids) == 9
    made = (index.path / "map.arrow").stat().st_mtime_ns
    build(index, nano_untouched, folder)
    assert (index.path / "map.arrow").stat().st_mtime_ns == made  # once is enough
    (index.path / "map.arrow").write_bytes(b"ARROW1")
    assert index.map() is None
    build(index, nano_untouched, folder)
    assert index.map() is not None


def test_an_index_that_has_become_empty(index: Index, nano_untouched: SentenceTransformer, folder: Path) -> None:
    build(index, nano_untouched, folder, exact_below=1)
    for file in folder.rglob("*.*"):
        file.unlink()
    assert build(index, nano_untouched, folder, exact_below=1, allow_empty=True).removed == 8
    assert index.search(np.ones(384, np.float32)) == []


def test_search_is_measured_where_rows_have_changed(
    index: Index, nano_untouched: SentenceTransformer, folder: Path
) -> None:
    build(index, nano_untouched, folder, exact_below=1)
    found = index.info.settings
    index.info = dataclasses.replace(index.info, settings=dataclasses.replace(found, probes=639))
    index.save()
    build(index, nano_untouched, folder, exact_below=1)
    assert index.info.settings.probes == 639  # nobody has looked
    (folder / "more.txt").write_text("one more text")
    build(index, nano_untouched, folder, exact_below=1)
    assert index.info.settings == found


def test_an_empty_folder_removes_nothing(index: Index, nano_untouched: SentenceTransformer, folder: Path) -> None:
    build(index, nano_untouched, folder)
    moved = folder.with_name("elsewhere")
    folder.rename(moved)
    folder.mkdir()  # as a disk that is not mounted looks
    with pytest.raises(UserError, match="--allow_empty"):
        build(index, nano_untouched, folder)
    assert index.count() == 8
    assert build(index, nano_untouched, folder, allow_empty=True).removed == 8


def test_what_cannot_be_seen_is_not_gone(index: Index, nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    """A cut archive says nothing of the items behind the cut."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(9):
            member = tarfile.TarInfo(f"{number}.txt")
            member.size = 2000
            archive.addfile(member, io.BytesIO(f"text {number} ".ljust(2000).encode()))
    assert build(index, nano_untouched, path).added == 9
    path.write_bytes(path.read_bytes()[:9000])
    report = build(index, nano_untouched, path)
    assert "items after this place are missing" in report.errors["a.tar"]
    assert report.removed == 0
    assert index.count() == 9


def test_a_folder_that_cannot_be_read(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests may run as root, whom no folder refuses; so scandir does."""
    build(index, nano_untouched, folder)
    scandir = os.scandir

    def refusing(path: Path | int) -> Any:
        if not isinstance(path, int) and Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    report = build(index, nano_untouched, folder)
    assert "cannot read this folder" in report.errors["sub/"]
    assert counts(report) == (0, 0, 0, 5, 0)
    assert index.count() == 8


def test_names_of_fields(index: Index, nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    """Letters of any script are letters, and no field takes another one's place."""
    table = tmp_path / "t.jsonl"
    rows = [{"id": 1, "text": "a", "год": 2000, "имя": "x", "Path": "p"}, {"id": 2, "text": "b", "год": 1990}]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert counts(build(index, nano_untouched, table)) == (2, 0, 0, 0, 0)
    assert [field.name for field in index.fields()] == ["год", "имя", "Path"]
    assert index.count(parse_filter("год >= 1995 and имя = x and Path = p")) == 1
    table.write_text('{"id": 1, "text": "a", "a b": 1, "a-b": 2}\n{"id": 2, "text": "b"}\n')
    assert build(index, nano_untouched, table).errors == {}
    assert [field.name for field in index.fields()] == ["a b", "a-b"]
    assert index.count('"a b" = 1 and `a-b` = 2') == 1


def test_a_version_changes_with_the_index(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, picture: Draw
) -> None:
    """As a reader sees it that has opened the index once."""
    reader = Index.open(index.path)
    seen = [reader.version()]

    def changed() -> bool:
        seen.append(reader.version())
        return seen[-1] != seen[-2]

    assert not changed()
    build(index, nano_untouched, folder, make_map=False)
    assert changed()
    assert reader.count() == 8
    assert not changed()
    build(index, nano_untouched, folder)
    assert changed()  # the map
    picture(9).save(folder / "p0.png")  # as many as before
    build(index, nano_untouched, folder, make_map=False)
    assert changed()
    (folder / "metadata.csv").write_text("file_name,artist\np0.png,me\n")
    build(index, nano_untouched, folder, make_map=False)
    assert changed()
    assert reader.refreshed() is reader
    Index(index.path, dataclasses.replace(index.info, settings=Settings(10, 4)), index.store).save()
    assert changed()
    assert reader.refreshed().info.settings == Settings(10, 4)
    shutil.rmtree(index.path / "lance")
    with pytest.raises(UserError, match="gone"):
        reader.version()
    shutil.rmtree(index.path)
    with pytest.raises(UserError, match="gone"):
        reader.version()


def test_more_hits_than_there_are(index: Index, nano_untouched: SentenceTransformer, folder: Path) -> None:
    """LanceDB makes room for all that are asked for; with an approximate index, that ended the process."""
    build(index, nano_untouched, folder, exact_below=1)
    query_D = np.ones(384, np.float32)
    assert len(index.search(query_D, limit=10**9)) == 8
    assert len(index.search(query_D, limit=10**30, offset=3)) == 5
    assert index.search(query_D, limit=5, offset=10**30) == []


def test_rows_of_an_unknown_model_are_refused(index: Index, nano_untouched: SentenceTransformer, folder: Path) -> None:
    build(index, nano_untouched, folder)
    info = index.path / "index.json"
    kept = info.read_text()
    info.unlink()
    with pytest.raises(UserError, match="holds 8 items of an index that is not in"):
        Index.create(index.path, index.info)
    info.write_text(kept)
    shutil.rmtree(index.path / "lance")
    with pytest.raises(UserError, match="gone"):
        Index.open(index.path)


def test_another_model_is_refused(index: Index, nano_untouched: SentenceTransformer, folder: Path) -> None:
    build(index, nano_untouched, folder)
    index.check_model(nano_untouched)
    with pytest.raises(UserError, match="other weights"):
        index.check_model(build_nano(device="cpu", seed=1))
    other = Index(index.path, dataclasses.replace(index.info, dimension=7), index.store)
    with pytest.raises(UserError, match="vectors of 7 dimensions"):
        other.check_model(nano_untouched)
    half = Index(index.path, dataclasses.replace(index.info, dtype="bfloat16"), index.store)
    with pytest.raises(UserError, match=r"weights in bfloat16.*--dtype bfloat16"):
        half.check_model(nano_untouched)
    with pytest.raises(UserError, match="a query of 5 numbers"):
        index.search(np.ones(5, np.float32))
    (index.path / "index.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        Index.open(index.path)
    with pytest.raises(UserError, match="no index here"):
        Index.open(folder)


def test_files_outside_the_folder_are_not_given_out(
    index: Index, nano_untouched: SentenceTransformer, folder: Path, tmp_path: Path, picture: Draw
) -> None:
    build(index, nano_untouched, folder)
    identity = index.find("p0.png")
    assert identity is not None
    assert index.file(identity) == (folder / "p0.png").resolve()
    picture(1).save(tmp_path / "secret.png")
    (folder / "p0.png").unlink()
    (folder / "p0.png").symlink_to(tmp_path / "secret.png")
    assert index.file(identity) is None
    row = index.store.get([identity], vectors=True)[identity]
    index.store.upsert([dataclasses.replace(row, file="../secret.png")])
    assert index.file(identity) is None
    assert index.file("f" * 32) is None


def test_what_a_search_gives(index: Index, nano_untouched: SentenceTransformer, folder: Path, picture: Draw) -> None:
    build(index, nano_untouched, folder)
    text_D = embed_query(nano_untouched, "a red circle on blue")
    image_D = embed_query(nano_untouched, image=folder / "p0.png")
    assert index.search(text_D)[0].path == "note.txt"
    like = index.find("p0.png")
    assert like is not None
    assert like not in [hit.id for hit in index.search(image_D, exclude=[like])]
    ranked = index.search(image_D, limit=8)
    assert index.search(image_D, limit=3, offset=2) == ranked[2:5]
    scores_N = index.scores(image_D)
    np.testing.assert_allclose(np.sort(scores_N)[::-1], [hit.score for hit in ranked], atol=1e-5)
    between_D = embed_query(nano_untouched, "a red circle on blue", image=folder / "p0.png", weight=0.25)
    np.testing.assert_allclose(between_D, combine(text_D, image_D, 0.25), atol=1e-5)
    fused_D = nano_untouched.encode({"image": load_image(folder / "p0.png"), "text": "a red circle on blue"})  # type: ignore[call-overload]
    found_D = embed_query(nano_untouched, "a red circle on blue", image=picture(0))
    np.testing.assert_allclose(found_D, fused_D, atol=1e-5)
    thumbnail = index.thumbnail(like)
    assert thumbnail is not None
    assert load_image(thumbnail).size == (48, 64)
    assert index.thumbnail(index.find("note.txt") or "") is None
    places = index.map()
    assert places is not None
    assert len(places.ids) == 8
    assert np.abs(places.xy_N2).max() == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "nothing to search for"), ({"query": "x", "weight": 0.5}, "between a text and a picture")],
)
def test_what_is_no_query(nano_untouched: SentenceTransformer, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        embed_query(nano_untouched, **options)  # type: ignore[arg-type]
    vector_D = np.asarray([1.0, 0.0], np.float32)
    with pytest.raises(UserError, match="between 0 and 1"):
        combine(vector_D, vector_D, 1.5)
    with pytest.raises(UserError, match="opposites"):
        combine(vector_D, -vector_D, 0.5)


WRITER = """
import sys
import numpy as np
from llave.search.index import Index
from llave.search.store import row_id
from llave.search.store import Row, Settings

index = Index.open(sys.argv[1])
rng = np.random.default_rng(0)
shared = dict(source="s", kind="text", text="", path="", file="", stamp="", digest="")
number = 0
while True:
    rows = []
    for vector_D in rng.normal(size=(40, 8)).astype(np.float32):
        key = str(number)
        vector_D /= np.linalg.norm(vector_D)
        rows.append(Row(id=row_id("s", key), key=key, content=key, vector_D=vector_D, **shared))
        number += 1
    index.store.upsert(rows)
    print(number, flush=True)
    if number % 200 == 0:
        index.store.optimize(exact_below=400, settings=Settings())
        print(number, flush=True)
"""


@pytest.mark.slow
def test_killed_ten_times_while_writing_and_compacting(tmp_path: Path) -> None:
    """What a write had acknowledged is there after kill -9, once; the same writes again double nothing."""
    path = tmp_path / "index"
    Index.create(path, IndexInfo(model="none", fingerprint="none", dimension=8))
    rng = np.random.default_rng(1)
    most = 0
    for _ in range(10):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(int(rng.integers(1, 12))):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:
                acknowledged = int(line) if line.endswith("\n") else acknowledged
        most = max(most, acknowledged)
        keys = Index.open(path).store.column(["key"])["key"]
        assert len(keys) == len(set(keys))
        assert set(map(str, range(most))) <= set(keys)
    assert most > 200  # it was compacted at least once


KILLER = """
import itertools, os, random, signal, sys, time
from pathlib import Path
from llave import load_model

model = load_model("nano", device="cpu")  # once: the runs are forks, which open the index themselves
path, source = Path(sys.argv[1]), Path(sys.argv[2])
chance = random.Random(2)
written, tell = os.pipe()

def run():
    from llave.collection.open import open_collection
    from llave.search import update
    from llave.search.index import Index
    from llave.search.options import BuildOptions
    update.CHUNK = 64
    index = Index.open(path)
    upsert, numbers = index.store.upsert, itertools.count()

    def watched(rows, **said):
        number = next(numbers) if rows else None
        if number == 1:
            os.write(tell, b"1")
        upsert(rows, **said)
        if number == 1:
            signal.pause()  # so that it cannot end before it is killed

    index.store.upsert = watched
    quiet = BuildOptions(progress=False, make_map=False)
    update.update_index(index, model, open_collection(source), source, quiet)

for _ in range(10):
    child = os.fork()
    if child == 0:
        run()
        os._exit(1)
    os.read(written, 1)  # one part is there, the next one is being written, or has been
    time.sleep(chance.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("killed", flush=True)
"""


@pytest.mark.slow
def test_killed_ten_times_while_indexing(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    """A run that was killed goes on, and ends with what an undisturbed one has."""
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"id": n, "text": f"text number {n}"}) + "\n" for n in range(3000)))
    whole, killed = (Index.create(tmp_path / name, index_info(nano_untouched, "nano")) for name in ("whole", "killed"))
    build(whole, nano_untouched, source, make_map=False)
    command = [sys.executable, "-c", KILLER, str(killed.path), str(source)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    assert run.stdout.split() == ["killed"] * 10
    done = Index.open(killed.path).count()
    assert done >= 10 * 64
    report = build(killed, nano_untouched, source, make_map=False)
    assert report.added == 3000 - done
    ids, vector_ND = whole.store.vectors(limit=None)
    again, other_ND = killed.store.vectors(limit=None)
    assert ids == again
    np.testing.assert_allclose(vector_ND, other_ND, atol=1e-5)
