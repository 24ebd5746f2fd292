"""One task of each of mteb's newer benchmarks, its own class, on tiny local data; and what a model does not take."""

import json
import math
from pathlib import Path
from typing import Any

import datasets
import mteb
import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.cli.main import main
from llave.cli.mteb import _fitting, _tasks
from llave.data.video import load_video
from llave.errors import UserError
from llave.evaluation.mteb import MTEBModel, mteb_model
from llave.models.model import EmbeddingModel
from llave.models.prompts import stack_frames
from tests.data.films import write_film
from tests.sounds import tone, write_sound

COLOURS = ("red", "green", "blue", "black", "white")
TEXTS = [f"what is {name}?" for name in COLOURS]


@pytest.fixture(scope="module")
def model(nano_untouched: SentenceTransformer) -> MTEBModel:
    return mteb_model(nano_untouched, name="llave/nano")


def local(name: str, subset: str, corpus: dict[str, Any], features: dict[str, Any]) -> Any:
    """mteb's task of a name with queries about colours and this corpus, instead of what it fetches."""
    task = mteb.get_task(name) if subset == "default" else mteb.get_task(name, hf_subsets=[subset])
    ids = [f"d{number}" for number in range(len(COLOURS))]
    stored = {
        "bytes": datasets.Value("binary"),
        "path": datasets.Value("string"),
    }  # as files: encoding wants torchcodec
    plain = {key: stored if isinstance(kind, datasets.Audio) else kind for key, kind in features.items()}
    documents = datasets.Dataset.from_dict(
        {"id": ids, **corpus}, features=datasets.Features({"id": datasets.Value("string"), **plain})
    )
    for key in features.keys() & {"audio"}:
        documents = documents.cast_column(key, features[key])
    split = {
        "queries": datasets.Dataset.from_dict({"id": [f"q{number}" for number in range(len(TEXTS))], "text": TEXTS}),
        "corpus": documents,
        "relevant_docs": {f"q{number}": {f"d{number}": 1} for number in range(len(TEXTS))},
        "top_ranked": None,
    }

    def load_data(num_proc: int | None = None, **_: Any) -> None:
        task.dataset, task.data_loaded = {subset: {"test": split}}, True

    task.load_data = load_data
    return task


def ndcg(model: MTEBModel, documents: list[Any]) -> float:
    """NDCG@10 of the diagonal, from the model alone."""
    scores = np.asarray(model.model.encode(TEXTS)) @ np.asarray(model.model.encode(documents)).T
    ranks = (scores >= scores.diagonal()[:, None]).sum(1)
    assert 1 < ranks.mean() < len(COLOURS)  # neither perfect nor hopeless
    return float(np.mean([1 / math.log2(rank + 1) for rank in ranks]))


def ndcg_of(model: MTEBModel, task: Any) -> float:
    settings: Any = {"show_progress_bar": False, "batch_size": 4}
    result = mteb.evaluate(model, task, cache=None, encode_kwargs=settings, co2_tracker=False, show_progress_bar=False)
    (of_split,) = result.task_results[0].scores.values()
    return float(of_split[0]["ndcg_at_10"])


def pages() -> list[Image.Image]:
    return [Image.new("RGB", (48, 32), name) for name in COLOURS]


def test_vidore_v3(model: MTEBModel) -> None:
    task = local("Vidore3FinanceEnRetrieval", "english", {"image": pages()}, {"image": datasets.Image()})
    assert ndcg_of(model, task) == pytest.approx(ndcg(model, pages()), abs=1e-4)


def test_vidore_v3_1_with_the_text_of_each_page(model: MTEBModel) -> None:
    texts = ["page one", "", "a page about the sea", "night", "snow and nothing else"]
    features = {"image": datasets.Image(), "text": datasets.Value("string")}
    task = local("Vidore3FinanceEnRetrieval.v2", "english", {"image": pages(), "text": texts}, features)
    both = [{"image": page, "text": text} if text else page for page, text in zip(pages(), texts, strict=True)]
    assert ndcg_of(model, task) == pytest.approx(ndcg(model, both), abs=1e-4)


def test_mveb_without_torchcodec(model: MTEBModel, tmp_path: Path) -> None:
    films = [write_film(tmp_path / f"{n}.mp4", [page] * 2) for n, page in enumerate(pages())]
    mixed = [str(films[0]), *({"bytes": path.read_bytes(), "path": None} for path in films[1:])]
    task = local("MSVDT2VRetrieval", "default", {"video": mixed}, {"video": datasets.Video()})
    seen = [{"video": stack_frames(load_video(path))} for path in films]
    assert ndcg_of(model, task) == pytest.approx(ndcg(model, seen), abs=1e-4)


def test_maeb_by_a_model_that_hears(hearing_model: EmbeddingModel, tmp_path: Path) -> None:
    """mteb's own Clotho task over five tones, decoded as everywhere in llave."""
    files = [write_sound(tmp_path / f"{n}.flac", tone(0.5, 200.0 * 2**n)) for n in range(len(COLOURS))]
    tones = [{"bytes": path.read_bytes(), "path": None} for path in files]
    task = local("ClothoT2ARetrieval", "default", {"audio": tones}, {"audio": datasets.Audio()})
    of_ears = mteb_model(hearing_model, name="llave/tiny")
    assert ndcg_of(of_ears, task) == pytest.approx(ndcg(of_ears, [{"audio": path} for path in files]), abs=1e-4)


def test_maeb_is_left_out_with_a_line_where_the_model_hears_nothing(
    nano_untouched: SentenceTransformer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "eval").mkdir(parents=True)
    row = {"qry_text": "a", "qry_img_path": "", "tgt_text": ["a", "b"], "tgt_img_path": ["", ""]}
    (tmp_path / "data" / "eval" / "one.json").write_text(json.dumps([row]))
    nano_untouched.save_pretrained(str(tmp_path / "m"))
    command = ["mteb", str(tmp_path / "m"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*command, "--tasks", f"MAEB,{tmp_path / 'data'}"]) == 0
    printed = capsys.readouterr()
    assert (
        "left out 30 of 31 tasks: the model takes no audio, only text, image, video: ClothoT2ARetrieval" in printed.err
    )
    assert "data-one" in printed.out
    with pytest.raises(UserError, match="left out 1 of 1 tasks: the model takes no audio"):
        _fitting(["text", "image"], _tasks("ClothoT2ARetrieval"))


def test_benchmarks_by_name() -> None:
    for name, count, one in (
        ("ViDoRe(v3)", 10, "Vidore3HrRetrieval"),
        ("ViDoRe(v3.1)", 10, "Vidore3HrRetrieval.v2"),
        ("MAEB", 30, "ClothoT2ARetrieval"),
        ("MVEB", 23, "MSVDT2VRetrieval"),
    ):
        tasks = [task.metadata.name for task in _tasks(name)]
        assert (len(tasks), one in tasks) == (count, True)
