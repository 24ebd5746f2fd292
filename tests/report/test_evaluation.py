"""The report of one evaluation: complete, escaped, honest about published figures, and bounded in size."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.data.mmeb import MMEBFolder, RowItem
from llave.encode.table import ItemTable
from llave.evaluation.benchmarks import get_benchmark, get_spec
from llave.evaluation.result import EvalResult, ScoredRow, TaskResult
from llave.evaluation.runner import evaluate
from llave.report.evaluation import write_eval_report
from llave.report.gallery import PAGE_LIMIT
from llave.report.published import published_rows
from llave.report.titles import group_title
from tests.report.pages import check_in_chromium, check_self_contained, parse

ABOUT = {"model_name": "org/<model>", "dtype": "float32", "device": "cpu", "url": None}


@pytest.fixture(scope="module")
def result(nano_untouched: SentenceTransformer, benchmark_root: Path) -> EvalResult:
    return evaluate(nano_untouched, get_benchmark(benchmark_root), progress=False)


@pytest.fixture(scope="module")
def report(result: EvalResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("eval") / "deep" / "report.html"
    write_eval_report(path, result, ABOUT)
    return path


def made(benchmark: str, root: Path, *, names: set[str] | None = None, compat: str = "llave") -> EvalResult:
    """Every data set of a benchmark with as many queries as published, on one picture and one video per data set."""
    table, folder, tasks = ItemTable(), MMEBFolder(root), {}
    for number, spec in enumerate(get_spec(benchmark).tasks):
        if names is not None and spec.name not in names:
            continue
        shown = {"video": f"{number}"} if spec.modality == "video" else {"image": f"{number}.png"}
        query = table.add(folder, RowItem(f"{spec.name} asks"))
        places = np.array([table.add(folder, RowItem(f"{text} {spec.name}", **shown)) for text in "ab"], dtype=np.int32)
        cosines, one = np.array([0.1, 0.3], dtype=np.float32), np.ones(1)
        rows = [ScoredRow(row, query, places, cosines, one + (row % 2), one) for row in range(spec.queries or 10)]
        tasks[spec.name] = TaskResult(
            name=spec.name,
            meta_task=spec.meta,
            split=spec.split,
            rows=rows,
            modality=spec.modality,
            metric=spec.metric,
            expected=spec.queries,
        )
    return EvalResult(benchmark=benchmark, ties="v1", tasks=tasks, items=table, compat=compat)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "eval").mkdir()
    return tmp_path


def draw_noise(root: Path) -> None:
    """The largest that thumbnails can be, as each data set's picture and as its video's only frame."""
    (root / "images").mkdir()
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8))
    noise.save(root / "noise.png")
    for number in range(len(get_spec("mmeb-v2").tasks)):
        (root / "videos" / f"{number}").mkdir(parents=True)
        shutil.copy(root / "noise.png", root / "images" / f"{number}.png")
        shutil.copy(root / "noise.png", root / "videos" / f"{number}" / "0.png")


def test_self_contained(report: Path) -> None:
    check_self_contained(report)
    assert "Content-Security-Policy" in report.read_text("utf-8")


def test_every_group_data_set_and_setting_is_there_and_texts_are_escaped(report: Path, result: EvalResult) -> None:
    text = parse(report).text
    assert "<script>alert('x')</script> find the cat" in text  # a text, not a tag: check_self_contained saw no script
    for group, score in result.groups().items():
        assert group_title(group) in text
        assert f"{100 * score:.1f}" in text
    for name, task in result.tasks.items():
        low, high = task.ci95
        assert name in text
        assert f"{100 * low:.1f} to {100 * high:.1f}" in text
        assert f"{100 * task.metrics()['mrr@10']:.1f}" in text
    for part in ("org/<model>", "float32", "cpu", "strict", "corrupt.png", "24 queries"):
        assert part in text
    assert "published" not in text  # nothing was, of this benchmark


def test_the_worst_queries_are_shown_with_their_pictures(report: Path, result: EvalResult) -> None:
    page = parse(report)
    alts = [attributes["alt"] or "" for tag, attributes in page.tags if tag == "img"]
    rows = result.tasks["alike"].rows
    worst = min(rows, key=lambda row: row.scores[0] - row.scores[1:].max())
    assert f"query: picture {result.items.row_item(worst.query).image}" in alts
    wrong = int(worst.candidates[1 + int(worst.scores[1:].argmax())])
    assert f"wrong: picture {result.items.row_item(wrong).image}" in alts
    if not worst.correct:
        assert f"row {worst.row}; relevant ranks {worst.ranks.min():.0f} of {len(worst.scores)}" in page.text


def test_published_rows_are_marked_and_complete(root: Path) -> None:
    result = made("mmeb", root)
    write_eval_report(root / "report.html", result, ABOUT)
    text = parse(root / "report.html").text
    assert "Not comparable" not in text
    rows = published_rows("mmeb")
    for row in rows:
        assert f"{row.model}published: {row.source}" in text
        assert f"{100 * row.groups['overall']:.1f}" in text
    assert text.count("published: ") == len(rows)
    assert "LLaVE-7B,published" in text  # the column of the table of data sets
    assert "20.1" in text  # its Country211


def test_what_cannot_be_compared_says_so(root: Path) -> None:
    strict = replace(made("mmeb", root, names={"CIRR", "VisDial"}), compat="strict", ties="strict")
    write_eval_report(root / "report.html", strict)
    text = parse(root / "report.html").text
    assert "Not comparable with published scores" in text
    assert "scored as strict does" in text
    assert "LLaVE-7B,published" in text
    assert "published: " not in text  # two data sets are no group of the benchmark
    few = made("video-retrieval", root)
    few = replace(few, tasks={"MSR-VTT": replace(few.tasks["MSR-VTT"], rows=few.tasks["MSR-VTT"].rows[:9])})
    write_eval_report(root / "report.html", few)
    text = parse(root / "report.html").text
    assert "MSR-VTT: 9 queries, the published benchmark has 1,000" in text
    assert "LLaVE-7Bpublished: source not recorded" in text
    assert "71.1" in text  # its recall at 5


def test_what_cannot_be_read_is_named_and_not_fatal(root: Path) -> None:
    """None of the files exist; a text holds half a surrogate pair; a score is not a number."""
    result = made("mmeb-v2", root, names={"CIRR", "UCF101"})
    number = result.items.add(MMEBFolder(root), RowItem("half \ud83d a pair"))
    rows = [replace(row, query=number) for row in result.tasks["CIRR"].rows]
    rows[0] = replace(rows[0], scores=np.full(2, np.nan, dtype=np.float32), ranks=np.array([np.inf]))
    tasks = {**result.tasks, "CIRR": replace(result.tasks["CIRR"], rows=rows)}
    write_eval_report(root / "report.html", replace(result, tasks=tasks), ABOUT)
    page = parse(root / "report.html")
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "half ? a pair" in page.text
    place = [spec.name for spec in get_spec("mmeb-v2").tasks].index("UCF101")
    assert f"video {place}" in page.text
    assert "4 pictures are named only" in page.text


def test_size_is_bounded(root: Path) -> None:
    draw_noise(root)
    result = made("mmeb-v2", root)
    write_eval_report(root / "report.html", result, ABOUT)
    page = parse(root / "report.html")
    names = [attributes["alt"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(names) == 2 * 78
    assert sum("video" in name for name in names) == 2 * 18
    assert PAGE_LIMIT < 20_000_000
    write_eval_report(root / "small.html", result, ABOUT, limit=500_000)
    page = parse(root / "small.html")
    pictures = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert 400_000 < sum(map(len, pictures)) <= 500_000
    assert f"{2 * 78 - len(pictures)} pictures are named only" in page.text
    assert (root / "small.html").stat().st_size < 900_000


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_chromium_at_phone_width(root: Path, tmp_path_factory: pytest.TempPathFactory, dark: bool) -> None:
    draw_noise(root)
    write_eval_report(root / "report.html", made("mmeb-v2", root), ABOUT)
    check_in_chromium(root / "report.html", tmp_path_factory.mktemp("profile"), dark=dark)
