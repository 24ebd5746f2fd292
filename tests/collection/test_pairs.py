"""Training pairs of archives, whose pictures are read where they lie."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from llave.cli.main import main
from llave.collection.pairs import write_pairs
from llave.data.archived import archived
from llave.data.sources import find_source
from llave.data.train_table import open_table
from llave.data.training_pictures import load_picture
from llave.errors import DataError, UserError
from llave.storage.location import Location, ObjectPath
from tests.storage.server import Fault, new_bucket, running


@pytest.fixture(params=["disk", "s3", "az"])
def shards(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    if request.param == "disk":
        (tmp_path / "shards").mkdir()
        yield tmp_path / "shards"
        return
    with new_bucket(request.param) as made:
        yield ObjectPath.parse(f"{made}/of us/shards")


@pytest.fixture
def fill(picture: Callable[[int], Image.Image]) -> Callable[[Location], None]:
    def png(seed: int) -> bytes:
        file = io.BytesIO()
        picture(seed).save(file, "PNG")
        return file.getvalue()

    def put(place: Location) -> None:
        first = {
            "0001.png": png(1), "0001.txt": b"one",
            "0002.json": b'{"caption": "two", "width": 4}', "0002.PNG": png(2),
            "0003.png": png(3),  # says nothing
            "0004.txt": b"shows nothing",
            "0005.png": png(1), "0005.txt": b"one, too",
        }  # fmt: skip
        second = {"a/0001.jpg": png(6), "a/0001.txt": "sechs, ä".encode(), "b.json": b"{", "b.png": png(7)}
        for name, members in (("part-0.tar", first), ("part-1.tar", second)):
            (place / name).write_bytes(_tar(members))

    return put


def _tar(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, each in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(each)
            archive.addfile(about, io.BytesIO(each))
    return content.getvalue()


def test_every_picture_with_a_text(
    shards: Location, fill: Callable[[Location], None], picture: Callable[[int], Image.Image], tmp_path: Path
) -> None:
    fill(shards)
    out = tmp_path / "data"
    found = write_pairs(f"{shards}/part-*.tar", out, progress=False)
    assert (found.images, found.archives, found.pairs, found.left_out, found.errors) == (str(shards), 2, 4, 2, 1)
    assert [json.loads(line)["key"] for line in (out / "errors.jsonl").read_text().splitlines()] == ["part-1/b"]
    source = find_source(out, "pairs_t2i", images=str(shards))
    table = open_table(source, cache=tmp_path / "cache", progress=False)
    texts = [row.query.text for row in table]
    assert texts == ["one", "two", "one, too", "sechs, ä"]
    for row, seed in zip(table, (1, 2, 1, 6), strict=True):
        place = table.picture(row.positive)
        assert place is not None
        assert load_picture(place).tobytes() == picture(seed).convert("RGB").tobytes()
    targets = table.ids()[:, 1].tolist()
    assert targets[0] == targets[2], "one picture in two places is one"
    assert len(set(targets)) == 3
    other = open_table(find_source(out, "pairs_i2t", images=str(shards)), cache=tmp_path / "cache", progress=False)
    assert [row.positive.text for row in other] == texts
    assert [row.query.image for row in other] == [row.positive.image for row in table]
    usable, skipped = table.usable(verify_pictures=True)
    assert (len(usable), skipped) == (4, [])
    with pytest.raises(UserError, match="are read by training alone"):
        table.image(table[0].positive)


def test_an_archive_that_is_another_by_now(
    shards: Location, fill: Callable[[Location], None], tmp_path: Path, picture: Callable[[int], Image.Image]
) -> None:
    fill(shards)
    out = tmp_path / "data"
    write_pairs(f"{shards}/part-*.tar", out, progress=False)
    table = open_table(find_source(out, "pairs_t2i", images=str(shards)), cache=tmp_path / "cache", progress=False)
    places = [place for row in table if (place := table.picture(row.positive)) is not None]
    (shards / "part-0.tar").write_bytes(_tar({"other.txt": b"x" * 100_000}))
    with pytest.raises(DataError, match=r"part-0.tar: has another content than when its pairs were listed"):
        load_picture(places[0])
    usable, skipped = table.usable(verify_pictures=True)
    assert (len(usable), len(skipped)) == (1, 3)
    (shards / "part-0.tar").unlink()
    with pytest.raises(DataError, match=r"part-0.tar: cannot read"):
        load_picture(places[0])
    found = write_pairs(f"{shards}/part-*.tar", out, progress=False)
    assert (found.archives, found.pairs) == (1, 1), "what is not there any more is not listed"
    assert len(list((out / "archives").iterdir())) == 1


def test_the_same_command_goes_on(fill: Callable[[Location], None], tmp_path: Path) -> None:
    with new_bucket() as made:
        shards = ObjectPath.parse(made)
        fill(shards)
        pattern, out = f"{shards}/part-*.tar", tmp_path / "data"
        running().faults.append(Fault("denied", method="GET", part="part-1.tar"))
        with pytest.raises(UserError, match=r"part-1.tar: access denied"):
            write_pairs(pattern, out, progress=False)
        running().faults.clear()
        running().requests.clear()
        assert write_pairs(pattern, out, progress=False).pairs == 4
        read = [path for method, path in running().requests if method == "GET" and path.endswith(".tar")]
        assert read, "the second one"
        assert not any(path.endswith("part-0.tar") for path in read)
        running().requests.clear()
        assert write_pairs(pattern, out, progress=False).pairs == 4
        assert not any(path.endswith(".tar") for method, path in running().requests if method == "GET")


def test_the_command(fill: Callable[[Location], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shards").mkdir()
    fill(tmp_path / "shards")
    words = ["data", "pairs", str(tmp_path / "shards" / "part-*.tar"), str(tmp_path / "data")]
    assert main([*words, "--name", "web"]) == 0
    told = capsys.readouterr()
    assert "4 pairs from 2 archives; 2 items without a picture or a text" in told.out
    assert f"--images {tmp_path / 'shards'}" in told.out
    assert "1 items could not be read" in told.err
    assert pq.read_table(tmp_path / "data" / "train" / "web_t2i.parquet").num_rows == 4
    for wrong, said in ((str(tmp_path / "none-*.tar"), "no such archive"), (str(tmp_path), "not a .tar archive")):
        assert main(["data", "pairs", wrong, str(tmp_path / "other")]) == 2
        assert said in capsys.readouterr().err
    assert main([*words, "--name", "../x"]) == 2
    assert "letters, digits" in capsys.readouterr().err
    (tmp_path / "empty.tar").write_bytes(_tar({"a.txt": b"only a text"}))
    assert main(["data", "pairs", str(tmp_path / "empty.tar"), str(tmp_path / "other")]) == 2
    assert "no picture with a text" in capsys.readouterr().err


def test_names() -> None:
    assert archived(Path("a/part.tar")) is None
    assert archived(Path("a/part.tar#bytes=1-2")) is None
    found = archived(ObjectPath("bucket", "a/part.TAR#bytes=10-20&sha256=0123456789abcdef", "gs"))
    assert found is not None
    assert (str(found.archive), found.first, found.last) == ("gs://bucket/a/part.TAR", 10, 20)
    assert str(found).startswith("gs://bucket/a/part.TAR#bytes=10-20&")
    large = archived(Path("part.tar#bytes=0-999999999999&sha256=0123456789abcdef"))
    assert large is not None
    with pytest.raises(DataError, match="more than"):
        large.read()
