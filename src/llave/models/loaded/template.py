"""The chat template in use beside the checkpoint's, and the tokens that stand for pictures and videos."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llave.models.loaded.difference import Difference, read_json

__all__ = ["template_differences"]

_PLACES = (("chat_template.json", "chat_template"), ("processor_config.json", "chat_template"))
"""JSON files that hold a template, the first found counts, before the tokenizer's own."""
_MEDIA = {
    "image_token": ("image_token_id", "image_token_index"),
    "video_token": ("video_token_id", "video_token_index"),
}
"""A processor's token, and where a model's configuration has its id."""
_SHOWN = 60


def template_differences(
    processor: Any, config: Any, tokenizer: Any, folder: Path, options: Mapping[str, Any]
) -> Iterator[Difference]:
    """The template, and tokens of media whose id is another one in the model's configuration.

    Raises:
        DataError: a file that cannot be read.
    """
    where, said = _template(folder)
    if options.get("chat_template"):
        where, said = "sentence_bert_config.json", options["chat_template"]
    loaded = getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None)
    theirs, ours = _one(said), _one(loaded)
    if theirs is not None and theirs != ours:
        at = next((i for i, (a, b) in enumerate(zip(theirs, ours or "", strict=False)) if a != b), len(ours or ""))
        start = max(0, at - 10)
        yield Difference(
            part="template", name=f"chat template (from character {at})", where=where, effect="vectors",
            file=repr(theirs[start : start + _SHOWN]), loaded=repr(ours[start : start + _SHOWN]) if ours else "nothing",
            remedy="keep the checkpoint's template: the vectors were trained with it",
        )  # fmt: skip
    for name, keys in _MEDIA.items():
        token = getattr(processor, name, None)
        number = next((value for key in keys if isinstance(value := getattr(config, key, None), int)), None)
        if not isinstance(token, str) or number is None or tokenizer is None:
            continue
        # Gemma 3's processor calls the token before its pictures the image's; the tokenizer knows the image's own.
        own = getattr(tokenizer, f"{name}_id", None) if hasattr(tokenizer, "boi_token") else None
        now = next((x for x in (own, getattr(processor, f"{name}_id", None)) if isinstance(x, int)), None)
        now = tokenizer.convert_tokens_to_ids(token) if now is None else now
        if now != number:
            yield Difference(
                part="template", name=f"id of {token}", where="config.json", file=str(number), loaded=str(now),
                effect="vectors", remedy="the tokenizer is not this model's: take both from one checkpoint",
            )  # fmt: skip


def _template(folder: Path) -> tuple[str, Any]:
    """The checkpoint's template, and the file that holds it."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.name, path.read_text("utf-8")
    for name, key in (*_PLACES, ("tokenizer_config.json", "chat_template")):
        said = read_json(folder / name).get(key)
        if said:
            return name, said
    return "", None


def _one(template: Any) -> str | None:
    """One of several named ones: the default."""
    if isinstance(template, list):
        template = {one.get("name"): one.get("template") for one in template}
    if isinstance(template, dict):
        template = template.get("default")
    return template if isinstance(template, str) else None
