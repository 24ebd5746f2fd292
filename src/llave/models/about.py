"""What a report says of a model, and the type of its weights in an evaluation."""

from typing import TYPE_CHECKING, Any

from llave.errors import UserError

if TYPE_CHECKING:
    from sentence_transformers.base import BaseModel

__all__ = ["about_model", "dtype_of", "eval_dtype", "model_name"]


def about_model(model: "BaseModel", name: str) -> dict[str, Any]:
    """Name, backbone, size in billions of parameters, dimension, length, device and type of weights."""
    network: Any = getattr(model[0], "model", model)
    width: Any = model.get_embedding_dimension
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {
        "model_name": name,
        "model_backbone": type(network).__name__,
        "model_size": round(parameters / 1e9, 3),
        "embedding_dimension": width(),
        "max_length_tokens": model.max_seq_length,
        "device": str(model.device),
        "dtype": dtype_of(model),
    }


def dtype_of(model: "BaseModel") -> str:
    """The type of its weights, e.g. ``"bfloat16"``."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def eval_dtype(wanted: str | None, device: str | None) -> str | None:
    """The wanted type; bfloat16 on a GPU that has it, and None, the checkpoint's own, elsewhere."""
    import torch

    if wanted is not None:
        return wanted
    on_gpu = torch.cuda.is_available() if device is None else device.startswith("cuda")
    return "bfloat16" if on_gpu and torch.cuda.is_bf16_supported() else None


def model_name(model: "BaseModel") -> str:
    """The directory or hub id that an open model came from.

    Raises:
        UserError: it does not say.
    """
    name = getattr(model, "source", "")
    if not name:
        raise UserError("this open model does not say where it came from; pass its directory or hub id instead")
    return str(name)
