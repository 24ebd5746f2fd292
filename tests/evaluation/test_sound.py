"""Sounds in evaluation: rows of a folder, and mteb's tasks over data sets whose sounds are files."""

import json
from pathlib import Path
from typing import Any

import datasets
import mteb
import pyarrow as pa
import pytest
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from sentence_transformers import SentenceTransformer

from llave.data.check import check_rows
from llave.errors import DataError, UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.mteb import mteb_model
from llave.evaluation.runner import evaluate
from llave.models.model import EmbeddingModel
from tests.sounds import samples_of, speech, tone, write_sound

WORDS = ("a red umbrella", "seven green frogs", "the last train")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``spoken``: an mp3 finds the flac that it was made of."""
    root = tmp_path_factory.mktemp("data")
    for name in ("eval", "images", "audios"):
        (root / name).mkdir()
    for number, words in enumerate(WORDS):
        for suffix in (".flac", ".mp3"):
            write_sound(root / "audios" / f"{number}{suffix}", samples_of(speech(words)))
    rows = [
        {
            "qry_text": "",
            "qry_img_path": "",
            "qry_audio_path": f"{number}.mp3",
            "tgt_text": [""] * 3,
            "tgt_img_path": [""] * 3,
            "tgt_audio_path": [f"{number}.flac", *(f"{other}.flac" for other in range(3) if other != number)],
        }
        for number in range(3)
    ]
    rows.append({**rows[0], "qry_audio_path": "gone.mp3"})
    (root / "eval" / "spoken.json").write_text(json.dumps(rows))
    return root


def test_a_sound_finds_itself(hearing_model: EmbeddingModel, root: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the second time from the cache
        result = evaluate(hearing_model, get_benchmark(str(root)), cache_dir=tmp_path / "cache", progress=False)
        assert [row.correct for row in result.tasks["spoken"].rows] == [True] * 3
        assert [(Path(error.file).name, error.message) for error in result.errors] == [
            ("gone.mp3", f"{root / 'audios' / 'gone.mp3'}: cannot read (No such file or directory)")
        ]


def test_a_model_that_takes_none_is_refused(nano_untouched: SentenceTransformer, root: Path) -> None:
    with pytest.raises(UserError, match="sounds, and this model takes none"):
        evaluate(nano_untouched, get_benchmark(str(root)), progress=False)


def test_check(root: Path) -> None:
    found = check_rows(root / "eval" / "spoken.json", root / "images", evaluation=True)
    assert [(problem.row, problem.kind) for problem in found] == [(3, "missing-audio")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tgt_audio_path": ["0.flac"]}, "tgt_audio_path must be a list as long as tgt_text"),
        ({"qry_img_path": "a.png"}, "more than one of a picture, a video and a sound"),
        ({"qry_audio_path": 3}, "3 is no path"),
    ],
)
def test_rows_that_are_wrong(root: Path, tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    row = json.loads((root / "eval" / "spoken.json").read_text())[0] | change
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "a.json").write_text(json.dumps([row]))
    with pytest.raises(DataError, match=reason):
        get_benchmark(str(tmp_path)).tasks[0].read()


class Spoken(AbsTaskRetrieval):
    """MAEB's audio-to-audio retrieval over files, as the hub has them."""

    root: Path
    metadata = mteb.TaskMetadata(
        name="Spoken",
        description="made by a test",
        dataset={"path": "none", "revision": "1"},
        type="Any2AnyRetrieval",
        category="a2a",
        modalities=["audio"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        def table(suffix: str) -> datasets.Dataset:
            sounds = [{"bytes": (self.root / "audios" / f"{n}{suffix}").read_bytes(), "path": None} for n in range(3)]
            made = datasets.Dataset(pa.table({"id": [f"{suffix}{n}" for n in range(3)], "audio": sounds}))
            return made.cast_column("audio", datasets.Audio(sampling_rate=8000))

        relevant = {f".mp3{n}": {f".flac{n}": 1} for n in range(3)}
        split = RetrievalSplitData(
            queries=table(".mp3"), corpus=table(".flac"), relevant_docs=relevant, top_ranked=None
        )
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


def test_a_task_of_mteb(hearing_model: EmbeddingModel, root: Path) -> None:
    """Without torchcodec, which datasets' own decoding needs; its rate is not the model's."""
    model = mteb_model(hearing_model, name="llave/tiny")
    assert model.mteb_model_meta.modalities == ["text", "image", "video", "audio"]
    task = Spoken()
    task.root = root
    quiet: Any = {"show_progress_bar": False, "batch_size": 2}
    result = mteb.evaluate(model, task, cache=None, encode_kwargs=quiet, co2_tracker=False)
    assert result.task_results[0].scores["test"][0]["ndcg_at_1"] == 1.0


def test_arrays_in_a_data_set(hearing_model: EmbeddingModel) -> None:
    model = mteb_model(hearing_model, name="llave/tiny")
    sound = {"array": tone(0.3), "sampling_rate": 24_000}
    batch = {"text": ["", "words"], "audio": [sound, None]}
    heard, words = model._items(batch, Spoken.metadata, None)
    assert words == "words"
    assert isinstance(heard, dict)
    assert len(heard["audio"]["array"]) == pytest.approx(4800, abs=32)
