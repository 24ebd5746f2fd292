"""Sounds are indexed and found by sounds; a model that takes none leaves them out, with the reason."""

import json
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from llave.cli.main import main
from llave.encode.item import Item
from llave.errors import UserError
from llave.models.model import EmbeddingModel
from llave.search.build import build_index
from llave.search.index import Index
from llave.search.options import BuildOptions
from tests.sounds import samples_of, speech, write_sound

QUIET = BuildOptions(progress=False, make_map=False)
WORDS = ("a red umbrella", "seven green frogs", "the last train to the sea")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for words in WORDS:
        write_sound(folder / f"{words}.flac", samples_of(speech(words)))
    (folder / "words.txt").write_text("words")
    (folder / "broken.mp3").write_text("no sound")
    return folder


@pytest.fixture(scope="module")
def index(hearing_model: EmbeddingModel, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    found, report = build_index(tmp_path_factory.mktemp("index") / "x", hearing_model, clips, options=QUIET)
    assert (report.added, list(report.errors), report.left_out) == (4, ["broken.mp3"], {})
    return found


def test_a_clip_finds_itself_in_another_format(index: Index, hearing_model: EmbeddingModel, tmp_path: Path) -> None:
    index.use_model(hearing_model)
    for words in WORDS:
        query = write_sound(tmp_path / "query.mp3", samples_of(speech(words)))
        hits = index.search(audio=query, filter="kind = audio", limit=2)
        assert (hits[0].path, hits[0].kind) == (f"{words}.flac", "audio")
        assert hits[0].score > 0.98 > hits[1].score
    assert index.kinds() == {"audio": 3, "text": 1}
    (nearest, *_) = index.search(Item("red", audio=query), limit=1)
    assert nearest.path == index.search("red", audio=str(query), limit=1)[0].path
    assert index.search("red", audio=query, weight=1.0, limit=1)[0].path == f"{words}.flac"
    assert index.store.get([hits[0].id], thumbnails=True)[hits[0].id].thumbnail == b""
    with pytest.raises(UserError, match="more than one of a picture, a video and a sound"):
        index.search(audio=query, image=query)


def test_the_command_line(index: Index, clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = clips / f"{WORDS[1]}.flac"
    options = ["--index", str(index.path), "--model", index.info.model, "--filter", "kind = audio", "--json"]
    assert main(["search", "--audio", str(clip), *options, "--html", str(index.path / "hits.html")]) == 0
    first, *_ = json.loads(capsys.readouterr().out)
    assert (first["path"], first["kind"], round(first["score"], 3)) == (clip.name, "audio", 1.0)
    assert clip.name in (index.path / "hits.html").read_text()


def test_a_model_that_takes_none(nano_untouched: SentenceTransformer, clips: Path, tmp_path: Path) -> None:
    _, report = build_index(tmp_path / "x", nano_untouched, clips, options=QUIET)
    assert (report.added, report.errors) == (1, {})
    assert report.left_out == {".flac (this model takes no sounds)": 3, ".mp3 (this model takes no sounds)": 1}
