"""Bulk runs: whole, in processes, on Ray, killed and resumed; the same shards every time."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import quantize_embeddings

from llave.bulk.manifest import Manifest, Settings, load_manifest, open_manifest
from llave.bulk.precision import Precision, check_dimensions, vectors_of
from llave.bulk.run import embed_collection
from llave.cli.main import main
from llave.collection.collection import Columns
from llave.encode.cache import model_fingerprint
from llave.errors import UserError

Draw = Callable[[int], Image.Image]


def settings(source: Path, model: SentenceTransformer, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "input": str(source),
        "columns": Columns(),
        "model": "nano",
        "fingerprint": model_fingerprint(model),
        "prompt": "",
        "num_frames": 8,
        "shard_size": 10,
        "dimensions": 384,
        "precision": "float32",
        "format": "parquet",
        "keep": False,
    }
    return Settings(**{**values, **changes})


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"id": n, "text": f"text {n} " * (n % 7 + 1)}) + "\n" for n in range(57)))
    return path


def embed(manifest: Manifest, model: SentenceTransformer, **options: Any) -> Any:
    return embed_collection(manifest, model, progress=False, **options)


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "shards").glob("*.parquet"))}


def test_vectors_are_the_models(tmp_path: Path, texts: Path, nano_untouched: SentenceTransformer) -> None:
    manifest = open_manifest(tmp_path / "out", settings(texts, nano_untouched))
    report = embed(manifest, nano_untouched)
    assert (report.vectors, report.errors, report.embedded) == (57, 0, 57)
    tables = [pq.read_table(manifest.shard(number)) for number in range(6)]
    assert [table.num_rows for table in tables] == [10, 10, 10, 10, 10, 7]
    assert [key for table in tables for key in table["id"].to_pylist()] == [str(n) for n in range(57)]
    rows = [json.loads(line) for line in texts.read_text().splitlines()]
    expected = nano_untouched.encode([row["text"].strip() for row in rows])
    np.testing.assert_allclose(np.concatenate([vectors_of(table) for table in tables]), expected, atol=1e-5)
    again = embed(open_manifest(tmp_path / "out", settings(texts, nano_untouched)), nano_untouched)
    assert (again.vectors, again.embedded) == (57, 0)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary"])
def test_precisions(tmp_path: Path, texts: Path, nano_untouched: SentenceTransformer, precision: Precision) -> None:
    chosen = settings(texts, nano_untouched, precision=precision, dimensions=128, shard_size=100)
    manifest = open_manifest(tmp_path / "out", chosen)
    embed(manifest, nano_untouched)
    table = pq.read_table(manifest.shard(0))
    rows = [json.loads(line) for line in texts.read_text().splitlines()]
    full = nano_untouched.encode([row["text"].strip() for row in rows])
    expected = full[:, :128] / np.linalg.norm(full[:, :128], axis=1, keepdims=True)
    found = vectors_of(table)
    if precision == "binary":
        assert table["vector"].type.list_size == 16
        packed = np.asarray(table["vector"].to_pylist(), np.uint8)
        np.testing.assert_array_equal(packed, quantize_embeddings(expected, "ubinary"))
        np.testing.assert_array_equal(found > 0, expected > 0)
    else:
        tolerance = {"float32": 1e-6, "float16": 5e-4, "int8": 0.5 / 127}[precision]
        np.testing.assert_allclose(found, expected, atol=tolerance)


def test_dimensions_that_do_not_fit() -> None:
    assert check_dimensions(None, 384, "int8") == 384
    for dimensions, precision in ((0, "float32"), (385, "float32"), (12, "binary")):
        with pytest.raises(UserError, match=f"dimensions {dimensions}"):
            check_dimensions(dimensions, 384, precision)  # type: ignore[arg-type]


def test_bad_items_are_rows_of_the_errors(tmp_path: Path, picture: Draw, nano_untouched: SentenceTransformer) -> None:
    source = tmp_path / "pictures"
    source.mkdir()
    for number in range(5):
        picture(number).save(source / f"{number}.png")
    (source / "1.png").write_bytes(b"broken")
    (source / "empty.txt").write_text("")
    (source / "metadata.jsonl").write_text('{"file_name": "3.png", "artist": "me", "text": "a caption"}\n')
    manifest = open_manifest(tmp_path / "out", settings(source, nano_untouched, shard_size=2, keep=True))
    report = embed(manifest, nano_untouched)
    assert (report.vectors, report.errors, report.new_errors) == (4, 2, 2)
    again = embed(manifest, nano_untouched)
    assert (again.vectors, again.errors, again.new_errors) == (4, 2, 0)
    errors = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert [error["id"] for error in errors] == ["1.png", "empty.txt"]
    rows = [row for number in range(3) for row in pq.read_table(manifest.shard(number)).to_pylist()]
    kept = next(row for row in rows if row["id"] == "3.png")
    assert (kept["kind"], kept["text"], kept["path"]) == ("image", "a caption", "3.png")
    assert json.loads(kept["fields"]) == {"folder": ".", "artist": "me"}


def test_lance(tmp_path: Path, texts: Path, nano_untouched: SentenceTransformer) -> None:
    import lance

    plain = open_manifest(tmp_path / "plain", settings(texts, nano_untouched))
    embed(plain, nano_untouched)
    chosen = settings(texts, nano_untouched, format="lance")
    report = embed(open_manifest(tmp_path / "out", chosen), nano_untouched)
    assert report.vectors == 57
    table = lance.dataset(str(tmp_path / "out" / "vectors.lance")).to_table()
    assert table["id"].to_pylist() == [str(n) for n in range(57)]
    expected = np.concatenate([vectors_of(pq.read_table(plain.shard(number))) for number in range(6)])
    np.testing.assert_array_equal(vectors_of(table), expected)
    assert not (tmp_path / "out" / "shards").exists()
    again = embed(open_manifest(tmp_path / "out", chosen), nano_untouched)
    assert (again.vectors, again.embedded) == (57, 0)


def test_archives(tmp_path: Path, picture: Draw, nano_untouched: SentenceTransformer) -> None:
    for shard in range(2):
        with tarfile.open(tmp_path / f"a-{shard}.tar", "w") as archive:
            for number in range(3):
                path = tmp_path / f"{number}.jpg"
                picture(number + 3 * shard).save(path)
                archive.add(path, f"{number}.jpg")
    manifest = open_manifest(tmp_path / "out", settings(tmp_path / "a-*.tar", nano_untouched))
    assert embed(manifest, nano_untouched).vectors == 6
    assert pq.read_table(manifest.shard(1))["id"].to_pylist() == ["a-1/0", "a-1/1", "a-1/2"]


def test_another_run_is_not_mixed_in(tmp_path: Path, texts: Path, nano_untouched: SentenceTransformer) -> None:
    out = tmp_path / "out"
    manifest = open_manifest(out, settings(texts, nano_untouched))
    assert load_manifest(out) == manifest
    with pytest.raises(UserError, match=r"begun with dimensions 384, not 100"):
        open_manifest(out, settings(texts, nano_untouched, dimensions=100))
    with pytest.raises(UserError, match="begun with fingerprint"):
        open_manifest(out, settings(texts, nano_untouched, fingerprint="another"))
    with texts.open("a") as file:
        file.write('{"id": 99, "text": "one more"}\n')
    with pytest.raises(UserError, match="not what it was"):
        open_manifest(out, settings(texts, nano_untouched))
    with pytest.raises(UserError, match="holds something else"):
        open_manifest(tmp_path, settings(texts, nano_untouched))


@pytest.mark.slow
def test_processes_write_the_same(tmp_path: Path, texts: Path, nano_untouched: SentenceTransformer) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        embed(open_manifest(tmp_path / name, settings(texts, nano_untouched)), nano_untouched, workers=workers)
    assert shards(tmp_path / "one") == shards(tmp_path / "two")
    assert len(shards(tmp_path / "one")) == 6


def test_killed_before_the_manifest(tmp_path: Path, texts: Path, nano_untouched: SentenceTransformer) -> None:
    out = tmp_path / "out"
    (out / "shards").mkdir(parents=True)
    (out / "parts.jsonl").write_text("")
    (out / ".llave-7.partial").mkdir()
    manifest = open_manifest(out, settings(texts, nano_untouched))
    assert load_manifest(out) == manifest
    (out / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        open_manifest(out, settings(texts, nano_untouched))
    with pytest.raises(UserError, match="holds something else"):
        open_manifest(texts, settings(texts, nano_untouched))


def test_what_a_killed_process_left(tmp_path: Path, texts: Path, nano_untouched: SentenceTransformer) -> None:
    """Errors of a part that is read anew, and pieces of shards."""
    manifest = open_manifest(tmp_path / "out", settings(texts, nano_untouched))
    manifest.errors(0).write_text('{"id": "1", "error": "no memory"}\n')
    partial = tmp_path / "out" / "shards" / ".llave-7.partial"
    partial.mkdir()
    (partial / "000000.parquet").write_bytes(b"PAR1")
    report = embed(manifest, nano_untouched)
    assert (report.vectors, report.errors) == (57, 0)
    assert not partial.exists()


def test_a_name_in_an_archive_that_is_not_unicode(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name in (os.fsdecode(b"caf\xe9.txt"), "b.txt"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    report = embed(open_manifest(tmp_path / "out", settings(path, nano_untouched)), nano_untouched)
    assert (report.vectors, report.errors) == (1, 1)


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    source, out = tmp_path / "texts.jsonl", tmp_path / "out"
    source.write_text("".join(json.dumps({"id": n, "text": f"text number {n}"}) + "\n" for n in range(20_000)))
    words = ["embed", "nano", str(source), "--out", str(out), "--shard_size", "20", "--workers", "2", "--device", "cpu"]
    with subprocess.Popen([sys.executable, "-m", "llave.cli.main", *words]) as run:
        while len(list((out / "shards").glob("*.parquet"))) < 3:
            assert run.poll() is None
            time.sleep(0.1)
        started = psutil.Process(run.pid).children(recursive=True)
        run.kill()
    gone, alive = psutil.wait_procs(started, timeout=30)
    for process in alive:
        process.kill()
    assert len(gone) >= 2
    assert not alive


KILLER = """
import os, random, signal, sys, time
from pathlib import Path
from llave import load_model
from llave.bulk.manifest import load_manifest
from llave.bulk.run import embed_collection

