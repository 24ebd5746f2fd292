"""MMEB where `hf download` leaves it: the hub's cache with its links, a folder of one's own, tables or JSON."""

import json
import socket
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.cli.leftovers import failure_lines
from llave.cli.main import main
from llave.errors import DataError
from llave.evaluation.benchmarks import get_benchmark, get_spec
from llave.evaluation.benchmarks.label_lists import read_labels, shipped_labels
from llave.evaluation.benchmarks.places import Place
from llave.evaluation.benchmarks.task import Unsupported
from llave.evaluation.runner import evaluate

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WORDS = ("red", "green", "blue")
Commit = Callable[[str, dict[str, Any]], Path]


def image_rows(folder: str = "") -> list[dict[str, Any]]:
    """A picture of one colour and the names of all."""
    return [
        {
            "qry_text": "<|image_1|>\nWhich colour is it?\n",
            "qry_img_path": f"{folder}{word}.png",
            "tgt_text": [word, *(other for other in WORDS if other != word)],
            "tgt_img_path": [""] * 3,
        }
        for word in WORDS
    ]


def write(path: Path, content: Any) -> None:
    """Rows as a table of the path's format; bytes as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(content), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(content))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in content))


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commit:
    """Puts files into a cache of the hub, as links to blobs; there is no network, and llave's own cache is empty."""
    cache = tmp_path / "home" / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("LLAVE_CACHE", str(tmp_path / "llave"))
    for name in ("LLAVE_MMEB", "LLAVE_MMEB_V2", "LLAVE_MMEB_V3"):
        monkeypatch.delenv(name, raising=False)

    def no_network(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", no_network)

    def put(repository: str, files: dict[str, Any]) -> Path:
        home = cache / f"datasets--{repository.replace('/', '--')}"
        for number, (name, content) in enumerate(files.items()):
            blob = home / "blobs" / f"{number}{Path(name).suffix}"
            write(blob, content)
            blob = blob.rename(blob.with_suffix(""))
            link = home / "snapshots" / COMMIT / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(*[".."] * (2 + name.count("/")), "blobs", blob.name))
        (home / "refs").mkdir(exist_ok=True)
        (home / "refs" / "main").write_text(COMMIT)
        return home / "snapshots" / COMMIT

    return put


def pictures(path: Path, inside: str = "") -> bytes:
    """A zip with a picture of each colour."""
    with zipfile.ZipFile(path, "w") as archive:
        for word in WORDS:
            Image.new("RGB", (32, 32), word).save(path.with_suffix(".png"))
            archive.write(path.with_suffix(".png"), f"{inside}{word}.png")
    return path.read_bytes()


@pytest.fixture
def mmeb(commit: Commit, tmp_path: Path) -> Path:
    """Two data sets of TIGER-Lab/MMEB-eval in the cache."""
    files = {
        "ImageNet-1K/test-00000-of-00001.parquet": image_rows("c/"),
        "CIRR/test-00000-of-00001.parquet": image_rows("c/"),
        "images.zip": pictures(tmp_path / "p.zip", "c/"),
    }
    return commit("TIGER-Lab/MMEB-eval", files)


