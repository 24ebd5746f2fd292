"""Several processes: how they share the model, and what only one of them does."""

import dataclasses
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin, PartialState
from accelerate.state import AcceleratorState
from sentence_transformers.base import BaseModel
from torch import Tensor, nn

from llave.errors import UserError
from llave.models.families import family_of
from llave.training.config import TrainConfig

__all__ = ["every_parameter_takes_part", "launch_options", "layer_class", "shard_on_cpus", "with_share"]


def with_share(config: TrainConfig, processes: int) -> TrainConfig:
    """The recipe with ``batch_size`` as a process's share of ``global_batch_size``; as it is where it has none.

    Raises:
        UserError: that many processes cannot share it evenly.
    """
    if config.global_batch_size is None:
        return config
    if config.global_batch_size % processes or config.global_batch_size < 2 * processes:
        raise UserError(
            f"global_batch_size {config.global_batch_size}: {processes} processes cannot share it, which take at least "
            "two pairs each and all the same number"
        )
    return dataclasses.replace(config, batch_size=config.global_batch_size // processes)


def launch_options(config: TrainConfig) -> dict[str, Any]:
    """Arguments of the trainer for ``sharding`` and ``deepspeed``; the layers to wrap come later (:func:`layer_class`).

    Raises:
        UserError: a file that is not there or not JSON, or DeepSpeed that is not installed.
    """
    if config.deepspeed is not None:
        if importlib.util.find_spec("deepspeed") is None:
            raise UserError("deepspeed: the package is not installed: pip install deepspeed")
        _read_json("deepspeed", config.deepspeed)
        return {"deepspeed": str(config.deepspeed)}
    if config.sharding == "none":
        return {}
    options: dict[str, Any] = {"version": 2, "state_dict_type": "SHARDED_STATE_DICT"}
    if config.sharding != "fsdp":
        options |= _read_json("sharding", Path(config.sharding))
    return {"fsdp": True, "fsdp_config": options}


def shard_on_cpus(accelerator: Accelerator, plugin_arguments: dict[str, Any]) -> None:
    """Switch an accelerator of several CPU processes to FSDP2.

    accelerate does so itself for every kind of GPU; on CPUs it leaves DDP on, without a word.
    """
    plugin = FullyShardedDataParallelPlugin(**plugin_arguments)
    for state in (AcceleratorState._shared_state, PartialState._shared_state):
        state["distributed_type"] = DistributedType.FSDP
    AcceleratorState._shared_state["fsdp_plugin"] = plugin
    assert accelerator.is_fsdp2


def layer_class(model: BaseModel) -> str:
    """Class of the language model's layers: what FSDP gathers and lets go of one at a time."""
    network = model[0].model
    assert isinstance(network, nn.Module)
    vision = family_of(network).parts["vision_tower"]
    lists = [
        (sum(parameter.numel() for parameter in module.parameters()), type(module[0]).__name__)
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) and not vision.search(f"{name}.")
    ]
    return max(lists)[1]


def every_parameter_takes_part(model: BaseModel) -> None:
    """Let parameters that a batch without pictures does not use have a gradient of zero, instead of none.

    DDP and FSDP wait for the gradient of every parameter on every process, and a batch of texts has none for the
    projector, one of pictures none for a dual encoder's other tower. The embedding gets zero times their sum.
    """
    network = model[0].model
    assert isinstance(network, nn.Module)
    family = family_of(network)
    parts = tuple(family.parts.values()) if not family.dual else (re.compile(""),)

    def touch(module: nn.Module, inputs: Any, output: dict[str, Tensor]) -> dict[str, Tensor]:
        if torch.is_grad_enabled():
            trained = [
                parameter
                for name, parameter in model.named_parameters()
                if parameter.requires_grad and any(part.search(name) for part in parts)
            ]
            if trained:
                nothing = torch.stack([parameter.float().sum() for parameter in trained]).sum() * 0.0
                key = "sentence_embedding" if "sentence_embedding" in output else "token_embeddings"
                output[key] = output[key] + nothing.to(output[key].dtype)
        return output

    model[-1].register_forward_hook(touch)


def _read_json(key: str, path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{key}: {path}: cannot read ({error})") from None
    return content
