"""Sounds on their way to a vector: alone, with a text, in mixed batches, and of a model that takes none."""

from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from llave.data.sound import Hearing
from llave.encode.encoder import Encoder
from llave.encode.forward import Refused
from llave.encode.item import Item
from llave.models.model import EmbeddingModel
from tests.sounds import RATE, samples_of, speech, tone, write_sound


def test_one_sound_in_several_formats_has_nearly_one_vector(hearing_model: EmbeddingModel, tmp_path: Path) -> None:
    spoken, other = samples_of(speech("a red umbrella")), samples_of(speech("seven green frogs"))
    files = [write_sound(tmp_path / f"a{suffix}", spoken) for suffix in (".wav", ".flac", ".mp3", ".ogg")]
    files.append(write_sound(tmp_path / "other.wav", other))
    vector, flac, mp3, ogg, another = np.stack(Encoder(hearing_model)([Item(audio=file) for file in files]))
    assert vector @ flac > 0.9999
    assert min(vector @ mp3, vector @ ogg) > 0.98
    assert vector @ another < 0.95


def test_mixed_items_equal_single_ones(hearing_model: EmbeddingModel, tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "a.wav", tone(0.4))
    items = [
        Item("words"),
        Item(audio=sound),
        Item("a tone", audio=sound.read_bytes()),
        Item(audio=write_sound(tmp_path / "b.wav", tone(1.1, 900))),
        Item(audio=tmp_path / "gone.wav"),
        Item(audio=b"no sound"),
        Item(audio=sound),
    ]
    found = Encoder(hearing_model)(items)
    assert [isinstance(one, Refused) for one in found] == [False] * 4 + [True, True, False]
    assert str(found[4]).startswith(str(tmp_path / "gone.wav"))
    assert str(found[5]).startswith("8 bytes: not a whole sound")
    vectors = [one for one in found if not isinstance(one, Refused)]
    assert np.array_equal(vectors[1], vectors[4])
    assert max(vectors[a] @ vectors[b] for a, b in ((0, 1), (1, 2), (1, 3))) < 0.999
    by_model = hearing_model.encode([{"audio": sound, "text": "a tone"}, str(sound)])
    assert np.allclose(by_model, [vectors[2], vectors[1]], atol=1e-5)


def test_what_is_not_heard_is_counted(
    hearing_model: EmbeddingModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EmbeddingGemma 2 has 750 tokens of 40 ms; here, 25 of them."""
    assert hearing_model.hearing == Hearing(rate=16_000, seconds=30.0)
    monkeypatch.setattr(hearing_model.processor, "audio_seq_length", 25)
    long = tone(1.5)
    files = [write_sound(tmp_path / f"{n}.flac", samples) for n, samples in enumerate((long, long[:RATE]))]
    encoder = Encoder(hearing_model)
    one, other = np.stack(encoder([Item(audio=file) for file in files]))
    assert encoder.cut_sounds == 1
    assert one @ other > 0.9999
    assert encoder.tokens.media("audio", None, 0.1) == 3
    assert encoder.tokens.media("audio", None, 99.0) == 25
    monkeypatch.setitem(vars(hearing_model), "hearing", Hearing(seconds=1.0))
    before = hearing_model.cuts.sounds
    hearing_model.preprocess([{"audio": {"array": long, "sampling_rate": RATE}}, {"audio": files[1]}])
    assert hearing_model.cuts.sounds == before + 1


def test_a_model_that_takes_none(nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    (found,) = Encoder(nano_untouched)([Item("words", audio=write_sound(tmp_path / "a.wav", tone(0.1)))])
    assert found == Refused("model", "a sound, and this model takes none")


@pytest.mark.parametrize("seconds", [0.021, 0.2, 1.0])
def test_short_ones(hearing_model: EmbeddingModel, tmp_path: Path, seconds: float) -> None:
    (found,) = Encoder(hearing_model)([Item(audio=write_sound(tmp_path / "a.wav", tone(seconds)))])
    assert not isinstance(found, Refused)
