"""A sound in any form, as the model hears it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from llave.data.inline import inline_bytes
from llave.data.sound import Hearing, Sound, load_sound, mono_at

__all__ = ["fit_sound", "heard_sound", "hearing_of", "is_cut", "sound_input"]


def hearing_of(model: Any) -> Hearing:
    """The rate that a model's feature extractor takes, and how much of a sound its tokens are for.

    EmbeddingGemma 2 has 750 tokens of 40 ms: 30 s. What says nothing is taken for 16 kHz and 30 s.
    """
    plain, processor = Hearing(), getattr(model, "processor", None)
    rate = getattr(getattr(processor, "feature_extractor", None), "sampling_rate", None) or plain.rate
    tokens, each = (getattr(processor, name, None) for name in ("audio_seq_length", "audio_ms_per_token"))
    return Hearing(rate=int(rate), seconds=tokens * each / 1000 if tokens and each else plain.seconds)


def fit_sound(sound: Any, hearing: Hearing) -> Any:
    """A sound in sentence-transformers' form, as :func:`heard_sound`; an address in the web as it is."""
    if isinstance(sound, str) and sound.startswith("http"):
        return sound
    return sound_input(heard_sound(sound, hearing))


def heard_sound(sound: Any, hearing: Hearing) -> Sound:
    """A sound in any form, mono at the model's rate and cut to what it hears.

    Args:
        sound: a file, its bytes or ``data:`` address, ``{"array", "sampling_rate"}``, ``{"bytes", "path"}`` as data
            sets have it, torchcodec's decoder, or an array at the model's rate.

    Raises:
        DataError: it cannot be decoded.
    """
    if isinstance(sound, dict) and "array" in sound:
        heard = mono_at(sound["array"], sound.get("sampling_rate", hearing.rate), hearing)
        return replace(heard, seconds=sound.get("seconds", heard.seconds))
    if isinstance(sound, dict):
        sound = sound.get("bytes") or sound.get("path")
    if isinstance(sound, str):
        inline = inline_bytes(sound)
        sound = Path(sound) if inline is None else inline
    if isinstance(sound, (bytes, Path)):
        return load_sound(sound, hearing)
    if hasattr(sound, "get_all_samples"):
        samples = sound.get_all_samples()
        return mono_at(samples.data, samples.sample_rate, hearing)
    return mono_at(sound, hearing.rate, hearing)


def sound_input(sound: Sound) -> dict[str, Any]:
    """What ``SentenceTransformer.encode`` takes under ``"audio"``; how long the whole was is kept beside it."""
    return {"array": sound.samples, "sampling_rate": sound.rate, "seconds": sound.seconds}


def is_cut(entry: Any, hearing: Hearing | None) -> bool:
    """Whether a fitted input has a sound of which the end is not heard."""
    sound = entry.get("audio") if isinstance(entry, dict) else None
    return hearing is not None and isinstance(sound, dict) and hearing.cuts(sound.get("seconds", 0.0))
