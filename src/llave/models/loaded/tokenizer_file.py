"""``tokenizer.json`` without its vocabulary: its rules, and the small tokenizer that they make.

The vocabulary is nearly all of the file (11 MB of Qwen2's) and none of what drifts, so it is not parsed.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from llave.data.door import named

__all__ = ["STEPS", "TokenizerFile", "part_of", "rules_of"]

STEPS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
WORDS = ("vocab", "merges")
_LISTS = ("normalizers", "pretokenizers", "processors", "decoders")
_BEHIND = 20
"""Bytes from the word ``"vocab"`` to a place in its value."""
_NO_EFFECT = ("trim_offsets",)
"""Fields of a rule that move the places of tokens in the text, and no token."""


class TokenizerFile:
    """What a ``tokenizer.json`` says beside its vocabulary.

    Attributes:
        added: its added tokens, as dictionaries of content, id and flags.
        model: the settings of its model, without vocabulary and merges.
        backend: a tokenizer of no words with all its rules.

    Raises:
        DataError: not such a file.
    """

    def __init__(self, path: Path) -> None:
        with named(str(path), "cannot be read as a tokenizer"):
            said = _read(path.read_bytes())
            self.added: list[dict[str, Any]] = said.get("added_tokens") or []
            self.model: dict[str, Any] = said.get("model") or {}
            empty = {"type": "WordLevel", "vocab": {}, "unk_token": "[UNK]"}
            small: dict[str, Any] = {
                "version": "1.0",
                "added_tokens": [],
                "model": empty,
                **{step: said.get(step) for step in STEPS},
            }
            self.backend: Any = Tokenizer.from_str(json.dumps(small))


def part_of(backend: Any, step: str) -> Any:
    """A step of a tokenizer as JSON has it, None without one. Older files' forms become today's."""
    found = getattr(backend, step)
    if found is None:
        return None
    try:
        return json.loads(found.__getstate__())
    except Exception:  # one that is written in Python has no JSON form
        return {"type": type(found).__name__}


def rules_of(part: Any) -> list[dict[str, Any]]:
    """The rules of a step, sequences resolved, without what has no effect on tokens."""
    if part is None:
        return []
    for name in _LISTS:
        if name in part:
            return [rule for one in part[name] for rule in rules_of(one)]
    return [{key: value for key, value in part.items() if key not in _NO_EFFECT}]


def _read(content: bytes) -> dict[str, Any]:
    """The file's top level, its model without words."""
    said: dict[str, Any] = {}
    with contextlib.suppress(ValueError, IndexError):  # cut at another place than the vocabulary: read as a whole
        text = content[: content.find(b'"vocab"') + _BEHIND].decode("utf-8", "ignore")
        for key, at in _keys(text, 0):
            if key == "model":
                said[key] = {name: _decode(text, at)[0] for name, at in _keys(text, at) if name not in WORDS}
                break
            said[key] = _decode(text, at)[0]
    if "model" not in said or any(step not in said for step in ("added_tokens", *STEPS)):
        said = json.loads(content)
        said["model"] = {key: value for key, value in said["model"].items() if key not in WORDS}
    return said


def _keys(text: str, at: int) -> Iterator[tuple[str, int]]:
    """The keys of the object at a place, each with the place of its value; words and what follows them are left."""
    at = text.index("{", at) + 1
    while text[at := _blank(text, at)] != "}":
        key, at = _decode(text, at)
        at = _blank(text, at, ":")
        yield key, at
        if key in WORDS:
            return
        at = _blank(text, _decode(text, at)[1], ",")


def _decode(text: str, at: int) -> tuple[Any, int]:
    return json.JSONDecoder().raw_decode(text, at)


def _blank(text: str, at: int, also: str = "") -> int:
    while text[at] in " \t\r\n" + also:
        at += 1
    return at
