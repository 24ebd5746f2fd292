"""Checkpoints tensor by tensor: what the files hold, and writing them again in shards, without holding a whole file."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llave.errors import DataError
from llave.files import write_json

__all__ = ["StoredTensor", "stored_tensors", "write_shards"]

SHARD_BYTES = 2 << 30
"""At most so much in one written file."""
_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
}  # fmt: skip
"""By the words of a safetensors header."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor is, and its shape and size."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    num_bytes: int


def stored_tensors(directory: Path) -> list[StoredTensor]:
    """Every tensor of a checkpoint, ``.safetensors`` before ``.bin``; no tensor is read.

    Pickled files are opened with ``weights_only``: they can hold tensors, not code.

    Raises:
        DataError: no weights, a shard that the index names and is not there, or an unreadable file.
    """
    for index, pattern in (
        ("model.safetensors.index.json", "*.safetensors"),
        ("pytorch_model.bin.index.json", "pytorch_model*.bin"),
    ):
        if (directory / index).is_file():
            names = sorted(set(json.loads((directory / index).read_text("utf-8"))["weight_map"].values()))
            files = [directory / name for name in names]
        else:
            files = sorted(directory.glob(pattern))
        if files:
            break
    else:
        raise DataError(f"{directory}: no weights (neither *.safetensors nor pytorch_model*.bin)")
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise DataError(f"{directory}: {index} names files that are not there: {', '.join(missing)}")
    return [tensor for file in files for tensor in _headers(file)]


def write_shards(
    directory: Path,
    tensors: Mapping[str, StoredTensor],
    *,
    change: Callable[[str, Tensor], Tensor] = lambda _, tensor: tensor,
    group_bytes: int | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Write tensors under new names as ``model*.safetensors`` with their index.

    Args:
        tensors: new name -> where it is.
        change: applied to each tensor, by new name.
        group_bytes: a file's size, and about half of what is in memory at a time; default is a quarter of the largest
            source file, ``SHARD_BYTES`` at most. A single tensor may be larger.
        advance: told the bytes done.
    """
    sizes: dict[Path, int] = {}
    for tensor in tensors.values():
        sizes[tensor.file] = sizes.get(tensor.file, 0) + tensor.num_bytes
    if group_bytes is None:
        group_bytes = min(SHARD_BYTES, max(sizes.values()) // 4)
    groups = list(_groups(tensors, group_bytes))
    weight_map: dict[str, str] = {}
    total = 0
    for number, names in enumerate(groups, start=1):
        single = len(groups) == 1
        file = "model.safetensors" if single else f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        state: dict[str, Tensor] = {}
        # A file is mapped only while its tensors are copied: touched pages of a mapping count as memory in use.
        for name, value in _read([(name, tensors[name]) for name in names]):
            state[name] = change(name, value).contiguous()
        save_file(state, directory / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
        total += sum(value.numel() * value.itemsize for value in state.values())
        advance(sum(tensors[name].num_bytes for name in names))
    if len(groups) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_json(directory / "model.safetensors.index.json", index, indent=1)


def _headers(file: Path) -> Iterator[StoredTensor]:
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, "pt") as opened:
                for name in list(opened.keys()):
                    part = opened.get_slice(name)
                    shape = tuple(part.get_shape())
                    dtype = _torch_type(part.get_dtype(), file, name)
                    yield StoredTensor(file, name, shape, dtype, torch.Size(shape).numel() * dtype.itemsize)
        except SafetensorError as error:
            raise DataError(f"{file}: not a whole safetensors file ({error}); fetch it again") from None
        return
    for name, tensor in _pickled(file).items():
        yield StoredTensor(file, name, tuple(tensor.shape), tensor.dtype, tensor.numel() * tensor.itemsize)


def _torch_type(name: str, file: Path, tensor: str) -> torch.dtype:
    """The type that a safetensors header names."""
    if name not in _TYPES:
        raise DataError(f"{file}: {tensor} is of type {name}; expected one of {', '.join(_TYPES)}")
    return _TYPES[name]


def _pickled(file: Path) -> dict[str, Tensor]:
    try:
        state: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise DataError(f"{file}: cannot be read as tensors alone ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{file}: expected a dictionary of tensors")
    return state


def _read(wanted: list[tuple[str, StoredTensor]]) -> Iterator[tuple[str, Tensor]]:
    """Copies of tensors, file by file."""
    for file in dict.fromkeys(tensor.file for _, tensor in wanted):
        of_file = [(name, tensor) for name, tensor in wanted if tensor.file == file]
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as opened:
                for name, tensor in of_file:
                    yield name, opened.get_tensor(tensor.name).clone()
        else:
            state = _pickled(file)
            for name, tensor in of_file:
                yield name, state[tensor.name].clone()


def _groups(tensors: Mapping[str, StoredTensor], limit: int) -> Iterator[list[str]]:
    """Names in the order of the source, as many as fit the limit."""
    group: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        if group and size + tensor.num_bytes > limit:
            yield group
            group, size = [], 0
        group.append(name)
        size += tensor.num_bytes
    yield group
