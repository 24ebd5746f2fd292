"""`llave data download`: from a real HTTP server with the hub's addresses, from a folder, and from nowhere."""

import hashlib
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from llave.cli.main import main
from llave.data.download import download_mmeb_train
from llave.data.hub import FolderFiles, HubFiles
from llave.data.mmeb_train import REPOSITORY, TASKS, check_subsets
from llave.data.sources import find_source
from llave.data.train_table import open_table
from llave.data.unzip import unpack
from llave.errors import DataError, UserError
from tests.shapes import SHAPES, draw

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def make_snapshot(root: Path) -> Path:
    """Two data sets as the hub lays them out; one shares the other's pictures."""
    names = [f"MSCOCO/Train/{shape}.png" for shape in SHAPES]
    rows = [
        {"qry": f"Find: {name}", "qry_image_path": "", "pos_text": "<|image_1|>", "pos_image_path": f"images/{name}"}
        for name in names
    ]
    for subset in ("MSCOCO_t2i", "MSCOCO"):
        (root / subset).mkdir(parents=True)
        for split in ("original", "diverse_instruction", "train"):
            pq.write_table(pa.Table.from_pylist(rows), root / subset / f"{split}-00000-of-00001.parquet")
    (root / "images_zip").mkdir()
    with zipfile.ZipFile(root / "images_zip" / "MSCOCO.zip", "w") as archive:
        for name, shape in zip(names, SHAPES, strict=True):
            buffer = io.BytesIO()
            draw("red", shape).save(buffer, "png")
            archive.writestr(name, buffer.getvalue())
    return root


