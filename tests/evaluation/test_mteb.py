"""mteb itself runs our models and our data sets, from local files; nothing stands in for it."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import mteb
import numpy as np
import pytest
from mteb._create_dataloaders import create_dataloader
from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification
from mteb.types import PromptType
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.errors import DataError, UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.mteb import MMEBTask, MTEBModel, mmeb_task, mmeb_tasks, mteb_model
from llave.evaluation.runner import evaluate
from llave.models.nano_build import build_nano
from tests.evaluation.conftest import WORDS
from tests.models.tiny_backbones import build

Draw = Callable[[int], Image.Image]
QUIET: Any = {"show_progress_bar": False, "batch_size": 4}


@pytest.fixture(scope="module")
def model(nano_untouched: SentenceTransformer) -> MTEBModel:
    return mteb_model(nano_untouched, name="llave/nano")


@pytest.fixture
def readable(benchmark_root: Path) -> Path:
    """The small benchmark, its corrupt picture replaced: mteb has no way round one."""
    good = (benchmark_root / "images" / "house.png").read_bytes()
    (benchmark_root / "images" / "corrupt.png").write_bytes(good + b"\0")
    return benchmark_root


def scores(model: Any, task: Any, **settings: Any) -> dict[str, Any]:
    result = mteb.evaluate(model, task, cache=None, encode_kwargs=dict(QUIET), co2_tracker=False, **settings)
    (of_split,) = result.task_results[0].scores.values()
    return dict(of_split[0])


def embed(model: MTEBModel, columns: dict[str, list[Any]], *, task: Any, query: bool = True) -> np.ndarray:
    """Through mteb's loader, as its evaluators do."""
    kind = PromptType.query if query else PromptType.document
    features: Any = {name: datasets.Image() if name == "image" else datasets.Value("string") for name in columns}
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    loader = create_dataloader(table, task_metadata=task, prompt_type=kind, batch_size=3)
    found = model.encode(loader, task_metadata=task, hf_split="test", hf_subset="default", prompt_type=kind, **QUIET)
    return np.asarray(found)


def test_pictures_reach_the_model(model: MTEBModel, readable: Path, picture: Draw) -> None:
    metadata = mmeb_task(readable, "alike").metadata
    assert (metadata.category, metadata.modalities) == ("it2i", ["text", "image"])
    pictures = [picture(number) for number in range(1, 6)]
    found = embed(model, {"id": list("abcde"), "image": pictures}, task=metadata, query=False)
    np.testing.assert_allclose(found, model.model.encode(pictures), atol=1e-5)  # type: ignore[arg-type]
    assert np.abs(found[0] - found[1]).max() > 1e-2


def test_batches_may_mix_texts_pictures_and_both(model: MTEBModel, readable: Path, picture: Draw) -> None:
    clear = Image.new("RGBA", (40, 30), (255, 0, 0, 0))  # white once it is RGB; a mere drop of alpha leaves red
    texts = ["only text", "", "a text with it", "", "more text, longer than the others"]
    pictures = [None, picture(1), picture(2), clear, None]
    white = Image.new("RGB", (40, 30), "white")
    expected = model.model.encode(
        [texts[0], picture(1), {"image": picture(2), "text": texts[2]}, white, texts[4]]  # type: ignore[list-item]
    )
    columns = {"id": list("abcde"), "text": texts, "image": pictures}
    found = embed(model, columns, task=mmeb_task(readable, "alike").metadata)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_metadata(model: MTEBModel, nano_untouched: SentenceTransformer, readable: Path) -> None:
    meta = model.mteb_model_meta
    assert meta.modalities == ["text", "image", "video"]
    assert (meta.name, meta.embed_dim, meta.max_tokens, meta.similarity_fn_name) == ("llave/nano", 384, 256, "cosine")
    assert meta.n_parameters == sum(weight.numel() for weight in nano_untouched.parameters())
    assert meta.use_instructions is False
    assert meta.license is None
    assert mteb_model(nano_untouched).mteb_model_meta.name == "local/nano"
    with pytest.raises(UserError, match="organisation/name"):
        mteb_model(nano_untouched, name="nano")


