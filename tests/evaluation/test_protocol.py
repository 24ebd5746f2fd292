"""Settings of an evaluation that are not the model's own: applied while it runs, part of what is cached, said."""

import json
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from llave import load_model
from llave.data.video_limits import VideoLimits
from llave.errors import UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.protocol import Protocol
from llave.evaluation.runner import evaluate
from llave.models.model import EmbeddingModel
from tests.data.films import frames, write_film
from tests.models.tiny_backbones import build


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingModel:
    return load_model(build("qwen2_vl", tmp_path_factory.mktemp("qwen")), device="cpu")


def test_applied_and_taken_back(qwen: EmbeddingModel) -> None:
    pictures, videos = qwen[0].processor.image_processor, qwen[0].processor.video_processor
    before = qwen.max_seq_length, dict(pictures.size), dict(videos.size)
    protocol = Protocol(max_length=77, min_pixels=3136, max_pixels=6272, video_max_pixels=9408)
    with protocol.applied(qwen):
        assert qwen.max_seq_length == 77
        assert dict(pictures.size) == {"shortest_edge": 3136, "longest_edge": 6272}
        assert dict(videos.size) == {**before[2], "longest_edge": 9408}
        picture = frames(1, (400, 300))[0]
        assert len(qwen.preprocess([picture])["pixel_values"]) * 14 * 14 <= 6272
    assert before == (qwen.max_seq_length, dict(pictures.size), dict(videos.size))


def test_what_a_model_cannot_is_refused(nano_untouched: SentenceTransformer) -> None:
    for protocol, said in (
        (Protocol(max_pixels=10), "--min_pixels and --max_pixels: the processor of this model .* has no such limits"),
        (Protocol(video_max_pixels=10), "--video_min_pixels and --video_max_pixels"),
        (Protocol(max_length=0), "--max_length 0: at least 1 token"),
    ):
        with pytest.raises(UserError, match=said), protocol.applied(nano_untouched):
            pass


def test_what_decides_a_vector_is_in_the_caches_name() -> None:
    own = Protocol().cache_name("f")
    assert (
        own == Protocol(form="system", query_prompt="x", num_frames=3).cache_name("f") == "f"
    )  # those are in the keys
    others = [Protocol(form="raw"), Protocol(video_max_pixels=9), Protocol(video_min_pixels=9)]
    names = {protocol.cache_name("f") for protocol in others}
    assert len(names | {own}) == 4
    assert Protocol(video_max_pixels=10**7).reading.videos.kept_pixels == 1280 * 28 * 28
    assert Protocol(video_max_pixels=10).reading.videos == VideoLimits()


def test_videos_by_the_second_or_evenly_and_said(nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    (tmp_path / "eval").mkdir()
    (tmp_path / "videos" / "stored").mkdir(parents=True)
    write_film(tmp_path / "videos" / "film.mp4", frames(20), rate=10)
    for number, frame in enumerate(frames(20)):
        frame.save(tmp_path / "videos" / "stored" / f"{number}.png")
    empty = {"qry_img_path": "", "tgt_img_path": ["", ""], "tgt_text": ["", ""]}
    row = {**empty, "qry_text": "a film", "tgt_video_path": ["film.mp4", "stored"]}
    (tmp_path / "eval" / "t.json").write_text(json.dumps([row]))

    def run(protocol: Protocol) -> tuple[str, list[str]]:
        cache = tmp_path / "cache"
        result = evaluate(nano_untouched, get_benchmark(tmp_path), protocol=protocol, cache_dir=cache, progress=False)
        assert not result.errors
        return result.vectors, list(result.notes)

    evenly, notes = run(Protocol(num_frames=5))
    assert notes == []
    by_second, notes = run(Protocol(num_frames=5, fps=2))  # every fifth of 20: 4 frames, not from the cache
    assert notes == [
        "1 of 2 videos are folders of frames or animations, which tell no frames a second: "
        "5 of each were taken evenly, not 2 a second"
    ]
    assert by_second != evenly
    assert run(Protocol(num_frames=5))[0] == evenly
