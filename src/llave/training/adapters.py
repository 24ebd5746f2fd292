"""LoRA, DoRA and QLoRA by peft: adapters put into a model, their state, and the merged model.

A trained adapter is merged into a fresh copy of the base, so that what a run leaves is an ordinary model, and so that
the model in training is not touched (merging in place and taking it back would not be exact).

QLoRA trains adapters beside weights rounded to 4 bits. They are merged into those rounded weights, not into the
original ones: the adapters have learned to make up for the rounding, and the merged model is then the one that was
trained and evaluated. ``adapter/`` holds them apart, for the base of anybody's choice.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.base import BaseModel
from torch import Tensor, nn

from llave.errors import UserError
from llave.models.families import family_of
from llave.models.open import save_model
from llave.training.config import AdapterConfig
from llave.training.prompts import copy_prompts

if TYPE_CHECKING:
    from peft import PeftModel

__all__ = ["add_adapter", "load_saved", "load_trained", "save_merged", "save_trained", "trained_state"]

TRAINED_FILE = "trained.safetensors"

NOT_LANGUAGE = ("lm_head", "pooler")
BLOCK = 64
"""Weights that share a scale in NF4; a row of another length stays as it is."""


def add_adapter(model: BaseModel, config: AdapterConfig, frozen: list[str]) -> "PeftModel":
    """Put adapters into the language model, or a dual encoder's towers, in place; only they and the projector train.

    Args:
        frozen: words of parameters' names (a recipe's ``freeze``) that get no adapter; "projector" freezes it.

    Returns:
        peft's view of the same network.

    Raises:
        UserError: a missing package, or no layer that ``targets`` means.
    """
    _require("peft", "qlora" if config.quantize != "none" else "lora")
    from peft import LoraConfig, get_peft_model

    network: Any = model[0].model
    if config.quantize != "none":
        _quantize(network, _language_layers(network))
    weights = [f"{name}.weight" for name, _ in _linear(network)]
    stays = {name for word in frozen for name in family_of(network).matching(word, weights)}
    layers = [name for name in _language_layers(network) if f"{name}.weight" not in stays]
    targets = [name for name in layers if not config.targets or any(word in name for word in config.targets)]
    if not targets:
        there = sorted({name.split(".")[-1] for name in layers})
        raise UserError(f"adapter.targets: no layer is {' or '.join(config.targets)}; there are: {', '.join(there)}")
    peft_config = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # peft takes any number
        lora_dropout=config.dropout,
        target_modules=targets,
        use_dora=config.dora,
        modules_to_save=[] if "projector" in frozen else _projector(network),
    )
    wrapped = get_peft_model(network, peft_config)
    for parameter in network.parameters():
        if parameter.requires_grad:  # a step of 1e-5 is lost in 16 bits
            parameter.data = parameter.data.float()
    return wrapped


def trained_state(model: BaseModel) -> dict[str, Tensor]:
    """What training changes: trained parameters, and buffers (a nano model's statistics)."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    trained |= {name for name, _ in model.named_buffers()}
    state = model.state_dict()
    return {name: value.detach() for name, value in state.items() if name in trained}


def load_trained(model: BaseModel, state: dict[str, Tensor]) -> None:
    """Put a :func:`trained_state` (or a whole state) into a model with the same adapters."""
    own = trained_state(model)
    missing = sorted(set(own) - set(state))
    assert not missing, f"not in the state: {missing[:3]}"
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(state[name])


def save_trained(model: BaseModel, directory: Path) -> None:
    """Write a :func:`trained_state` into the directory of a checkpoint."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in trained_state(model).items()}, directory / TRAINED_FILE)


def load_saved(model: BaseModel, directory: Path) -> None:
    """Put what :func:`save_trained` wrote into a model with the same adapters."""
    load_trained(model, load_file(directory / TRAINED_FILE))


def save_merged(
    model: BaseModel,
    state: dict[str, Tensor],
    fresh: BaseModel,
    config: AdapterConfig,
    frozen: list[str],
    to: Path,
    *,
    base: str,
) -> None:
    """Write the model with its adapters merged, a plain model directory, and the adapters in ``adapter/``.

    Args:
        model: the model in training; it stays as it is.
        state: its :func:`trained_state`, or its whole state.
        fresh: what it was made from, opened anew on a CPU in 32 bits.
        config, frozen: as given to :func:`add_adapter`.
        base: where that is.
    """
    if config.quantize != "none":
        _copy_dequantized(model, fresh)
    plain = AdapterConfig(**{**vars(config), "quantize": "none"})
    wrapped = add_adapter(fresh, plain, frozen)
    load_trained(fresh, state)
    wrapped.peft_config["default"].base_model_name_or_path = base
    wrapped.save_pretrained(str(to / "adapter"), save_embedding_layers=False)
    (to / "adapter" / "README.md").unlink(missing_ok=True)  # a form to fill in; the model's own card says it all
    fresh[0].model = wrapped.merge_and_unload()
    stored = next(parameter.dtype for parameter in _base_weights(model))
    copy_prompts(model, fresh)
    save_model(fresh.to(dtype=stored), to)


def _require(package: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise UserError(f"adapter: the package {package} is not installed: pip install 'llave[{extra}]'")


def _linear(network: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]


def _language_layers(network: nn.Module) -> list[str]:
    """Names of the linear layers of neither vision tower, projector nor heads; of a dual encoder's both towers."""
    names = [name for name, _ in _linear(network)]
    parts = family_of(network).parts
    if family_of(network).dual:
        del parts["vision_tower"]
    other = {name for part in parts.values() for name in names if part.search(f"{name}.")}
    inside = tuple(f"{name}." for name, module in network.named_modules() if isinstance(module, nn.MultiheadAttention))
    return [
        name
        for name in names
        if name not in other and not name.startswith(inside) and not any(word in name for word in NOT_LANGUAGE)
    ]


def _projector(network: nn.Module) -> list[str]:
    """The outermost modules all of whose parameters are the projector's; peft takes no lists of modules."""
    found: list[str] = []
    family = family_of(network)
    for name, module in network.named_modules():
        if isinstance(module, nn.ModuleList):
            continue
        inner = [f"{name}.{key}" for key, _ in module.named_parameters()]
        if (
            name
            and inner
            and len(family.matching("projector", inner)) == len(inner)
            and not name.startswith(tuple(found))
        ):
            found.append(f"{name}.")
    return [name.removesuffix(".") for name in found]


def _quantize(network: nn.Module, names: list[str]) -> None:
    """Replace linear layers by 4-bit ones (NF4, scales quantised too) on the same device."""
    _require("bitsandbytes", "qlora")
    from bitsandbytes.nn.modules import Linear4bit, Params4bit

    for name in names:
        old = network.get_submodule(name)
        assert isinstance(old, nn.Linear)
        if old.in_features % BLOCK:
            continue
        new = Linear4bit(
            old.in_features,
            old.out_features,
            bias=old.bias is not None,
            compute_dtype=old.weight.dtype,
            compress_statistics=True,
            quant_type="nf4",
            device="meta",
        )
        new.weight = Params4bit(
            old.weight.data.cpu(), requires_grad=False, quant_type="nf4", compress_statistics=True, module=new
        )
        new.bias = old.bias
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, new.to(old.weight.device))
    network.is_loaded_in_4bit = True  # type: ignore[assignment]  # how peft recognises such a model


def _copy_dequantized(quantized: nn.Module, plain: nn.Module) -> None:
    """The weights that the 4-bit layers stand for, into the layers of the same names."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit

    for name, module in quantized.named_modules():
        if isinstance(module, Linear4bit):
            module.state_dict()  # undoes the packing of bitsandbytes' fast path on a CPU
            packed: Any = module.weight
            weight = dequantize_4bit(packed.data, packed.quant_state)
            target = plain.get_submodule(name.removesuffix(".base_layer"))
            assert isinstance(target, nn.Linear)
            target.weight.data.copy_(weight)


def _base_weights(model: BaseModel) -> list[nn.Parameter]:
    """Weights as they were opened: neither trained nor quantised."""
    return [p for p in model.parameters() if not p.requires_grad and p.is_floating_point()]
