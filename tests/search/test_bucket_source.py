"""An index of what is in object storage: brought up to date by its listing, and its files given out from there."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave import Index, build_index
from llave.cli.main import main
from llave.data import fetched
from llave.errors import UserError
from llave.search.manage import list_sources, move_source, remove_source
from llave.search.options import BuildOptions
from llave.search.sources import read_sources
from llave.search.trust import Withheld
from llave.search.upgrade import allowed_roots
from llave.serving.app import AppOptions
from llave.storage.location import ObjectPath
from tests.search.things import rows
from tests.serving.running import running as serving
from tests.storage.server import Fault, new_bucket, running

QUIET = BuildOptions(progress=False, weigh=False, make_map=False)


@pytest.fixture(params=["s3", "gs", "az"])
def bucket(request: pytest.FixtureRequest) -> Iterator[ObjectPath]:
    with new_bucket(request.param) as made:
        yield ObjectPath.parse(made)


@pytest.fixture
def s3() -> Iterator[ObjectPath]:
    with new_bucket() as made:
        yield ObjectPath.parse(made)


@pytest.fixture
def photos(tmp_path: Path, picture: Callable[[int], Image.Image]) -> Path:
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    for number in range(4):
        picture(number).save(folder / "trip" / f"{number}.png")
    picture(7).save(folder / "scan.tif", save_all=True, append_images=[picture(8)])
    (folder / "note.txt").write_text("a red umbrella in the snow")
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "film.xyz").write_bytes(b"?")
    (folder / "metadata.jsonl").write_text('{"file_name": "trip/0.png", "year": 2020, "text": "a caption"}\n')
    return folder


def _upload(folder: Path, there: ObjectPath) -> None:
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        (there / file.relative_to(folder).as_posix()).write_bytes(file.read_bytes())


def _contents(index: Index) -> dict[str, object]:
    return {row.key: (row.kind, row.text, row.content, row.fields, row.file) for row in rows(index).values()}


def _reads() -> list[str]:
    """Names of the pictures and notes whose content was asked for since the last time."""
    asked = [path.rpartition("/")[2] for method, path in running().requests if method == "GET"]
    running().requests.clear()
    return sorted(name for name in asked if name.endswith((".png", ".txt", ".tif")))


def test_as_one_of_a_folder(
    bucket: ObjectPath, photos: Path, tmp_path: Path, nano_untouched: SentenceTransformer
) -> None:
    source = bucket / "of us"
    _upload(photos, source)
    index, report = build_index(tmp_path / "index", nano_untouched, source, options=QUIET)
    here, expected = build_index(tmp_path / "here", nano_untouched, photos, options=QUIET)
    assert _contents(index) == _contents(here)
    assert (report.added, report.left_out) == (7, {".xyz": 1}) == (expected.added, expected.left_out)
    assert list(report.errors) == ["bad.png"]
    assert f"{source}/bad.png" in report.errors["bad.png"]
    assert str(tmp_path) not in report.errors["bad.png"], "nobody looks for it in a folder that is gone"
    assert [state.missing for state in list_sources(index)] == [0]
    row_id = index.find("trip/1.png")
    assert row_id is not None
    file = index.file(row_id)
    assert file is not None
    assert file.read_bytes() == (photos / "trip" / "1.png").read_bytes()

    (source / "trip/1.png").unlink()
    _, report = build_index(tmp_path / "index", nano_untouched, source, options=QUIET)
    assert (report.removed, report.unchanged, report.added, report.known) == (1, 6, 0, ["bad.png"])
    assert index.refreshed().file(row_id) is None


def test_what_is_as_before_is_not_fetched(
    s3: ObjectPath,
    photos: Path,
    tmp_path: Path,
    nano_untouched: SentenceTransformer,
    picture: Callable[[int], Image.Image],
) -> None:
    source = s3 / "photos"
    _upload(photos, source)
    index, _ = build_index(tmp_path / "index", nano_untouched, source, options=QUIET)
    _reads()
    _, report = build_index(tmp_path / "index", nano_untouched, source, options=QUIET)
    assert (report.unchanged, report.known) == (7, ["bad.png"])
    assert _reads() == ["scan.tif"], "whose pages are counted"

    picture(20).save(photos / "trip" / "2.png")
    (source / "trip/2.png").write_bytes((photos / "trip" / "2.png").read_bytes())
    (source / "metadata.jsonl").write_bytes(b'{"file_name": "trip/3.png", "year": 1999}\n')
    before = _contents(index)
    index, report = build_index(tmp_path / "index", nano_untouched, source, options=QUIET)
    assert _reads() == ["0.png", "2.png", "3.png", "scan.tif"]
    assert (report.changed, report.refreshed, report.unchanged) == (2, 1, 4), "one lost its caption, one is another"
    after = _contents(index)
    assert {key for key in after if before[key] != after[key]} == {"trip/0.png", "trip/2.png", "trip/3.png"}
    here, _ = build_index(tmp_path / "here", nano_untouched, photos, options=QUIET)
    assert after["trip/2.png"][2] == _contents(here)["trip/2.png"][2]  # type: ignore[index]

    _, report = build_index(
        tmp_path / "index", nano_untouched, source, options=BuildOptions(progress=False, check_content=True)
    )
    assert report.unchanged == 7
    assert len(_reads()) == 7


def test_an_object_costs_itself_and_an_outage_the_run(
    s3: ObjectPath, photos: Path, tmp_path: Path, nano_untouched: SentenceTransformer
) -> None:
    source = s3 / "photos"
    _upload(photos, source)
    denied = Fault("denied", part="trip/3.png")
    running().faults.append(denied)
    index, report = build_index(tmp_path / "index", nano_untouched, source, options=QUIET)
    assert report.added == 6
    assert "access denied" in report.errors["trip/3.png"]
    running().faults[:] = [Fault("denied")]
    with pytest.raises(UserError, match="access denied"):
        build_index(tmp_path / "index", nano_untouched, source, options=QUIET)
    running().faults.clear()
    assert index.refreshed().count() == 6
    _, report = build_index(tmp_path / "index", nano_untouched, source, options=QUIET)
    assert (report.added, report.unchanged) == (1, 6)


def test_its_files_are_given_out_to_whom_indexed_it(
    s3: ObjectPath,
    photos: Path,
    tmp_path: Path,
    nano_untouched: SentenceTransformer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = s3 / "photos"
    _upload(photos, source)
    (s3 / "secret.png").write_bytes((photos / "trip" / "0.png").read_bytes())
    address = str(s3 / "of us.index")
    index, _ = build_index(address, nano_untouched, source, options=QUIET)
    row_id = index.find("trip/2.png")
    assert row_id is not None
    monkeypatch.setenv("LLAVE_HOME", str(tmp_path / "of another machine"))
    other = Index.open(address)
    assert other.withheld() == [str(source)]
    _reads()
    running().requests.clear()
    assert [(state.there, state.missing) for state in list_sources(other)] == [(True, 0)]
    with pytest.raises(UserError, match="you have not indexed it on this machine"):
        allowed_roots(other, read_sources(other).values(), ())
    asked = [path for _, path in running().requests if "/photos" in path and ".index" not in path]
    assert asked == [], "a place that only an index names is not asked"
    with pytest.raises(Withheld):
        other.file(row_id)
    allowed = Index.open(address, allow_sources=[str(s3)])
    assert allowed.withheld() == []
    file = allowed.file(row_id)
    assert file is not None
    assert file.suffix == ".png"
    row = allowed.store.get([row_id])[row_id]
    assert allowed.item(row).file == file
    _reads()
    assert allowed.file(row_id) == file
    assert _reads() == [], "it is here"
    monkeypatch.setattr(fetched, "MOST_BYTES", max(each.stat().st_size for each in (photos / "trip").iterdir()))
    ids = [found for name in ("trip/0.png", "trip/3.png") if (found := allowed.find(name)) is not None]
    for each in ids:
        assert allowed.file(each) is not None
    assert not file.exists(), "those that were used last are kept"
    assert len(list(file.parent.iterdir())) == 1


def test_a_server_gives_them_out_and_says_where_the_bucket_is_gone(
    s3: ObjectPath, photos: Path, tmp_path: Path, nano_untouched: SentenceTransformer
) -> None:
    _upload(photos, s3 / "photos")
    index, _ = build_index(tmp_path / "index", nano_untouched, s3 / "photos", options=QUIET)
    ids = {key: index.find(key) for key in ("trip/1.png", "trip/2.png", "note.txt")}
    with serving(nano_untouched, AppOptions(index=index)) as server:
        found = server.client.get(f"/v1/items/{ids['trip/1.png']}").json()
        answer = server.client.get(found["content"])
        assert answer.content == (photos / "trip" / "1.png").read_bytes()
        assert "immutable" in answer.headers["cache-control"], "it is the one that was indexed"
        assert server.client.get(f"/v1/items/{ids['note.txt']}/content").status_code == 404
        running().faults.append(Fault("denied"))
        answer = server.client.get(f"/v1/items/{ids['trip/2.png']}/content")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "source_unavailable")
        answer = server.client.post("/v1/export", json={"ids": [ids["trip/2.png"]], "format": "zip"})
        assert answer.status_code == 404
        running().faults.clear()
        answer = server.client.post("/v1/export", json={"ids": [ids["trip/2.png"]], "format": "zip"})
        assert answer.status_code == 200


def test_a_bucket_that_is_away_ends_no_run_on_another_source(
    s3: ObjectPath, photos: Path, tmp_path: Path, nano_untouched: SentenceTransformer
) -> None:
    _upload(photos, s3 / "photos")
    build_index(tmp_path / "index", nano_untouched, s3 / "photos", options=QUIET)
    running().faults.append(Fault("denied"))
    index, report = build_index(tmp_path / "index", nano_untouched, photos, options=QUIET)
    assert (report.added, index.count()) == (7, 14), "what is away is not taken for what has moved"


def test_moved_from_a_disk_to_a_bucket(
    s3: ObjectPath, photos: Path, tmp_path: Path, nano_untouched: SentenceTransformer
) -> None:
    source = s3 / "photos"
    index, _ = build_index(tmp_path / "index", nano_untouched, photos, options=QUIET)
    ids = set(rows(index))
    with pytest.raises(UserError, match="photos: nothing there; name the path"):
        move_source(index, photos, source)
    _upload(photos, source)
    assert move_source(index, photos, source) == 7
    assert [state.path for state in list_sources(index)] == [str(source)]
    shutil.rmtree(photos)
    _, report = build_index(tmp_path / "index", nano_untouched, source, options=QUIET)
    assert (report.added, report.changed, report.removed) == (0, 0, 0), "nothing is embedded again"
    index = index.refreshed()
    assert set(rows(index)) == ids
    assert remove_source(index, source) == 7


def test_tables_and_archives(s3: ObjectPath, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "things.jsonl").write_text(
        '{"id": "a", "image": "trip/0.png", "year": 1}\n{"id": "b", "text": "a red umbrella"}\n'
        '{"id": "c", "image": "trip/none.png"}\n'
    )
    _upload(photos, s3 / "photos")
    index = str(tmp_path / "index")
    words = ["--index", index, "--weigh", "false", "--map", "false"]
    assert main(["index", "nano", f"{s3}/photos/things.jsonl", *words]) == 1
    said = capsys.readouterr()
    assert "2 added" in said.out
    assert f"{s3}/photos/trip/none.png" in said.err
    assert main(["index", "nano", f"{s3}/photos/things.jsonl", *words]) == 0
    assert "2 unchanged" in capsys.readouterr().out
    found = Index.open(index)
    assert found.file(found.find("a") or "") is not None
    assert main(["index", "sources", index, "--json"]) == 0
    assert f"{s3}/photos/things.jsonl" in capsys.readouterr().out
    shutil.make_archive(str(tmp_path / "part-0"), "tar", photos / "trip")
    (s3 / "tars/part-0.tar").write_bytes((tmp_path / "part-0.tar").read_bytes())
    assert main(["index", "nano", f"{s3}/tars/part-*.tar", *words]) == 0
    assert Index.open(index).count() == 6
