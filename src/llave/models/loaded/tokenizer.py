"""A loaded tokenizer beside its files.

transformers 5 builds many tokenizers anew from the vocabulary alone and drops whatever other rules ``tokenizer.json``
has (WeMM's "a newline at the end goes" is the known case). Rules are compared as rules, and where they differ by what
they do to a few texts: a rule in other words (``Prepend`` and ``Replace`` for ``Metaspace``) changes nothing.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers

from llave.models.loaded.difference import Difference, Effect, read_json
from llave.models.loaded.tokenizer_file import TokenizerFile, part_of, rules_of

__all__ = ["PROBES", "tokenizer_differences"]

PROBES = (
    "a crab on the beach\n", "  two  spaces,\ta tab and an end  ", "Don't panic: it's 1,234.56 (or 42%)!", "", "\n",
    "Café, cafe\u0301 Ångström ﬁne ½ x² İstanbul ẞ", "日本語のテキスト、한국어 текст عربى", "हिन्दी में वाक्य", "emoji 🦀",
    "line one\n\n  line two\r\nline three", "MiXeD CaSe snake_case CamelCase", "def f(x):\n    return x[0]\n",
    "“quotes” – dashes — and… \u00a0\u200b\ufeff", "https://example.org/a?b=c&d=1 name@example.org",
)  # fmt: skip
"""Texts in which the rules of tokenizers show."""
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_SETTINGS = (
    "unk_token", "fuse_unk", "byte_fallback", "ignore_merges", "continuing_subword_prefix", "end_of_word_suffix",
    "dropout", "max_input_chars_per_word",
)  # fmt: skip
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
_ENDLESS = 10**9
AS_THE_FILE = (
    "which of the two the model was trained with, its authors know; for the file's: "
    '"tokenizer_class": "TokenizersBackend" in the tokenizer_config.json of a copy'
)


def tokenizer_differences(
    tokenizer: Any, folder: Path, options: Mapping[str, Any], *, longest: int | None, lowered: bool, thorough: bool
) -> Iterator[Difference]:
    """Rules, added and special tokens, side of the padding, length.

    Args:
        tokenizer: the loaded one.
        folder: of its files.
        options: with which the checkpoint has it opened; they win over the files.
        lowered: sentence-transformers put a rule before the others: small letters.
        longest: tokens that the open model reads.
        thorough: read the vocabulary as well and tokenize texts with both (a second for 150,000 words).

    Raises:
        DataError: a file that cannot be read.
    """
    settings = {**read_json(folder / "tokenizer_config.json"), **options}
    path = folder / "tokenizer.json"
    if path.is_file() and tokenizer.is_fast:
        file = TokenizerFile(path)
        if lowered:
            _lower(file.backend, tokenizer.backend_tokenizer)
        found = [
            *_rules(file.backend, tokenizer.backend_tokenizer),
            *_model(file, tokenizer.backend_tokenizer),
            *_added(file, tokenizer, settings),
        ]
        yield from found
        if thorough and not any(one.effect == "vectors" for one in found):
            yield from _ids(path, tokenizer, lowered=lowered)
    yield from _special(tokenizer, settings, read_json(folder / "special_tokens_map.json"))
    side = settings.get("padding_side")
    if side is not None and side != tokenizer.padding_side:
        yield _said("padding side", "tokenizer_config.json", side, tokenizer.padding_side, "none")
    limit = settings.get("model_max_length")
    if longest is not None and isinstance(limit, (int, float)) and limit < _ENDLESS and longest > limit:
        remedy = f"set model.max_seq_length = {int(limit)}"
        yield _said("tokens read", "tokenizer_config.json", str(int(limit)), str(longest), "perhaps", remedy)


def _said(
    name: str, where: str, file: str, loaded: str, effect: Effect, remedy: str = "", part: str = "tokenizer"
) -> Difference:
    return Difference(part=part, name=name, where=where, file=file, loaded=loaded, effect=effect, remedy=remedy)


def _rules(file: Any, loaded: Any) -> Iterator[Difference]:
    """Of the normalizer and the pre-tokenizer, whose work is compared in one; then what is put around a text."""
    example = next((probe for probe in PROBES if _pieces(file, probe) != _pieces(loaded, probe)), None)
    for step in ("normalizer", "pre_tokenizer", "decoder"):
        theirs, ours = rules_of(part_of(file, step)), rules_of(part_of(loaded, step))
        if step == "decoder":  # whose rules have the pre-tokenizers' fields and use none
            theirs, ours = ([{"type": rule["type"]} for rule in rules] for rules in (theirs, ours))
        if theirs == ours:
            continue
        lost = [_words(rule) for rule in theirs if rule not in ours]
        new = [_words(rule) for rule in ours if rule not in theirs]
        if not lost and not new:
            lost, new = [_words(rule) for rule in theirs], [_words(rule) for rule in ours]
        effect: Effect = "none" if step == "decoder" else "perhaps" if example is None else "vectors"
        shows = f" (shows in {json.dumps(example, ensure_ascii=False)})" if effect == "vectors" else ""
        name = f"{step}{shows}"
        yield _said(name, "tokenizer.json", _list(lost), _list(new), effect, AS_THE_FILE if effect != "none" else "")
    around = [_around(backend) for backend in (file, loaded)]
    if around[0] != around[1]:
        yield _said(
            "post_processor (put around a text)", "tokenizer.json", _list(around[0]), _list(around[1]), "vectors",
            AS_THE_FILE,
        )  # fmt: skip


def _pieces(backend: Any, text: str) -> list[str]:
    """What the normalizer and the pre-tokenizer make of a text."""
    text = text if backend.normalizer is None else backend.normalizer.normalize_str(text)
    if backend.pre_tokenizer is None:
        return [text]
    return [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text)]


def _around(backend: Any) -> list[str]:
    """The special tokens, by id, that the post-processor puts around one text and between two."""
    processor = backend.post_processor
    if processor is None:
        return []
    empty = Tokenizer.from_str('{"version":"1.0","model":{"type":"WordLevel","vocab":{},"unk_token":""}}').encode("")
    return [str(processor.process(empty, pair).ids) for pair in (None, empty) if processor.process(empty, pair).ids]


def _model(file: TokenizerFile, loaded: Any) -> Iterator[Difference]:
    kind = type(loaded.model).__name__
    if file.model.get("type", kind) != kind:
        yield _said("model", "tokenizer.json", file.model["type"], kind, "vectors", AS_THE_FILE)
        return
    for name in _SETTINGS:
        if name in file.model and hasattr(loaded.model, name):
            theirs, ours = file.model[name], getattr(loaded.model, name)
            if (theirs or None) != (ours or None):
                yield _said(name, "tokenizer.json", _value(theirs), _value(ours), "perhaps", AS_THE_FILE)


def _added(file: TokenizerFile, tokenizer: Any, settings: Mapping[str, Any]) -> Iterator[Difference]:
    """Tokens that the file adds to the vocabulary: gone, under another number, or taken otherwise."""
    loaded = {str(token): (number, token) for number, token in tokenizer.added_tokens_decoder.items()}
    again = {str(token.get("content")): token for token in (settings.get("added_tokens_decoder") or {}).values()}
    for token in file.added:
        content, number = token["content"], token["id"]
        name = f"added token {json.dumps(content, ensure_ascii=False)}"
        now = loaded[content][0] if content in loaded else tokenizer.backend_tokenizer.token_to_id(content)
        if now != number:
            other = "no such token" if now is None else f"id {now}"
            yield _said(name, "tokenizer.json", f"id {number}", other, "vectors", AS_THE_FILE)
        elif content in loaded:
            said = {**token, **again.get(content, {})}  # tokenizer_config.json has the last word
            flags = [flag for flag in _FLAGS if flag in said and bool(said[flag]) != getattr(loaded[content][1], flag)]
            if flags:
                theirs, ours = ({flag: value(flag) for flag in flags} for value in (said.get, _of(loaded[content][1])))
                yield _said(name, "tokenizer.json", _value(theirs), _value(ours), "perhaps", AS_THE_FILE)


def _of(token: Any) -> Any:
    return lambda flag: getattr(token, flag)


def _lower(file: Any, loaded: Any) -> None:
    """Give a tokenizer the first rule of another, if that is small letters, as sentence-transformers does."""
    if rules_of(part_of(loaded, "normalizer"))[:1] == [{"type": "Lowercase"}]:
        before = [] if file.normalizer is None else [file.normalizer]
        file.normalizer = normalizers.Sequence([normalizers.Lowercase(), *before])


def _ids(path: Path, tokenizer: Any, *, lowered: bool) -> Iterator[Difference]:
    """The same ids for the same texts, vocabulary and merges included."""
    whole: Any = Tokenizer.from_file(str(path))
    whole.no_truncation()
    whole.no_padding()
    if lowered:
        _lower(whole, tokenizer.backend_tokenizer)
    words, now = whole.get_vocab_size(), len(tokenizer)
    if now < words:
        yield _said("vocabulary", "tokenizer.json", f"{words} tokens", f"{now}", "vectors", AS_THE_FILE)
    for probe in PROBES:
        theirs, ours = whole.encode(probe).ids, list(tokenizer(probe, verbose=False)["input_ids"])
        if theirs != ours:
            name = f"ids of {json.dumps(probe, ensure_ascii=False)}"
            yield _said(name, "tokenizer.json", str(theirs), str(ours), "vectors", AS_THE_FILE)
            return


def _special(tokenizer: Any, settings: Mapping[str, Any], older: Mapping[str, Any]) -> Iterator[Difference]:
    for name in NAMES:
        where = "tokenizer_config.json" if name in settings else "special_tokens_map.json"
        said = settings.get(name, older.get(name))
        content = said.get("content") if isinstance(said, dict) else said
        loaded = getattr(tokenizer, name, None)
        if content is not None and content != loaded:
            effect: Effect = "none" if name == "pad_token" else "perhaps"
            yield _said(name, where, _value(content), _value(loaded), effect, "load the tokenizer without changing it")


def _words(rule: Mapping[str, Any]) -> str:
    """``Replace("\\n$" → "")``."""
    kind = rule.get("type", "?")
    pattern = rule.get("pattern")
    if isinstance(pattern, dict):
        shown = _value(next(iter(pattern.values()), ""))
        return f"{kind}({shown} → {_value(rule['content'])})" if kind == "Replace" else f"{kind}({shown})"
    rest = {key: value for key, value in rule.items() if key not in {"type", "pattern"}}
    if "precompiled_charsmap" in rest:
        return f"{kind}(a table of characters)"
    return kind + (f"({', '.join(f'{key}={_value(value)}' for key, value in rest.items())})" if rest else "")


def _list(words: list[str]) -> str:
    return ", ".join(words) or "nothing"


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
