"""The open network's tensors beside those of its files, by the headers alone: no tensor is read.

Names go through transformers' own renaming, so an older checkpoint's are no difference; nor are tied weights, heads
that an embedding does not use, and what the architecture itself ignores.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llave.models.checkpoint_files import StoredTensor, stored_tensors
from llave.models.loaded.difference import Difference, Effect, read_json

__all__ = ["weight_differences"]

_HEADS = re.compile(r"(^|\.)lm_head\.|^(score|mtp)\.")
"""Of tensors for the next token and for scores."""
_TASKS = (
    "ForMaskedLM",
    "ForPreTraining",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
)
"""Ends of the names of architectures whose tensors are a head's where they are not the base model's."""
_CONSTANTS = re.compile(r"(^|\.)(inv_freq|position_ids|masked_bias|num_batches_tracked)$")
_SHOWN = 3
_PRECISION = {torch.float64: 52, torch.float32: 23, torch.float16: 10, torch.bfloat16: 7}
"""Bits of a number behind its point."""


def weight_differences(transformer: Any, folder: Path) -> Iterator[Difference]:
    """Missing, unexpected and other-shaped tensors; the type of the numbers.

    Adapters, quantized networks and those spread by DeepSpeed are left out: their tensors are not those of the files.

    Args:
        transformer: sentence-transformers' first module.
        folder: of the weights.

    Raises:
        DataError: weights that cannot be read.
    """
    network = transformer.model
    elsewhere = any(value.is_meta or hasattr(value, "ds_id") for value in network.parameters())
    adapted = hasattr(network, "peft_config") or (folder / "adapter_config.json").is_file()
    quantized = getattr(network.config, "quantization_config", None) or getattr(network, "hf_quantizer", None)
    if elsewhere or adapted or quantized:
        return
    stored = {tensor.name: tensor for tensor in stored_tensors(folder)}
    state: dict[str, Tensor] = network.state_dict()
    yield from _names(network, stored, state, pooled=transformer.module_output_name == "token_embeddings")
    yield from _types(stored.values(), state, read_json(folder / "config.json"))


def _names(
    network: Any, stored: Mapping[str, StoredTensor], state: Mapping[str, Tensor], *, pooled: bool
) -> Iterator[Difference]:
    names, converted = _loaded_names(network, stored, state)
    have = {*names.values(), *converted}
    places = {state[name].data_ptr() for name in have if name in state}
    tied = set(getattr(network, "all_tied_weights_keys", None) or ())
    missing = [
        name
        for name, tensor in state.items()
        if name not in have
        and name not in tied
        and tensor.data_ptr() not in places
        and not _matches(name, network._keys_to_ignore_on_load_missing)
        and not _CONSTANTS.search(name)
        and not (pooled and name.startswith("pooler."))  # of BERT and its like: the states are pooled, not its output
    ]
    if missing:
        yield Difference(
            part="weights", name=f"{len(missing)} missing tensors", where="the checkpoint", file="nothing",
            loaded=f"random numbers for {_some(missing)}", effect="vectors",
            remedy="fetch the checkpoint again; if it is whole, this transformers does not know its names: update it",
        )  # fmt: skip
    of_task = str((network.config.architectures or [""])[0]).endswith(_TASKS)
    encoder_alone = type(network).__name__.endswith("EncoderModel")
    unexpected = [
        name
        for name, renamed in names.items()
        if renamed not in state
        and name not in converted
        and not _matches(renamed, network._keys_to_ignore_on_load_unexpected)
        and not _CONSTANTS.search(name)
        and not _HEADS.search(name)
        and not (of_task and not name.startswith(f"{network.base_model_prefix}."))
        and not (encoder_alone and "decoder." in name)
    ]
    if unexpected:
        yield Difference(
            part="weights", name=f"{len(unexpected)} unexpected tensors", where="the checkpoint",
            file=_some(unexpected), loaded="nothing of them", effect="perhaps",
            remedy=f"{type(network).__name__} has no place for them: a head, or an architecture that it is not",
        )  # fmt: skip
    shapes = [
        f"{name} {stored[name].shape} for {tuple(state[renamed].shape)}"
        for name, renamed in names.items()
        if renamed in state and name not in converted and stored[name].shape != tuple(state[renamed].shape)
    ]
    if shapes:
        yield Difference(
            part="weights", name=f"{len(shapes)} tensors of another shape", where="the checkpoint", file=_some(shapes),
            loaded="random numbers", effect="vectors", remedy="config.json is not that of these weights",
        )  # fmt: skip


def _loaded_names(
    network: Any, stored: Mapping[str, StoredTensor], state: Mapping[str, Tensor]
) -> tuple[dict[str, str], set[str]]:
    """The network's name of each stored tensor; and what was made of several, by both names."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

    mapping = get_model_conversion_mapping(network)
    renamings = [one for one in mapping if isinstance(one, WeightRenaming)]
    converters = [one for one in mapping if isinstance(one, WeightConverter)]
    prefix, known = network.base_model_prefix, dict(state)
    names: dict[str, str] = {}
    converted: set[str] = set()
    for name in sorted(stored, key=dot_natural_key):
        renamed, pattern = rename_source_key(name, renamings, converters, prefix, known)
        if renamed not in state and name in state:
            renamed, pattern = rename_source_key(name, [], [], prefix, known)
        names[name] = renamed
        if pattern is not None:
            one = next(one for one in converters if pattern in one.source_patterns)
            targets = {renamed.replace(one.target_patterns[0], target) for target in one.target_patterns}
            converted |= {name, *targets} if targets & state.keys() else set()
    return names, converted


def _types(stored: Collection[StoredTensor], state: Mapping[str, Tensor], config: Any) -> Iterator[Difference]:
    """Of most numbers, in the files and in the network; and what config.json claims."""
    theirs, ours = Counter[torch.dtype](), Counter[torch.dtype]()
    for tensor in stored:
        theirs[tensor.dtype] += torch.Size(tensor.shape).numel()
    for value in state.values():
        ours[value.dtype] += value.numel()
    in_file, loaded = theirs.most_common(1)[0][0], ours.most_common(1)[0][0]
    if in_file != loaded:
        shorter = _PRECISION.get(loaded, 0) < _PRECISION.get(in_file, 0)
        effect: Effect = "perhaps" if shorter else "none"
        yield _dtype("dtype", "the checkpoint", in_file, loaded, effect, f"--dtype {_word(in_file)}" if shorter else "")
    claimed = config.get("dtype") or config.get("torch_dtype")
    if isinstance(claimed, str) and claimed not in {"auto", _word(loaded), _word(in_file)}:
        yield _dtype("dtype", "config.json", claimed, loaded, "none")


def _dtype(name: str, where: str, file: Any, loaded: Any, effect: Effect, remedy: str = "") -> Difference:
    return Difference(
        part="dtype", name=name, where=where, file=_word(file), loaded=_word(loaded), effect=effect, remedy=remedy
    )


def _word(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _matches(name: str, patterns: Collection[str] | None) -> bool:
    return any(re.search(pattern, name) for pattern in patterns or ())


def _some(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