@pytest.mark.usefixtures("mmeb")
def test_without_a_folder_the_hubs_cache_is_read(nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    found = evaluate(nano_untouched, get_benchmark("mmeb", tasks="classification"), progress=False)
    result = found.to_json()
    assert result["datasets"]["ImageNet-1K"]["queries"] == 3
    assert result["revisions"] == {"TIGER-Lab/MMEB-eval": COMMIT}
    assert {name: why["kind"] for name, why in result["failed"].items()}["ImageNet-A"] == "absent"
    (line,) = failure_lines(found.failed)
    assert line.startswith("no score for 9 data sets (not there): N24News, ")
    assert "the first: N24News: no N24News.parquet in " in line
    unpacked = tmp_path / "llave" / "benchmarks" / "mmeb" / COMMIT / "images" / "c" / "red.png"
    assert unpacked.is_file()
    before = unpacked.stat().st_mtime_ns
    rows = get_benchmark("mmeb", tasks="CIRR").tasks[0].rows()
    assert [candidate.text for candidate in rows[0].candidates] == list(WORDS)
    assert unpacked.stat().st_mtime_ns == before  # not unpacked again


def test_the_cache_by_name_and_as_a_source(mmeb: Path, tmp_path: Path) -> None:
    home = mmeb.parents[1]
    for root in (mmeb, home, home.parent, home.parent.parent):
        (task,) = get_benchmark("mmeb", root=root, tasks="CIRR").tasks
        assert len(task.rows()) == 3
    arguments = ["--out", str(tmp_path / "out"), "--source", str(home.parent), "--tasks", "CIRR,ImageNet-1K"]
    assert main(["data", "download", "mmeb", *arguments]) == 0
    assert len(get_benchmark("mmeb", root=tmp_path / "out", tasks="CIRR").tasks[0].rows()) == 3


@pytest.mark.parametrize(
    ("table", "media"),
    [
        ("{}/test-00000-of-00001.parquet", "images"),
        ("data/{}-test.jsonl", "eval_images"),
        ("{}.json", "images"),
        ("TIGER-Lab/MMEB-eval/{}/test-00000-of-00001.parquet", "eval_images"),
    ],
)
@pytest.mark.usefixtures("commit")
def test_folders_of_ones_own(table: str, media: str, tmp_path: Path) -> None:
    root = tmp_path / "local"
    for name in ("MSCOCO", "MSCOCO_t2i"):
        write(root / table.format(name), image_rows()[: 1 + (name == "MSCOCO")])
    with pytest.raises(DataError, match=r"no image files at .*images; get it with"):
        get_benchmark("mmeb", root=root, tasks="MSCOCO")
    (root / media).mkdir()
    (task,) = get_benchmark("mmeb", root=root, tasks="MSCOCO").tasks
    rows = task.rows()
    assert len(rows) == 2
    assert task.folder.image(rows[0].query) == root / media / "red.png"


@pytest.mark.usefixtures("commit")
def test_an_archive_in_a_folder_of_ones_own_is_unpacked_there(tmp_path: Path) -> None:
    root = tmp_path / "local"
    write(root / "CIRR" / "test-00000-of-00001.parquet", image_rows("c/"))
    about = root / ".cache" / "huggingface" / "download" / "CIRR"
    about.mkdir(parents=True)
    (about / "test-00000-of-00001.parquet.metadata").write_text(f"{COMMIT}\n1\n2\n")
    write(root / "images.zip", pictures(tmp_path / "p.zip", "c/"))
    benchmark = get_benchmark("mmeb", root=root, tasks="CIRR")
    assert len(benchmark.tasks[0].rows()) == 3
    assert (root / "images" / "c" / "blue.png").is_file()
    assert benchmark.revisions == {"TIGER-Lab/MMEB-eval": COMMIT}
    (root / "CIRR").rename(root / "eval")  # as `llave data download` lays it out
    (root / "eval" / "test-00000-of-00001.parquet").rename(root / "eval" / "CIRR.parquet")
    assert get_benchmark("mmeb", root=root, tasks="CIRR").revisions == {"TIGER-Lab/MMEB-eval": COMMIT}


def test_v2_with_rows_of_many_repositories_in_the_cache(
    commit: Commit, nano_untouched: SentenceTransformer, tmp_path: Path
) -> None:
    Image.new("RGB", (16, 16), "red").save(tmp_path / "page.png")
    page = {"bytes": (tmp_path / "page.png").read_bytes(), "path": None}
    tables = {
        "queries/test-00000-of-00001.parquet": [{"query-id": 1, "query": "what is red?"}],
        "corpus/test-00000-of-00001.parquet": [{"corpus-id": 7, "image": page}],
        "qrels/test-00000-of-00001.parquet": [{"query-id": 1, "corpus-id": 7, "score": 1}],
    }
    commit("vidore/docvqa_test_subsampled_beir", tables)
    commit(
        "ziyjiang/MMEB_Test_Instruct",
        {"CIRR/test-00000-of-00001.parquet": [{**row, "qry_inst": "", "tgt_inst": ""} for row in image_rows()]},
    )
    benchmark = get_benchmark("mmeb-v2", tasks="ViDoRe_docvqa,CIRR,K700")
    result = evaluate(nano_untouched, benchmark, progress=False)
    assert list(result.tasks) == ["ViDoRe_docvqa"]
    assert (result.failed["CIRR"].kind, result.failed["K700"].kind) == ("absent", "absent")
    assert "no image files at" in result.failed["CIRR"].reason  # nobody downloaded the bundle with the pictures
    frames = tmp_path / "frames.tar.gz"
    with tarfile.open(frames, "w:gz") as archive:
        archive.add(tmp_path / "page.png", "MMEB/red.png")
    commit("TIGER-Lab/MMEB-V2", {"image-tasks/mmeb_v1.tar.gz": frames.read_bytes()})
    (task,) = get_benchmark("mmeb-v2", tasks="CIRR").tasks
    image = task.folder.image(task.rows()[0].query)
    assert image is not None
    assert image.is_file()
    assert str(tmp_path / "llave") in str(image)


def test_nothing_anywhere_says_what_was_looked_for(commit: Commit) -> None:
    with pytest.raises(DataError, match="TIGER-Lab/MMEB-eval is not in the hub's cache; get it with `llave data"):
        get_benchmark("mmeb")
    commit("TIGER-Lab/MMEB-eval", {"README.md": b"nothing"})
    with pytest.raises(DataError, match=r"ImageNet-1K: no ImageNet-1K.parquet in .* \(and 35 more of 36"):
        get_benchmark("mmeb")


# ---- label lists


@pytest.mark.parametrize(
    ("name", "count", "one"),
    [
        ("K700", 700, "zumba"),
        ("SmthSmthV2", 174, "Wiping something off of something"),
        ("HMDB51", 51, "flic_flac"),
        ("UCF101", 101, "YoYo"),
        ("Breakfast", 10, "scrambledegg"),
    ],
)
def test_label_lists_come_with_llave(name: str, count: int, one: str) -> None:
    path = shipped_labels(name)
    assert path is not None
    labels = read_labels(path)
    assert len(labels) == len(set(labels)) == count
    assert one in labels
    assert labels == sorted(labels)
    assert "Source: " in path.read_text("utf-8").splitlines()[1]
    (spec,) = [task for task in get_spec("mmeb-v2").tasks if task.name == name]
    assert spec.labels in (count, None)  # SmthSmthV2's rows bring their own candidates


@pytest.mark.usefixtures("commit")
def test_a_video_faces_all_labels_and_an_unknown_one_costs_its_row(tmp_path: Path) -> None:
    (tmp_path / "video-tasks" / "frames" / "video_cls" / "Breakfast").mkdir(parents=True)
    rows = [{"video_id": "a", "pos_text": "tea"}, {"video_id": "b", "pos_text": "toast"}]
    write(tmp_path / "rows" / "VLM2Vec" / "Breakfast" / "test.jsonl", rows)
    (task,) = get_benchmark("mmeb-v2", root=tmp_path, tasks="Breakfast").tasks
    data = task.read()
    assert (len(data.rows), len(data.corpus), len(data.bad)) == (1, 10, 1)
    assert "its label 'toast' is not in the list" in str(data.bad[0])
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "Breakfast.txt").write_text("tea\ntoast\n")  # one's own list comes first
    assert len(task.read().corpus) == 2
    (one,) = [about for about in get_spec("mmeb-v2").tasks if about.name == "Breakfast"]
    assert Place(tmp_path).missing(one) is None


