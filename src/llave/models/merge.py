"""The mean of several trained models as one (model soups, arXiv 2203.05482): of one base, trained apart.

Weights that were trained from the same base lie in one valley, and their mean is often better than each; vectors of one
model are not those of another, so an index is built anew. Tensors are read one at a time.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from llave._version import __version__
from llave.errors import UserError
from llave.files import holds_nothing, whole_folder, write_bytes, write_json, write_text
from llave.models.checkpoint_files import SHARD_BYTES, StoredTensor, stored_tensors, write_shards

__all__ = ["RECORD", "merge"]

RECORD = "merge.json"
"""In a merged model's directory: its parts and their weights."""
ENDINGS = {".json", ".jinja", ".txt", ".model"}
NOT_THE_MODEL = {"run.json", "evaluation.json", "model.safetensors.index.json", RECORD}
PASSING = {"transformers_version", "__version__", "_name_or_path"}
"""Keys that say where a configuration comes from, not what it is."""
SET_BY_CALLS = {"truncation", "padding"}
"""Of ``tokenizer.json``: every call sets them anew."""
SHOWN = 5


def merge(models: Sequence[Path], target: Path, *, weights: Sequence[float] | None = None) -> None:
    """Write the weighted mean of models' weights, with the configuration, tokenizer and prompts that all of them have.

    Args:
        models: two or more model directories, trained from one base.
        target: directory to make.
        weights: of each model, relative to their sum; None weighs all alike.

    Raises:
        UserError: models whose configuration, tokenizer or tensors differ, and in what; bad weights; a target that is
            not empty.
        DataError: a checkpoint that cannot be read.
    """
    shares = _shares(len(models), weights)
    for model in models:
        if not (model / "modules.json").is_file():
            raise UserError(f"{model}: no model directory (no modules.json)")
    if not holds_nothing(target):
        raise UserError(f"{target} is not empty; name another directory")
    first, *others = models
    for other in others:
        differences = [*_configuration(first, other), *_tensors(first, other)]
        if differences:
            more = f", and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
            raise UserError(f"{first} and {other} are not of one shape: {'; '.join(differences[:SHOWN])}{more}")
    with whole_folder(target) as partial:
        for path in _files(first):
            write_bytes(partial / path, (first / path).read_bytes())
        for folder in _weight_folders(first):
            (partial / folder).mkdir(parents=True, exist_ok=True)
            _write_mean([_stored(model / folder) for model in models], shares, partial / folder)
        parts = [{"model": str(model), "weight": share} for model, share in zip(models, shares, strict=True)]
        write_json(partial / RECORD, {"parts": parts, "llave": __version__})
        write_text(partial / "README.md", _card(target.name, parts))


def _shares(number: int, weights: Sequence[float] | None) -> list[float]:
    if number < 2:
        raise UserError(f"a merge needs two models at least, got {number}")
    weights = [1.0] * number if weights is None else weights
    if len(weights) != number:
        raise UserError(f"{number} models need as many weights, got {len(weights)}")
    if min(weights) < 0 or sum(weights) <= 0:
        raise UserError(f"weights must be at least 0 and not all 0, got {', '.join(map(str, weights))}")
    return [weight / sum(weights) for weight in weights]


def _folders(model: Path) -> list[str]:
    """Of its modules, the first one's is the directory itself."""
    modules = json.loads((model / "modules.json").read_text("utf-8"))
    return list(dict.fromkeys(["", *(module["path"] for module in modules)]))


def _files(model: Path) -> list[str]:
    """All that makes the model beside its weights, by paths within it."""
    return sorted(
        str(Path(folder) / path.name)
        for folder in _folders(model)
        for path in ((model / folder).iterdir() if (model / folder).is_dir() else ())
        if path.is_file() and path.suffix in ENDINGS and path.name not in NOT_THE_MODEL
    )


def _weight_folders(model: Path) -> list[str]:
    return [folder for folder in _folders(model) if any((model / folder).glob("*.safetensors"))]


def _stored(folder: Path) -> dict[str, StoredTensor]:
    return {tensor.name: tensor for tensor in stored_tensors(folder)}


def _configuration(one: Path, other: Path) -> Iterator[str]:
    """Files that only one has, and keys whose values differ."""
    names, theirs = _files(one), _files(other)
    yield from (f"{name} is in one of them" for name in sorted({*names} ^ {*theirs}))
    for name in sorted({*names} & {*theirs}):
        mine, yours = (model / name for model in (one, other))
        if mine.read_bytes() == yours.read_bytes():
            continue
        if mine.suffix != ".json":
            yield f"{name} differs"
            continue
        left, right = (dict(_leaves(json.loads(path.read_text("utf-8")))) for path in (mine, yours))
        for key in sorted({*left} | {*right}):
            words = set(key.split("."))
            passing = words & PASSING or (Path(name).name == "tokenizer.json" and words & SET_BY_CALLS)
            if not passing and left.get(key) != right.get(key):
                yield f"{name}: {key} is {left.get(key)!r:.40} and {right.get(key)!r:.40}"


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested objects and lists by their path."""
    if isinstance(value, Mapping):
        pairs = [(str(name), inner) for name, inner in value.items()]
    elif isinstance(value, list):
        pairs = [(str(number), inner) for number, inner in enumerate(value)]
    else:
        yield key, value
        return
    for name, inner in pairs:
        yield from _leaves(inner, f"{key}.{name}" if key else name)


def _tensors(one: Path, other: Path) -> Iterator[str]:
    folders = _weight_folders(one)
    if not folders:
        yield f"{one} has no safetensors"
    if folders != _weight_folders(other):
        yield f"weights are in {folders} and {_weight_folders(other)}"
        return
    for folder in folders:
        mine, yours = _stored(one / folder), _stored(other / folder)
        yield from (f"the tensor {name} is in one of them" for name in sorted({*mine} ^ {*yours}))
        for name in sorted({*mine} & {*yours}):
            left, right = mine[name], yours[name]
            if left.shape != right.shape:
                yield f"{name} is {left.shape} and {right.shape}"
            elif left.dtype != right.dtype:
                yield f"{name} is {left.dtype} and {right.dtype}"


def _write_mean(parts: Sequence[dict[str, StoredTensor]], shares: Sequence[float], folder: Path) -> None:
    def mean(name: str, value: Tensor) -> Tensor:
        others = [_read(part[name]) for part in parts[1:]]
        if all(torch.equal(value, other) for other in others):  # what was not trained stays, bit for bit
            return value
        if not value.is_floating_point():
            raise UserError(f"{name} holds whole numbers that differ, which have no mean")
        total = sum(share * part.double() for share, part in zip(shares, [value, *others], strict=True))
        return torch.as_tensor(total).to(value.dtype)

    write_shards(folder, parts[0], change=mean, group_bytes=SHARD_BYTES)


def _read(tensor: StoredTensor) -> Tensor:
    with safe_open(tensor.file, "pt") as opened:
        value: Tensor = opened.get_tensor(tensor.name)
    return value


def _card(name: str, parts: Sequence[dict[str, Any]]) -> str:
    rows = "\n".join(f"| {part['model']} | {part['weight']:.4f} |" for part in parts)
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- multimodal
- llave
- merge
# license: yours to choose; those of the parts bind it
---

# {name}

The weighted mean of the weights of these models, made by `llave merge` {__version__}; their cards say how each was
trained. Its vectors are its own: an index of one of the parts does not serve it, and scores of the parts are not its.

| model | weight |
|---|---:|
{rows}
"""
