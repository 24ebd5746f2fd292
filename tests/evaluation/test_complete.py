"""All of MMEB-V1 and MMEB-V2 on tiny trees of real media: every score equals an independent slow computation."""

import json
import math
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence
from sentence_transformers import SentenceTransformer

from llave.cli.main import main
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.result import EvalResult
from llave.evaluation.runner import evaluate
from llave.report.outputs import leaderboard
from tests.evaluation.mmeb_tree import Row, Thing, Truth, build_v1, build_v2


class SlowScores:
    """One thing at a time, whole rankings, textbook formulas."""

    def __init__(self, model: SentenceTransformer) -> None:
        self.model = model
        self.known: dict[Thing, np.ndarray] = {}

    def vector(self, thing: Thing) -> np.ndarray:
        if thing not in self.known:
            vector = self.model.encode([_input(thing)], show_progress_bar=False)[0].astype(np.float64)
            self.known[thing] = vector / np.linalg.norm(vector)
        return self.known[thing]

    def row(self, row: Row) -> tuple[float, float]:
        """hit@1 and linear NDCG@5."""
        unique = dict.fromkeys(row.candidates)
        gains = dict(zip(row.candidates, row.gains, strict=False))
        scores = {thing: float(self.vector(row.query) @ self.vector(thing)) for thing in unique}
        ranking = sorted(unique, key=lambda thing: -scores[thing])
        dcg = sum(gains.get(thing, 0.0) / math.log2(place + 2) for place, thing in enumerate(ranking[:5]))
        best = sorted(gains.values(), reverse=True)[:5]
        return float(ranking[0] in gains), dcg / sum(gain / math.log2(place + 2) for place, gain in enumerate(best))


def _input(thing: Thing) -> object:
    if thing.image is not None:
        image = Image.open(thing.image).convert("RGB")
        return {"image": image, "text": thing.text} if thing.text else image
    if thing.video is not None:
        return {"video": np.stack([np.asarray(frame) for frame in _frames(thing.video)]), "text": thing.text}
    return thing.text


def _frames(path: Path) -> list[Image.Image]:
    if path.is_dir():
        every = [Image.open(file).convert("RGB") for file in sorted(path.iterdir())]
    elif path.suffix in (".gif", ".webp"):
        every = [frame.convert("RGB") for frame in ImageSequence.Iterator(Image.open(path))]
    else:
        with av.open(str(path)) as film:
            every = [frame.to_image() for frame in film.decode(video=0)]
    return every if len(every) <= 8 else [every[math.floor(i * (len(every) - 1) / 7)] for i in range(8)]


def check(result: EvalResult, truth: Truth, model: SentenceTransformer) -> None:
    slow = SlowScores(model)
    assert set(result.tasks) == set(truth)
    for name, rows in truth.items():
        task = result.tasks[name]
        assert [row.row for row in task.rows] == list(range(len(rows))), name
        hits, ndcgs = zip(*(slow.row(row) for row in rows), strict=True)
        metrics = task.metrics()
        assert metrics["hit@1"] == pytest.approx(np.mean(hits)), name
        assert metrics["ndcg_linear@5"] == pytest.approx(np.mean(ndcgs), abs=1e-9), name
        assert task.score == metrics[task.metric], name
        for row, scored in zip(rows, task.rows, strict=True):
            expected = [slow.vector(row.query) @ slow.vector(thing) for thing in dict.fromkeys(row.candidates)]
            found = scored.scores[: len(row.gains)]
            np.testing.assert_allclose(found, expected[: len(row.gains)], atol=2e-5, err_msg=name)
            np.testing.assert_allclose(sorted(scored.scores), sorted(expected), atol=2e-5, err_msg=name)