model = load_model("nano", device="cpu")  # once: the runs are forks
manifest = load_manifest(Path(sys.argv[1]))
chance = random.Random(3)
counts = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        embed_collection(manifest, model, progress=False)
        os._exit(0)
    time.sleep(chance.uniform(0.05, 0.5))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    counts.append(len(manifest.todo()))
print(*counts, flush=True)
"""


@pytest.mark.slow
def test_killed_ten_times(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    """Finished shards stay, nothing is doubled, and the end is that of an undisturbed run, to the bit."""
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"id": n, "text": f"text number {n}"}) + "\n" for n in range(1600)))
    chosen = settings(source, nano_untouched, shard_size=20)
    whole, killed = (open_manifest(tmp_path / name, chosen) for name in ("whole", "killed"))
    embed(whole, nano_untouched)
    run = subprocess.run(
        [sys.executable, "-c", KILLER, str(killed.out)], capture_output=True, text=True, timeout=200, check=True
    )
    left = [int(count) for count in run.stdout.split()]
    assert len(left) == 10
    assert left == sorted(left, reverse=True)
    report = embed(killed, nano_untouched)
    assert report.vectors == 1600
    assert report.embedded == 20 * left[-1]
    assert shards(whole.out) == shards(killed.out)
    assert [path.name for path in killed.out.rglob("*.lance*")] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_with_a_worker_that_dies(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    """The same shards as here; an actor that is killed is replaced, and its part is done again."""
    import ray

    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"id": n, "text": f"text number {n}"}) + "\n" for n in range(600)))
    chosen = settings(source, nano_untouched, shard_size=20)
    here, there = (open_manifest(tmp_path / name, chosen) for name in ("here", "there"))
    embed(here, nano_untouched)
    killed = 0
    ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False)  # a GPU in Ray's books alone
    try:
        from llave.bulk.ray import run_on_ray
        from llave.bulk.shard import Batches

        for done, _ in enumerate(
            run_on_ray(there, there.todo(), Batches(), workers=1, device="cpu", dtype=None, gpus=0.5), start=1
        ):
            if done == 3:
                assert ray.available_resources()["GPU"] == 0.5
                actors = [p for p in psutil.process_iter(["cmdline"]) if "ray::_Actor" in " ".join(p.info["cmdline"])]
                for actor in actors:
                    os.kill(actor.pid, signal.SIGKILL)
                killed = len(actors)
    finally:
        ray.shutdown()
    assert killed == 1
    assert there.todo() == []
    assert embed(there, nano_untouched).embedded == 0
    assert shards(here.out) == shards(there.out)


def test_the_command(
    tmp_path: Path, picture: Draw, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "pictures"
    source.mkdir()
    picture(1).save(source / "a.png")
    words = ["embed", "nano", str(source), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 0
    assert "1 vectors of 384 dimensions (float32); 1 embedded now, 0 before" in capsys.readouterr().out
    (source / "b.png").write_bytes(b"broken")
    assert main(words) == 2
    assert "not what it was" in capsys.readouterr().err
    assert main([*words[:4], str(tmp_path / "out2"), "--json", "--device", "cpu"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "vectors": 1,
        "errors": 1,
        "new_errors": 1,
        "embedded": 1,
        "cut": 0,
        "cut_sounds": 0,
    }
    assert "1 items could not be embedded" in captured.err
    assert main([*words, "--shard_size", "0"]) == 2
    monkeypatch.chdir(tmp_path)  # the same input under another name
    assert main(["embed", "nano", "pictures/../pictures", *words[3:4], str(tmp_path / "out2"), "--device", "cpu"]) == 0


def test_int8_is_another_run(
    tmp_path: Path, texts: Path, nano_untouched: SentenceTransformer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["embed", "nano", str(texts), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--quantize", "int8"]) == 0
    assert "int8: cosine to the same model's float32 vectors at least 0.9" in capsys.readouterr().err
    rows = [json.loads(line) for line in texts.read_text().splitlines()]
    expected = nano_untouched.encode([row["text"].strip() for row in rows])
    found = vectors_of(pq.read_table(tmp_path / "out/shards/000000.parquet"))
    assert 0.97 < (found * expected).sum(1).min() < (found * expected).sum(1).max() < 0.99999
    assert main([*words, "--quantize", "int8"]) == 0
    assert "cosine" not in capsys.readouterr().err, "said once"
    assert main([*words, "--dtype", "float32"]) == 2
    assert "was begun with quantize 'int8', not 'none'" in capsys.readouterr().err


def test_a_run_of_before_there_was_int8_goes_on(
    tmp_path: Path, texts: Path, nano_untouched: SentenceTransformer
) -> None:
    open_manifest(tmp_path / "out", settings(texts, nano_untouched))
    file = tmp_path / "out/manifest.json"
    kept = json.loads(file.read_text())
    assert kept.pop("quantize") == "none"
    file.write_text(json.dumps(kept))
    open_manifest(tmp_path / "out", settings(texts, nano_untouched))
