"""Loaded picture and video processors beside their files: sizes, means, what is done to pixels, and by which class."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llave.models.loaded.difference import Difference, Effect, read_json

__all__ = ["processor_differences"]

_FILES = {
    "image_processor": ("preprocessor_config.json",),
    "video_processor": ("video_preprocessor_config.json", "preprocessor_config.json"),
}
"""Where a processor's settings are if processor_config.json does not hold them."""
_LIMITS = {"min_pixels": "shortest_edge", "max_pixels": "longest_edge"}
"""Older names of two sizes; where they are given, they count and not ``size``."""
_NOT_PIXELS = {"do_convert_rgb", "return_metadata", "input_data_format", "data_format", "return_tensors", "device"}
_TYPES = ("image_processor_type", "video_processor_type", "feature_extractor_type")
_BACKENDS = ("Fast", "Pil")
_OPENED = ("size", "crop_size", "min_pixels", "max_pixels", "resample", "image_mean", "image_std", "do_resize")
"""Settings that options change in both processors."""
_SMALL = 1e-6


def processor_differences(processor: Any, folder: Path, options: Mapping[str, Any]) -> Iterator[Difference]:
    """What changes pixels: every setting in the files that the loaded processors have as well.

    Args:
        options: with which the checkpoint has its processor opened; they win over the files.

    Raises:
        DataError: a file that cannot be read.
    """
    nested = read_json(folder / "processor_config.json")
    version = str(read_json(folder / "config.json").get("transformers_version", ""))
    chosen = options.get("use_fast") is False or options.get("backend") == "pil"
    for name, files in _FILES.items():
        loaded = getattr(processor, name, None)
        if loaded is None and name == "image_processor" and hasattr(processor, "image_mean"):
            loaded = processor
        where, said = "processor_config.json", nested.get(name)
        if not isinstance(said, dict):
            where = next((file for file in files if (folder / file).is_file()), "")
            said = read_json(folder / where) if where else {}
        if loaded is None or not said:
            continue
        yield from _settings(name, where, {**said, **{key: options[key] for key in _OPENED if key in options}}, loaded)
        # transformers 4 called PIL's class by the name that is torchvision's since 5, and saved it in this file alone
        before_5 = where == "preprocessor_config.json" and version.startswith("4.")
        yield from _class(name, where, said, loaded, pil=chosen or before_5)


def _settings(name: str, where: str, said: Mapping[str, Any], loaded: Any) -> Iterator[Difference]:
    for key, value in said.items():
        if value is None or key in _NOT_PIXELS or key.endswith(("_class", "_type")) or key == "auto_map":
            continue
        if key in _LIMITS:
            ours = getattr(getattr(loaded, "size", None), _LIMITS[key], None)
        elif not hasattr(loaded, key) or (key == "size" and any(limit in said for limit in _LIMITS)):
            continue
        else:
            ours = getattr(loaded, key)
        if not _same(value, ours):
            yield Difference(
                part="processor", name=f"{key} of the {name}", where=where, file=_shown(value), loaded=_shown(ours),
                effect="vectors", remedy="other pixels than the model was trained on: restore the setting",
            )  # fmt: skip


def _class(name: str, where: str, said: Mapping[str, Any], loaded: Any, *, pil: bool) -> Iterator[Difference]:
    """Another class, or another library under it: torchvision's pixels are a grey level off PIL's in places."""
    wanted = next((said[key] for key in _TYPES if said.get(key)), None)
    ours = type(loaded).__name__
    if wanted is None or (name == "video_processor" and "Video" not in wanted):
        return
    base = wanted.replace("FeatureExtractor", "ImageProcessor")
    pil = name == "image_processor" and (base.endswith("Pil") or (pil and base == _bare(base)))
    effect: Effect
    if _bare(base) != _bare(ours):
        effect, remedy = "vectors", "update transformers, or name a class that it has"
    elif pil != ours.endswith("Pil"):
        effect, remedy = "perhaps", '"processor_kwargs": {"use_fast": false} in sentence_bert_config.json is PIL'
    else:
        return
    yield Difference(
        part="processor", name=f"class of the {name}", where=where, file=f"{wanted} (PIL)" if pil else wanted,
        loaded=ours, effect=effect, remedy=remedy,
    )  # fmt: skip


def _bare(name: str) -> str:
    for end in _BACKENDS:
        name = name.removesuffix(end)
    return name


def _same(said: Any, ours: Any) -> bool:
    """Equal but for the form: sizes as one number, enumerations, tuples for lists, the last digits of a float."""
    ours = _plain(ours)
    if isinstance(said, dict) and isinstance(ours, dict):
        return all(_same(value, ours.get(key)) for key, value in said.items() if value is not None)
    if isinstance(said, int) and not isinstance(said, bool) and isinstance(ours, dict):  # a size as one number
        return bool(ours) and all(value == said for value in ours.values())
    if isinstance(said, list) and isinstance(ours, list):
        return len(said) == len(ours) and all(map(_same, said, ours))
    if isinstance(said, float) and isinstance(ours, (int, float)):
        return abs(said - ours) <= _SMALL
    return bool(said == ours)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping) or hasattr(value, "shortest_edge"):
        return {key: one for key, one in dict(value).items() if one is not None}
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    return value


def _shown(value: Any) -> str:
    plain = _plain(value)
    return getattr(value, "name", None) or str(plain)
