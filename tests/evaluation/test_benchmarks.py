"""Benchmarks by name and by folder, and what is said when data is missing."""

import json
from collections import Counter
from pathlib import Path

import pytest

from llave.errors import DataError, UserError
from llave.evaluation.benchmarks import get_benchmark, get_spec
from llave.evaluation.benchmarks.places import Place
from llave.evaluation.benchmarks.task import Absent


def test_folder_with_and_without_a_description(benchmark_root: Path) -> None:
    benchmark = get_benchmark(benchmark_root)
    assert benchmark.name == "small"
    assert [(task.name, task.meta_task, task.split) for task in benchmark.tasks] == [
        ("texts", "retrieval", "ind"),
        ("names_ood", "classification", "ood"),
        ("alike", "other", None),
    ]
    assert len(benchmark.tasks[0].rows()) == 8


def test_split_by_suffix(tmp_path: Path) -> None:
    (tmp_path / "eval").mkdir()
    for name in ("a", "a_ood", "mine"):
        (tmp_path / "eval" / f"{name}.json").write_text("[]")
    assert [(task.name, task.split) for task in get_benchmark(tmp_path).tasks] == [
        ("a", "ind"),
        ("a_ood", "ood"),
        ("mine", None),  # what training saw of it nobody knows
    ]


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"missing": {}}, "no data set 'missing'"),
        ({"a": {"meta": "video"}}, "meta must be one of"),
        ({"a": {"split": "test"}}, "split must be"),
        ([], "expected"),
    ],
)
def test_malformed_description(tmp_path: Path, about: object, message: str) -> None:
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "a.json").write_text("[]")
    (tmp_path / "benchmark.json").write_text(json.dumps({"tasks": about}))
    with pytest.raises(DataError, match=message):
        get_benchmark(tmp_path)


def test_mmeb_has_36_data_sets_in_the_published_proportions() -> None:
    tasks = get_spec("mmeb").tasks
    assert len(tasks) == 36
    sizes = Counter(task.meta for task in tasks) + Counter(task.split for task in tasks)
    assert sizes == {"classification": 10, "vqa": 10, "retrieval": 12, "grounding": 4, "ind": 20, "ood": 16}


def test_mmeb_v2_has_78_data_sets_in_the_published_proportions() -> None:
    tasks = get_spec("mmeb-v2").tasks
    assert Counter(task.modality for task in tasks) == {"image": 36, "video": 18, "visdoc": 24}
    assert [task.name for task in tasks if task.modality == "image"] == [task.name for task in get_spec("mmeb").tasks]
    video = Counter(task.meta for task in tasks if task.modality == "video")
    assert video == {"classification": 5, "vqa": 5, "retrieval": 5, "moment_retrieval": 3}
    visdoc = Counter(task.meta for task in tasks if task.modality == "visdoc")
    assert visdoc == {"vidore_v1": 10, "vidore_v2": 4, "visrag": 6, "visdoc_ood": 4}
    assert {task.metric for task in tasks if task.modality == "visdoc"} == {"ndcg_linear@5"}
    assert {task.metric for task in tasks if task.modality != "visdoc"} == {"hit@1"}


def test_mmeb_says_what_is_missing_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAVE_MMEB", raising=False)
    with pytest.raises(DataError, match="LLAVE_MMEB"):
        get_benchmark("mmeb")
    monkeypatch.setenv("LLAVE_MMEB", str(tmp_path))
    with pytest.raises(DataError, match="llave data download mmeb --out DIR"):
        get_benchmark("mmeb")
    (tmp_path / "eval").mkdir()
    names = [task.name for task in get_spec("mmeb").tasks]
    for name in names[1:]:
        (tmp_path / "eval" / f"{name}.json").write_text("[]")
    missing, *there = get_benchmark("mmeb").tasks
    with pytest.raises(Absent, match=r"ImageNet-1K: no ImageNet-1K.parquet in .*eval; get it") as caught:
        missing.read()
    assert "\n" not in str(caught.value)
    assert [task.rows() for task in there] == [[]] * 35
    assert len(get_benchmark("mmeb", tasks="ood").tasks) == 16
    (tmp_path / "eval" / "ImageNet-1K.json").write_text("[]")
    assert len(get_benchmark("mmeb", root=tmp_path).tasks) == 36


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no benchmark"):
        get_benchmark("no/such/folder")
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "a.json").write_text("[]")
    with pytest.raises(UserError, match=r"--tasks: no 'b' in .*; there are: a, image, other"):
        get_benchmark(tmp_path, tasks="b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected"),
        ("{groups: [{tasks: {a: {reader: captions, colour: red}}}]}", "a: unknown key 'colour'; there are: answers"),
        ("{groups: [{tasks: {a: {rows: x}}}]}", "a: needs a reader: mmeb"),
        ("{groups: [{tasks: {a: {reader: beir, meta: fun}}}]}", "a: meta must be one of"),
        ("{groups: [{tasks: {a: {reader: beir, metric: accuracy}}}]}", "a: metric must be one of"),
        ("{groups: [{tasks: {a: {reader: beir}}}, {tasks: {a: {reader: beir}}}]}", "two data sets are called 'a'"),
        ("{groups: [", "cannot read"),
    ],
)
def test_malformed_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        get_benchmark(tmp_path / "own.yaml")


@pytest.mark.parametrize("layout", ["{name}.jsonl", "{name}-test.jsonl", "{name}/test-00000-of-00001.jsonl"])
def test_a_data_set_does_not_take_the_rows_of_one_whose_name_begins_alike(tmp_path: Path, layout: str) -> None:
    rows = tmp_path / "rows" / "ziyjiang" / "MMEB_Test_Instruct"
    for name in ("MSCOCO", "MSCOCO_t2i", "MSCOCO_i2t"):
        path = rows / layout.format(name=name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (spec,) = [task for task in get_spec("mmeb-v2").tasks if task.name == "MSCOCO"]
    assert Place(tmp_path).tables(spec, "MSCOCO") == [rows / layout.format(name="MSCOCO")]
