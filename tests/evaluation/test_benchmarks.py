"""Benchmarks by name and by folder, and what is said when data is missing."""

import json
from collections import Counter
from pathlib import Path

import pytest

from llave.errors import DataError, UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.benchmarks.mmeb import MMEB_TASKS


def test_folder_with_and_without_a_description(benchmark_root: Path) -> None:
    benchmark = get_benchmark(benchmark_root)
    assert benchmark.name == "small"
    assert [(task.name, task.meta_task, task.split) for task in benchmark.tasks] == [
        ("texts", "retrieval", "ind"),
        ("names_ood", "classification", "ood"),
        ("alike", "other", "ind"),
    ]
    assert len(benchmark.tasks[0].rows()) == 8


def test_split_by_suffix(tmp_path: Path) -> None:
    (tmp_path / "eval").mkdir()
    for name in ("a", "a_ood"):
        (tmp_path / "eval" / f"{name}.json").write_text("[]")
    assert [(task.name, task.split) for task in get_benchmark(tmp_path).tasks] == [("a", "ind"), ("a_ood", "ood")]


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
    names = [name for group in MMEB_TASKS.values() for name in group]
    assert len(names) == len(set(names)) == 36
    sizes: Counter[str] = Counter()
    for (meta, split), group in MMEB_TASKS.items():
        sizes.update({meta: len(group), split: len(group)})
    assert sizes == {"classification": 10, "vqa": 10, "retrieval": 12, "grounding": 4, "ind": 20, "ood": 16}


def test_mmeb_says_what_is_missing_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAVE_MMEB", raising=False)
    with pytest.raises(DataError, match="LLAVE_MMEB"):
        get_benchmark("mmeb")
    monkeypatch.setenv("LLAVE_MMEB", str(tmp_path))
    with pytest.raises(DataError, match="hf download TIGER-Lab/MMEB-eval"):
        get_benchmark("mmeb")
    (tmp_path / "eval").mkdir()
    names = [name for group in MMEB_TASKS.values() for name in group]
    for name in names[1:]:
        (tmp_path / "eval" / f"{name}.json").write_text("[]")
    with pytest.raises(DataError, match=r"1 of 36 data sets missing in .*: ImageNet-1K;") as caught:
        get_benchmark("mmeb")
    assert "\n" not in str(caught.value)
    (tmp_path / "eval" / "ImageNet-1K.json").write_text("[]")
    assert len(get_benchmark("mmeb", root=tmp_path).tasks) == 36


def test_unknown_names() -> None:
    with pytest.raises(UserError, match="mmeb-v2 is not there yet"):
        get_benchmark("mmeb-v2")
    with pytest.raises(UserError, match="neither a benchmark"):
        get_benchmark("no/such/folder")