@pytest.fixture(scope="module")
def v2(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    root = tmp_path_factory.mktemp("mmeb") / "v2"
    return root, build_v2(root)


@pytest.mark.slow
def test_mmeb_v1(nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    truth = build_v1(tmp_path / "v1")
    result = evaluate(nano_untouched, get_benchmark("mmeb", root=tmp_path / "v1"), progress=False)
    assert not result.errors
    check(result, truth, nano_untouched)
    groups = result.groups()
    for group, names in {
        "ind": [name for name, task in result.tasks.items() if task.split == "ind"],
        "grounding": ["MSCOCO", "Visual7W-Pointing", "RefCOCO", "RefCOCO-Matching"],
    }.items():
        assert groups[group] == pytest.approx(sum(result.tasks[name].score for name in names) / len(names))


@pytest.mark.slow
def test_mmeb_v2(nano_untouched: SentenceTransformer, v2: tuple[Path, Truth]) -> None:
    root, truth = v2
    assert len(truth) == 78
    result = evaluate(nano_untouched, get_benchmark("mmeb-v2", root=root), progress=False)
    assert not result.errors
    check(result, truth, nano_untouched)
    groups, scores = result.groups(), {name: task.score for name, task in result.tasks.items()}
    assert groups["overall"] == pytest.approx(sum(scores.values()) / 78)
    for modality, count in (("image", 36), ("video", 18), ("visdoc", 24)):
        of_modality = [scores[name] for name, task in result.tasks.items() if task.modality == modality]
        assert len(of_modality) == count
        assert groups[modality] == pytest.approx(sum(of_modality) / count)
    assert {"video/moment_retrieval", "visdoc/vidore_v2", "image/vqa"} <= set(groups)
    assert any("MSR-VTT: 3 queries, the published benchmark has 1,000" in line for line in result.incomparable())
    board = leaderboard(result, {})
    assert "MMLongBench-page-fixed" in board["metrics"]["visdoc"]
    assert {len(board["metrics"][key]) for key in ("image", "video", "visdoc")} == {36, 18, 24}


@pytest.mark.slow
def test_video_retrieval_as_in_the_paper(nano_untouched: SentenceTransformer, v2: tuple[Path, Truth]) -> None:
    root, _ = v2
    result = evaluate(nano_untouched, get_benchmark("video-retrieval", root=root), progress=False)
    assert result.tasks["MSR-VTT"].queries == 3
    assert result.tasks["MSVD"].queries == 6  # both captions of each film
    asked = {result.items.row_item(row.query).text for row in result.tasks["MSVD"].rows}
    assert "Find me an video that matches the given caption: other" in asked


def test_choosing_tasks_and_saying_what_is_missing(
    v2: tuple[Path, Truth], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = v2
    chosen = get_benchmark("mmeb-v2", root=root, tasks="UCF101,vidore_v2").tasks
    assert [task.meta_task for task in chosen] == ["classification", *["vidore_v2"] * 4]
    assert len(get_benchmark("mmeb-v2", root=root, tasks="video").tasks) == 18
    assert main(["eval", "nano", "--benchmark", "mmeb-v2", "--root", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "ImageNet-1K: no rows at" in said
    assert "77 more of 78 data sets" in said
    assert "llave data download mmeb-v2" in said


def test_a_table_and_a_folder_of_documents_of_ones_own(nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    from tests.evaluation.mmeb_tree import picture

    (tmp_path / "images").mkdir()
    first, *rest = (picture(number).convert("RGB").resize((144, 144)) for number in range(3))
    first.save(tmp_path / "images" / "report.pdf", save_all=True, append_images=rest, resolution=144)
    pages = [{"_id": f"p{page}", "image": f"report.pdf#page={page}"} for page in (1, 2, 3)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, pages)))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "the second page"}))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tp2\t1\n")
    result = evaluate(nano_untouched, get_benchmark(tmp_path), progress=False)
    (task,) = result.tasks.values()
    assert not result.errors
    assert (task.metric, task.modality, len(task.rows[0].candidates)) == ("ndcg_linear@5", "visdoc", 3)
    assert result.items.path(int(task.rows[0].candidates[0])) == tmp_path / "images" / "report.pdf#page=2"
    (tmp_path / "own.yaml").write_text(
        "name: own\ngroups: [{tasks: {pages: {reader: beir, modality: visdoc, rows: ., query: 'Find:'}}}]"
    )
    own = evaluate(nano_untouched, get_benchmark(tmp_path / "own.yaml"), progress=False)
    assert own.items.row_item(own.tasks["pages"].rows[0].query).text == "Find: the second page"