def test_a_vision_language_model_with_chat_template(tmp_path: Path, readable: Path, picture: Draw) -> None:
    model = mteb_model(build("qwen2_5_vl", tmp_path / "qwen"), device="cpu")
    assert model.mteb_model_meta.modalities == ["text", "image", "video"]
    columns = {"id": list("abc"), "text": ["only text", "", "with it"], "image": [None, picture(1), picture(2)]}
    found = embed(model, columns, task=mmeb_task(readable, "alike").metadata)
    items: list[Any] = ["only text", picture(1), {"image": picture(2), "text": "with it"}]
    np.testing.assert_allclose(found, model.model.encode(items), atol=1e-5)
    assert len(np.unique(found.round(2), axis=0)) == 3


def test_other_weights_are_another_revision(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    nano_untouched.save_pretrained(str(tmp_path / "mine"))
    first = mteb_model(tmp_path / "mine").mteb_model_meta
    again = mteb_model(tmp_path / "mine", device="cpu")
    assert first.name == "local/mine"
    assert first.revision == again.mteb_model_meta.revision
    next(again.model[0].model.projector.parameters()).data.mul_(2)
    assert mteb_model(again.model).mteb_model_meta.revision != first.revision


class Colours(AbsTaskZeroShotClassification):
    """MIEB's zero-shot classification over pictures of one colour, named with their colour."""

    metadata = mteb.TaskMetadata(
        name="Colours",
        description="made by a test",
        dataset={"path": "none", "revision": "1"},
        type="ZeroShotClassification",
        category="i2t",
        modalities=["image", "text"],
        eval_langs=["eng-Latn"],
        main_score="accuracy",
    )

    names = ("red", "green", "blue", "black", "white", "yellow", "purple")

    @classmethod
    def drawn(cls) -> list[Image.Image]:
        return [Image.new("RGB", (32, 32), name) for name in cls.names]

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        features: Any = {"image": datasets.Image(), "label": datasets.Value("int64")}
        table = {"image": self.drawn(), "label": range(len(self.names))}
        self.dataset = {"test": datasets.Dataset.from_dict(table, features=datasets.Features(features))}
        self.data_loaded = True

    def get_candidate_labels(self) -> list[str]:
        return list(self.names)


def test_a_task_of_mieb(model: MTEBModel) -> None:
    names = np.asarray(model.model.encode(list(Colours.names)))
    predicted = (np.asarray(model.model.encode(Colours.drawn())) @ names.T).argmax(1)  # type: ignore[arg-type]
    right = (predicted == np.arange(len(names))).mean()
    assert len(set(predicted)) > 1  # the pictures are told apart
    assert scores(model, Colours())["accuracy"] == pytest.approx(right)


def test_mmeb_tasks_score_as_our_own_evaluation(model: MTEBModel, readable: Path) -> None:
    own = evaluate(model.model, get_benchmark(readable), progress=False)
    tasks = mmeb_tasks(readable)
    assert [task.metadata.name for task in tasks] == ["small-texts", "small-names_ood", "small-alike"]
    assert [task.metadata.category for task in tasks] == ["t2t", "it2t", "it2i"]
    for name, task in zip(own.tasks, tasks, strict=True):
        found = scores(model, task)
        rows = own.tasks[name].rows
        assert found["main_score"] == found["hit_rate_at_1"] == pytest.approx(np.mean([row.correct for row in rows]))
    spread = [np.mean([row.correct for row in result.rows]) for result in own.tasks.values()]
    assert min(spread) < max(spread)  # the scores compared are not all alike


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Pictures with the same text find themselves among others with the same text; and one that looks like another."""
    for name in ("images", "eval"):
        (tmp_path / name).mkdir()
    for name in Colours.names:
        Image.new("RGB", (32, 32), name).save(tmp_path / "images" / f"{name}.png")
    Image.new("RGB", (32, 32), "red").save(tmp_path / "images" / "copy.png", compress_level=0)  # other bytes

    def row(picture: str, targets: list[str], text: str) -> dict[str, Any]:
        target = {"tgt_text": [text] * len(targets), "tgt_img_path": [f"{name}.png" for name in targets]}
        return {"qry_text": "this", "qry_img_path": f"{picture}.png", **target}

    found = [row(name, [name, *(other for other in Colours.names if other != name)], "that") for name in Colours.names]
    tied = [row("red", ["red", "copy"], ""), row("red", ["copy", "red"], "")]
    (tmp_path / "eval" / "found.json").write_text(json.dumps(found))
    (tmp_path / "eval" / "tied.json").write_text(json.dumps(tied))
    return tmp_path


def test_what_mteb_makes_of_a_local_model(model: MTEBModel, colours: Path) -> None:
    """The reason for our wrapper: when this fails, mteb has learnt to look."""
    task = mmeb_task(colours, "found")
    assert scores(model, task)["main_score"] == 1
    assert scores(model.model, task)["main_score"] == pytest.approx(1 / len(Colours.names), abs=1e-4)


def test_models_of_mteb_run_on_our_tasks_of_one_kind(model: MTEBModel, readable: Path) -> None:
    theirs = mteb.models.SentenceTransformerEncoderWrapper(model.model)
    theirs.mteb_model_meta = theirs.mteb_model_meta.model_copy(update={"modalities": ["text", "image"]})
    for task in mmeb_tasks(readable):
        assert scores(theirs, task)["ndcg_at_5"] == pytest.approx(scores(model, task)["ndcg_at_5"], abs=1e-4)


def test_ties_are_where_the_numbers_differ(model: MTEBModel, colours: Path) -> None:
    own = evaluate(model.model, get_benchmark(colours), progress=False)
    assert own.tasks["tied"].p_at_1 == 0
    assert scores(model, mmeb_task(colours, "tied"))["main_score"] == 0.5


def test_candidates_are_encoded_once(readable: Path) -> None:
    task = mmeb_task(readable, "texts")
    task.load_data()
    (split,) = task.dataset["default"].values()
    assert len(split["corpus"]) == len(WORDS)
    assert split["top_ranked"] is None  # every query faces all of them
    task = mmeb_task(readable, "alike")
    task.load_data()
    (split,) = task.dataset["default"].values()
    assert len(split["corpus"]) == len(WORDS) + 1
    assert [len(faced) for faced in split["top_ranked"].values()] == [len(WORDS)] * len(WORDS)


@pytest.fixture
def graded(tmp_path: Path) -> Path:
    """Texts with several graded positives, candidates of their own and a corpus for all."""
    for name in ("eval", "corpus"):
        (tmp_path / name).mkdir()
    rows = [
        {
            "qry_text": f"find the {word}",
            "qry_img_path": "",
            "tgt_text": [f"the best {word}", f"{WORDS[number - 1]} by the {word}", "nothing of the kind", f"no {word}"],
            "tgt_img_path": [""] * 4,
            "tgt_gain": [1.0, 0.5] if number % 2 else [3.0, 2.0, 1.0],
        }
        for number, word in enumerate(WORDS)
    ]
    (tmp_path / "eval" / "graded.json").write_text(json.dumps(rows))
    corpus = [{"tgt_text": f"a picture of a {word}", "tgt_img_path": ""} for word in WORDS]
    (tmp_path / "corpus" / "graded.json").write_text(json.dumps(corpus))
    return tmp_path


def slow_ndcg(gains: list[float], ideal: list[float], k: int) -> float:
    def total(values: list[float]) -> float:
        return sum(value / math.log2(rank + 2) for rank, value in enumerate(values[:k]))

    return total(gains) / total(sorted(ideal, reverse=True))


def test_graded_positives_and_a_corpus(model: MTEBModel, graded: Path) -> None:
    rows = json.loads((graded / "eval" / "graded.json").read_text())
    corpus = [row["tgt_text"] for row in json.loads((graded / "corpus" / "graded.json").read_text())]
    expected, hits = [], []
    for row in rows:
        gain = dict(zip(row["tgt_text"], row["tgt_gain"], strict=False))
        faced = list(dict.fromkeys(row["tgt_text"] + corpus))
        similarity = np.asarray(model.model.encode(faced)) @ np.asarray(model.model.encode(row["qry_text"]))
        ranked = [gain.get(faced[number], 0.0) for number in np.argsort(-similarity)]
        expected.append(slow_ndcg(ranked, row["tgt_gain"], 5))
        hits.append(ranked[0] > 0)
    found = scores(model, mmeb_task(graded, "graded"))
    assert found["ndcg_at_5"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert found["hit_rate_at_1"] == pytest.approx(np.mean(hits))
    assert 0 < np.mean(expected) < 1


def test_the_metric_of_a_task_is_the_main_score(model: MTEBModel, graded: Path) -> None:
    (task,) = get_benchmark(graded).tasks
    ndcg = MMEBTask("graded", dataclasses.replace(task, metric="ndcg_linear@7"))
    found = scores(model, ndcg)
    assert found["main_score"] == found["ndcg_at_7"]
    with pytest.raises(UserError, match="no metric 'recall@5'"):
        MMEBTask("graded", dataclasses.replace(task, metric="recall@5"))


def test_cached_results_are_of_this_data(model: MTEBModel, graded: Path, tmp_path: Path) -> None:
    cache = mteb.ResultCache(tmp_path / "results")
    settings: Any = {"cache": cache, "encode_kwargs": QUIET, "co2_tracker": False, "show_progress_bar": False}
    before = mteb.evaluate(model, mmeb_task(graded, "graded"), **settings).task_results[0]
    path = graded / "eval" / "graded.json"
    rows = json.loads(path.read_text())
    for row in rows:  # the positives are now what nobody looks for
        row["tgt_text"].reverse()
    path.write_text(json.dumps(rows))
    after = mteb.evaluate(model, mmeb_task(graded, "graded"), **settings).task_results[0]
    assert before.get_score() != after.get_score()
    cached = mteb.evaluate(model, mmeb_task(graded, "graded"), **settings).task_results[0]
    assert cached.date == after.date != before.date


def test_instructions_go_before_tasks_that_have_none(nano_untouched: SentenceTransformer, picture: Draw) -> None:
    instructed = mteb_model(nano_untouched, name="llave/nano", instructions="mmeb")
    assert instructed.mteb_model_meta.experiment_kwargs == {"instructions": "mmeb"}
    task = mteb.get_task("CIRRIT2IRetrieval").metadata
    pictures = [picture(1), picture(2)]
    found = embed(instructed, {"id": ["a", "b"], "image": pictures}, task=task, query=False)
    told = [{"image": drawn, "text": "Represent the given image."} for drawn in pictures]
    np.testing.assert_allclose(found, nano_untouched.encode(told), atol=1e-5)  # type: ignore[arg-type]
    caption = mteb.get_task("MSCOCOT2IRetrieval").metadata
    found = embed(instructed, {"id": ["a"], "text": ["a red ball"]}, task=caption)
    text = "Find me an everyday image that matches the given caption: a red ball"
    np.testing.assert_allclose(found[0], nano_untouched.encode(text), atol=1e-5)
    drawn, names = Colours.drawn(), np.asarray(nano_untouched.encode(Colours.names))
    told = [{"image": image, "text": "Represent the given image for classification"} for image in drawn]
    predicted = (np.asarray(nano_untouched.encode(told)) @ names.T).argmax(1)  # type: ignore[arg-type]
    assert scores(instructed, Colours())["accuracy"] == pytest.approx((predicted == np.arange(len(names))).mean())


def test_rows_with_instructions_get_no_second_one(
    nano_untouched: SentenceTransformer, model: MTEBModel, readable: Path
) -> None:
    instructed = mteb_model(nano_untouched, name="llave/nano", instructions="mmeb")
    task = mmeb_task(readable, "alike").metadata
    columns = {"id": ["a"], "image": [str(readable / "images" / "cat.png")]}
    np.testing.assert_array_equal(
        embed(instructed, columns, task=task, query=False), embed(model, columns, task=task, query=False)
    )


def test_mistakes_are_named(tmp_path: Path, readable: Path) -> None:
    with pytest.raises(UserError, match="no data set 'nowhere'; there are: texts, names_ood, alike"):
        mmeb_task(readable, "nowhere")
    (tmp_path / "eval").mkdir()
    row = {"qry_text": "a", "qry_img_path": "", "tgt_text": ["", "b"], "tgt_img_path": ["gone.png", ""]}
    (tmp_path / "eval" / "one.json").write_text(json.dumps([row]))
    with pytest.raises(DataError, match=r"no picture .*gone\.png"):
        mmeb_task(tmp_path, "one")
    row = {**row, "tgt_img_path": ["", ""], "tgt_text": ["a", "b"], "qry_video_path": "clip.mp4"}
    (tmp_path / "eval" / "one.json").write_text(json.dumps([row]))
    with pytest.raises(UserError, match="has videos or sounds"):
        mmeb_task(tmp_path, "one")


def test_the_name_of_a_model_that_was_saved(tmp_path: Path) -> None:
    opened = build_nano(device="cpu")
    opened.save_pretrained(str(tmp_path / "m"))  # writes a card, whose title is no name
    assert mteb_model(opened).mteb_model_meta.name == "local/model"
