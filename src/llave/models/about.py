"""What a report says of a model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llave.data.door import named
from llave.data.fetched import local
from llave.errors import DataError, UserError

if TYPE_CHECKING:
    from sentence_transformers.base import BaseModel

    from llave.models.int8 import Quantize

__all__ = ["about_model", "dtype_of", "model_name", "quantize_of", "trained_temperature"]


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
        **({"quantize": quantized} if (quantized := quantize_of(model)) else {}),
    }


def dtype_of(model: "BaseModel") -> str:
    """The type of its weights, e.g. ``"bfloat16"``; of a quantized model, of those that are not."""
    found = next(parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return str(found).removeprefix("torch.")


def quantize_of(model: "BaseModel") -> "Quantize | None":
    """ "int8" of a model whose linear layers are (:mod:`llave.models.int8`), else None."""
    found: Quantize | None = getattr(model, "quantized", None)
    return found


def model_name(model: "BaseModel") -> str:
    """The directory or hub id that an open model came from.

    Raises:
        UserError: it does not say.
    """
    name = getattr(model, "source", "")
    if not name:
        raise UserError("this open model does not say where it came from; pass its directory or hub id instead")
    return str(name)


def trained_temperature(model: "BaseModel") -> float | None:
    """The temperature that a model's cosines were trained at: of a dual encoder's own scale, or by the record that
    training has left beside it; None where neither says."""
    for name, value in model.named_parameters():
        if name.rpartition(".")[2] == "logit_scale" and value.numel() == 1:
            return float((-value.detach().float()).exp())
    record = local(Path(model_name(model))) / "run.json"
    try:
        with named(str(record)):
            said = json.loads(record.read_text("utf-8"))["config"]["loss"]["temperature"]
    except DataError:  # not ours, or of a loss without one
        return None
    return float(said) if isinstance(said, int | float) and said > 0 else None