# ---- a data set that fails


def test_a_failing_data_set_costs_only_itself(
    nano_untouched: SentenceTransformer, benchmark_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("eval", "images"):
        (tmp_path / name).mkdir()
    texts = json.loads((benchmark_root / "eval" / "texts.json").read_text())
    write(tmp_path / "eval" / "good.json", texts)
    write(tmp_path / "eval" / "broken.parquet", b"PAR1 and no table")
    gone = {"qry_text": "", "qry_img_path": "gone.png", "tgt_text": ["a"], "tgt_img_path": [""]}
    write(tmp_path / "eval" / "gone.json", [gone])
    out = tmp_path / "out"
    nano_untouched.save_pretrained(str(tmp_path / "model"))
    command = ["eval", str(tmp_path / "model"), "--benchmark", str(tmp_path), "--device", "cpu", "--out", str(out)]
    assert main(command) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if "no score" in line]
    assert len(said) == 2
    assert "no score for broken: " in said[0]
    assert "none of 1 rows can be scored" in said[1]
    stored = json.loads((out / "results.json").read_text())
    assert list(stored["datasets"]) == ["good"]
    assert {name: why["kind"] for name, why in stored["failed"].items()} == {"broken": "failed", "gone": "failed"}
    assert "- broken: no score (" in (out / "results.md").read_text()
    assert "broken: no score" in (out / "report.html").read_text()
    result = evaluate(nano_untouched, get_benchmark(tmp_path), progress=False)
    with pytest.raises(DataError, match=r"^broken: .*broken\.parquet"):
        result.complete()


def test_what_the_model_does_not_take_counts_as_zero_where_the_board_says_so(
    nano_untouched: SentenceTransformer, benchmark_root: Path
) -> None:
    good, *_ = get_benchmark(benchmark_root).tasks

    def refuse() -> Any:
        raise Unsupported("sounds, and this model takes none")

    import dataclasses

    sounds = dataclasses.replace(good, name="sounds", read=refuse)
    result = evaluate(
        nano_untouched, dataclasses.replace(get_benchmark(benchmark_root), tasks=[good, sounds]), progress=False
    )
    assert result.failed["sounds"].kind == "unsupported"
    assert result.overall_with_zeros == pytest.approx(result.overall / 2)
