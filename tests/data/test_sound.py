"""Audio files of every format, mono at one rate; what is cut, and what is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from llave.data.sound import Hearing, SoundLimits, load_sound, mono_at, sound_seconds
from llave.encode.item import Item, Reading
from llave.errors import DataError
from llave.models.fit import MediaTokens, fit_input
from tests.data.films import frames, write_film
from tests.sounds import CODECS, RATE, samples_of, speech, tone, write_sound

HEARING = Hearing(rate=16_000, seconds=2.0)
READING = Reading(hearing=HEARING)


def pitch(samples: np.ndarray, rate: int) -> float:
    """The strongest frequency, in hertz."""
    strength = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(strength.argmax() * rate / len(samples))


@pytest.mark.parametrize("suffix", [".wav", *CODECS])
def test_any_format_is_mono_at_the_models_rate(tmp_path: Path, suffix: str) -> None:
    path = write_sound(tmp_path / f"a{suffix}", np.stack([tone(1.0), 0 * tone(1.0)]))
    sound = load_sound(path, HEARING)
    assert (sound.samples.dtype, sound.samples.ndim, sound.rate) == (np.float32, 1, 16_000)
    assert sound.seconds == pytest.approx(1.0, abs=0.08)  # codecs add silence
    assert len(sound.samples) == round(sound.seconds * 16_000)
    assert pitch(sound.samples, 16_000) == pytest.approx(440, abs=2)
    assert np.abs(sound.samples[4000:12_000]).max() == pytest.approx(0.15, abs=0.02)  # the mean of both channels
    assert sound_seconds(path) == pytest.approx(1.0, abs=0.08)
    assert np.array_equal(load_sound(path.read_bytes(), HEARING).samples, sound.samples)


def test_speech_is_the_same_in_every_format(tmp_path: Path) -> None:
    spoken = samples_of(speech("a red umbrella"))
    plain = load_sound(write_sound(tmp_path / "a.wav", spoken)).samples
    for suffix in (".flac", ".mp3", ".ogg"):
        other = load_sound(write_sound(tmp_path / f"a{suffix}", spoken)).samples
        both = min(len(plain), len(other))
        loudness = [
            np.abs(each[:both].reshape(-1)[: both // 160 * 160].reshape(-1, 160)).mean(1) for each in (plain, other)
        ]
        assert np.corrcoef(*loudness)[0, 1] > 0.95, suffix


def test_a_long_sound_is_cut_and_says_how_long_it_was(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "long.flac", tone(7.0))
    sound = load_sound(path, HEARING)
    assert (len(sound.samples), sound.seconds) == (32_000, pytest.approx(7.0))
    assert HEARING.cuts(sound.seconds)
    assert not HEARING.cuts(2.05)  # what a codec adds is no loss


def test_arrays_of_another_rate_and_of_several_channels() -> None:
    sound = mono_at(np.stack([tone(1.0), tone(1.0)]).T, RATE, HEARING)
    assert len(sound.samples) == pytest.approx(16_000, abs=32)
    assert pitch(sound.samples, 16_000) == pytest.approx(440, abs=2)
    as_it_is = tone(0.5, rate=16_000)
    assert np.array_equal(mono_at(as_it_is, 16_000, HEARING).samples, as_it_is)
    assert mono_at(tone(3.0), RATE, HEARING).seconds == pytest.approx(3.0)
    for wrong in (np.zeros(0), np.zeros((2, 2, 2)), "words", [float("nan")] * 50):
        with pytest.raises(DataError, match="a sound in memory"):
            mono_at(wrong, 16_000, HEARING)


def test_inputs_of_a_model(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.ogg", tone(0.5))
    nothing = MediaTokens([])
    for given in (path, str(path), {"audio": path.read_bytes()}, {"audio": {"path": str(path), "bytes": None}}):
        fitted = fit_input(given, nothing, ["audio"], HEARING)
        assert fitted["audio"]["sampling_rate"] == 16_000
        assert len(fitted["audio"]["array"]) == pytest.approx(8000, abs=320)
    assert fit_input("no such.ogg", nothing, ["audio"], HEARING) == "no such.ogg"
    assert fit_input(str(path), nothing, ["image"]) == str(path)
    with pytest.raises(DataError, match="this model takes none"):
        fit_input(path, nothing, ["image"])


def damaged(data: bytes) -> bytes:
    middle = len(data) // 2
    noise = np.random.default_rng(0).integers(0, 255, len(data) // 4, dtype=np.uint8).tobytes()
    return data[:middle] + noise + data[middle + len(noise) :]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".m4a", ".ogg", ".mp3", ".aac"])
def test_cut_off_and_damaged_files(tmp_path: Path, suffix: str) -> None:
    """mp3 and aac have no header that says how long they are, and a WAV nothing that tells noise from sound; an ogg
    counts what is there."""
    spoken = np.random.default_rng(1).normal(0, 0.1, RATE * 2).astype(np.float32)  # noise fills every packet
    data = write_sound(tmp_path / f"a{suffix}", spoken).read_bytes()
    for broken, told in (
        (data[: len(data) // 2], (".wav", ".flac", ".m4a")),
        (damaged(data), [".flac", ".m4a", ".ogg", ".mp3", ".aac"]),
    ):
        if suffix in told:
            with pytest.raises(DataError) as caught:
                load_sound(broken)
            assert str(caught.value).startswith(f"{len(broken):,} bytes: ")
            assert "\n" not in str(caught.value)
        else:
            assert load_sound(broken).seconds > 0.5


def test_what_is_no_sound(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", frames(3))
    (tmp_path / "text.mp3").write_text("no sound at all")
    (tmp_path / "empty.wav").write_bytes(b"")
    nothing = write_sound(tmp_path / "nothing.wav", tone(0.01))
    nothing.write_bytes(nothing.read_bytes()[:40] + bytes(4))  # a head, and 0 bytes of data
    (tmp_path / "list.wav").write_text("#EXTM3U\n#EXTINF:1,\na.wav\n")
    for path, reason in (
        (film, "a film, and its sound track is not taken"),
        (tmp_path / "text.mp3", "not a whole sound"),
        (tmp_path / "empty.wav", "not a whole sound"),
        (nothing, "says; download it again|0 samples"),
        (tmp_path / "list.wav", "not a whole sound"),
        (tmp_path / "gone.wav", "no such sound"),
    ):
        with pytest.raises(DataError, match=reason) as caught:
            load_sound(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_silence_is_a_sound(tmp_path: Path) -> None:
    sound = load_sound(write_sound(tmp_path / "silence.flac", 0 * tone(0.5)))
    assert not sound.samples.any()
    assert len(sound.samples) == 8000


def test_limits(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", tone(0.2))
    with pytest.raises(DataError, match="more than 100 bytes, the limit for a sound"):
        load_sound(path, limits=SoundLimits(num_bytes=100))
    many = bytearray(path.read_bytes())
    many[22:24] = (1000).to_bytes(2, "little")  # channels
    with pytest.raises(DataError):
        load_sound(bytes(many))
    fast = bytearray(path.read_bytes())
    fast[24:28] = (2_000_000_000).to_bytes(4, "little")
    with pytest.raises(DataError, match="samples a second"):
        load_sound(bytes(fast))


def test_content_is_identity(tmp_path: Path) -> None:
    one, twin = write_sound(tmp_path / "a.wav", tone(0.2)), tmp_path / "b.wav"
    twin.write_bytes(one.read_bytes())
    first, second = Item(audio=one).measure(READING), Item(audio=twin.read_bytes()).measure(READING)
    assert (first, first.seconds) == (second, pytest.approx(0.2))
    assert first.key != Item("words", audio=one).measure(READING).key
    assert first.key != Item(image=one).measure(READING).key
    assert (Item(audio=one).kind, Item(audio=one).modality, Item(audio=one).file) == ("audio", "audio", one)
    with pytest.raises(DataError, match="more than one of a picture, a video and a sound"):
        Item(image=b"x", audio=one).measure(READING)


def test_ffmpeg_is_not_imported_by_ours() -> None:
    """Its import takes as long as a query: only what decodes pays for it."""
    code = "import sys, llave.data.sound, llave.models.sounds; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