class Hub(http.server.BaseHTTPRequestHandler):
    """The three addresses of the hub that a download uses."""

    root: Path
    asked: list[str]
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        path = self.path.split("?")[0]
        if path.startswith(f"/api/datasets/{REPOSITORY}"):
            self._send(json.dumps(self._info()).encode(), {"Content-Type": "application/json"})
        elif path.startswith(f"/datasets/{REPOSITORY}/resolve/{COMMIT}/"):
            content = (self.root / path.split(f"{COMMIT}/")[1]).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            self._send(content, {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})
        else:
            self.send_error(404)

    def _info(self) -> dict[str, Any]:
        files = sorted(path for path in self.root.rglob("*") if path.is_file())
        siblings = [
            {
                "rfilename": path.relative_to(self.root).as_posix(),
                "size": path.stat().st_size,
                "lfs": {
                    "size": path.stat().st_size,
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                    "pointerSize": 130,
                },
            }
            for path in files
        ]
        return {"id": REPOSITORY, "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0}

    def _send(self, content: bytes, headers: dict[str, str]) -> None:
        start = 0
        if "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[start:])


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    root = make_snapshot(tmp_path / "hub")
    asked: list[str] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (Hub,), {"root": root, "asked": asked}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", root, asked
    server.shutdown()
    server.server_close()
    thread.join()


QUIET = Console(quiet=True)


def test_from_the_hub_only_what_is_wanted_and_only_once(hub: tuple[str, Path, list[str]], tmp_path: Path) -> None:
    endpoint, _, asked = hub
    out = tmp_path / "out"
    files = HubFiles(REPOSITORY, endpoint=endpoint)
    (found,) = download_mmeb_train(out, files, subsets=["MSCOCO_t2i"], console=QUIET)
    assert (found.rows, found.pictures, found.missing) == (4, 4, 0)
    assert not (out / "MSCOCO").exists()
    assert not list(out.glob("*/diverse*"))
    table = open_table(find_source(out, "MSCOCO_t2i"))
    path = table.image(table[0].positive)
    assert path is not None
    assert path.is_file()
    got = [line for line in asked if line.startswith("GET /datasets")]
    assert len(got) == 2
    download_mmeb_train(out, HubFiles(REPOSITORY, endpoint=endpoint), subsets=["MSCOCO_t2i"], console=QUIET)
    assert [line for line in asked if line.startswith("GET /datasets")] == got
    (out / "images_zip" / "MSCOCO.zip").unlink()  # unpacked already: not fetched for the second data set either
    download_mmeb_train(
        out, HubFiles(REPOSITORY, endpoint=endpoint), console=QUIET, subsets=["MSCOCO"], split="diverse_instruction"
    )
    assert len([line for line in asked if line.startswith("GET /datasets")]) == 3


def test_content_that_is_not_what_the_hub_states(hub: tuple[str, Path, list[str]], tmp_path: Path) -> None:
    endpoint, root, _ = hub
    files = HubFiles(REPOSITORY, endpoint=endpoint)
    path = root / "MSCOCO" / "original-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match=r"original-00000-of-00001\.parquet: not the content that the hub states"):
        download_mmeb_train(tmp_path / "out", files, subsets=["MSCOCO"], console=QUIET)


def test_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot fetch TIGER-Lab/MMEB-train .*--source DIR") as error:
        HubFiles(REPOSITORY, endpoint="http://127.0.0.1:9")
    assert "\n" not in str(error.value)


def test_from_a_copy(tmp_path: Path) -> None:
    root = make_snapshot(tmp_path / "copy")
    for _ in range(2):
        found = download_mmeb_train(
            tmp_path / "out", FolderFiles(root), subsets=["MSCOCO", "MSCOCO_t2i", "MSCOCO"], console=QUIET
        )
        assert [(subset.name, subset.missing) for subset in found] == [("MSCOCO", 0), ("MSCOCO_t2i", 0)]
    assert not (tmp_path / "out" / "images_zip").exists()
    with pytest.raises(UserError, match=r"has no VisDial/original-\*\.parquet"):
        download_mmeb_train(tmp_path / "out", FolderFiles(root), console=QUIET, subsets=["VisDial"])
    (root / "images_zip" / "MSCOCO.zip").unlink()
    with pytest.raises(UserError, match=r"MSCOCO: its pictures should be in images_zip/MSCOCO\.zip"):
        download_mmeb_train(tmp_path / "new", FolderFiles(root), subsets=["MSCOCO"], console=QUIET)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_snapshot(tmp_path / "copy")
    words = ["data", "download", "mmeb-train", "--out", str(tmp_path / "out"), "--source", str(root)]
    assert main([*words, "--subsets", "MSCOCO,MSCOCO_t2i"]) == 0
    out = capsys.readouterr().out
    assert out == "MSCOCO: 4 rows, 4 pictures\nMSCOCO_t2i: 4 rows, 4 pictures\n"
    assert main([*words, "--subsets", "MSCOCO_t2l"]) == 2
    assert "did you mean 'MSCOCO_t2i'" in capsys.readouterr().err


def test_names() -> None:
    assert len(TASKS) == len({task.name for task in TASKS}) == 20
    assert check_subsets(["CIRR", "CIRR"]) == ["CIRR"]
    with pytest.raises(UserError, match="no data set 'ImageNet-1k', did you mean 'ImageNet_1K'"):
        check_subsets(["ImageNet-1k"])


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        ("../outside.png", 0, "leads out of the folder"),
        ("/etc/outside.png", 0, "leads out of the folder"),
        ("a\\..\\b.png", 0, "leads out of the folder"),
        ("link.png", 0o120777, "is a link"),
        ("large.png", 0, "bytes, over 100"),
        ("many.png", 0, "over the limit of 50"),
    ],
)
def test_zip_files_that_are_refused(tmp_path: Path, name: str, mode: int, message: str) -> None:
    content = b"x" * (200 if name == "large.png" else 60)
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, content)
    limit = 50 if name == "many.png" else 1000
    with pytest.raises(DataError, match=message):
        unpack(tmp_path / "a.zip", tmp_path / "out", max_file_bytes=100, max_total_bytes=limit)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "outside.png").exists()


def test_a_damaged_zip_file_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/b.txt", b"hello" * 50)
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace(b"hello", b"hellO", 1))
    with pytest.raises(DataError, match=r"a\.zip: cannot unpack"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out" / "a" / "b.txt").exists()
