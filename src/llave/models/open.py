"""Open a model, the built-in nano model, a directory or a hub id, and save one."""

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from sentence_transformers.base import BaseModel
from sentence_transformers.util import load_file_path

from llave.data.door import named, reason_of
from llave.data.fetched import fetched
from llave.errors import DataError, UserError
from llave.files import write_json
from llave.models.families import PoolingMode
from llave.models.int8 import Quantize, quantize_model, quantized_dtype, require_int8
from llave.models.late import LateModel
from llave.models.loaded.compare import warn_of_differences
from llave.models.model import LATE, EmbeddingModel, Fusion, Media, Prepared
from llave.models.nano_build import build_nano
from llave.storage.location import is_address

__all__ = ["PIL", "is_late", "load_late", "load_model", "open_as", "save_model"]

STRUCTURE = "config_sentence_transformers.json"
Model = TypeVar("Model", bound=Media)

PIL = {"use_fast": False}
"""Opens PIL's image processor. The newer word, "backend", reaches the video processor too, and PIL has none."""
SAFE = {"weights_only": True, "allow_all_kernels": False}
"""Said aloud, for a model's own ``sentence_bert_config.json`` may say otherwise: no pickles, and no hub's kernels."""


def load_model(
    path_or_hub_id: str | Path,
    *,
    device: str | None = None,
    dtype: torch.dtype | str | None = None,
    pooling: PoolingMode | None = None,
    fusion: Fusion | None = None,
    quantize: Quantize | None = None,
) -> EmbeddingModel:
    """Open a model as a ``SentenceTransformer`` that embeds text, pictures, both together, and mixes of them.

    Code that a model's repository brings is never run. What was loaded is compared with the checkpoint's files; the
    logger ``llave.models.loaded.compare`` says in a line if the vectors are others for a difference.

    Args:
        path_or_hub_id: ``"nano"`` (built from installed packages, untrained), a directory, its address in object
            storage (``s3://bucket/model``, fetched once), or a hub id. A raw checkpoint is pooled as its family was
            made for: see :class:`EmbeddingModel`.
        device: ``"cpu"``, ``"cuda"``, …; default is the best there is.
        dtype: weights' type, e.g. ``torch.bfloat16``; default is the checkpoint's.
        pooling: of a raw checkpoint whose family is not known.
        fusion: of a text and a picture in one item of a dual encoder: "mean" of the two unit vectors, or "none", and
            such items are refused; default is what the directory says, else "mean".
        quantize: "int8" puts the linear layers of its towers into int8, for a processor, and the rest into float32: see
            :mod:`llave.models.int8`. Such a model cannot be saved or trained.

    Raises:
        UserError: no model there, one that cannot be opened, or weights that are not the pinned ones; int8 on a GPU.
    """
    name = str(path_or_hub_id)
    dtype = _checked(quantize, device, dtype)
    if name == "nano":
        model = build_nano(device=device)
        model.source = name
        if dtype is not None:
            model = model.to(dtype=getattr(torch, dtype) if isinstance(dtype, str) else dtype)
    else:
        model = open_as(EmbeddingModel, name, device=device, dtype=dtype, pooling=pooling, fusion=fusion)
    if quantize == "int8":
        quantize_model(model)
    return model


def load_late(
    path_or_hub_id: str | Path, *, device: str | None = None, dtype: torch.dtype | str | None = None
) -> LateModel:
    """Open a late-interaction model (ColQwen, ColBERT, or our own) by the same rules as :func:`load_model`.

    Raises:
        UserError: no such model there, or one that cannot be opened.
    """
    return open_as(LateModel, str(path_or_hub_id), device=device, dtype=dtype)


def _checked(
    quantize: Quantize | None, device: str | None, dtype: torch.dtype | str | None
) -> torch.dtype | str | None:
    """The type to open in, before anything is read."""
    if quantize not in (None, "none", "int8"):
        raise UserError(f"quantize {quantize!r}: int8 or none")
    if quantize != "int8":
        return dtype
    require_int8(device)
    return quantized_dtype(dtype)


def is_late(name: str) -> bool:
    """Whether a directory, or a hub id, says that it is a late-interaction model (also one of PyLate's)."""
    if is_address(name):
        name = str(fetched(name))
    path: str | None = str(Path(name) / STRUCTURE)
    if not Path(name).exists():
        if name.startswith((".", "/", "~")) or name.count("/") != 1:
            return False
        try:
            path = load_file_path(name, STRUCTURE)
        except Exception:  # opening it will say why
            return False
    if path is None or not Path(path).is_file():
        return False
    try:
        with named(path):
            said = json.loads(Path(path).read_text("utf-8"))
    except DataError:  # opening it will say why
        return False
    return isinstance(said, dict) and said.get("model_type") in LATE


def open_as(
    kind: type[Model],
    name: str,
    *,
    device: str | None,
    dtype: torch.dtype | str | None,
    what: str = "model",
    **options: Any,
) -> Model:
    """Open a directory or hub id as a class of models: safetensors, and no code of its own.

    Args:
        what: it is called in messages.

    Raises:
        UserError: no such model there, or one that cannot be opened so.
    """
    given, name = name, str(fetched(name)) if is_address(name) else name
    path = Path(name)
    if path.exists():
        if not (path / "config.json").is_file() and not (path / "modules.json").is_file():
            raise UserError(f"{path}: no model here (neither config.json nor modules.json)")
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"{name}: no such directory")
    model_kwargs: dict[str, Any] = {**SAFE} if dtype is None else {**SAFE, "torch_dtype": dtype}
    try:
        model = kind(name, device=device, model_kwargs=model_kwargs, trust_remote_code=False, **options)
    except UserError:
        raise
    except Exception as error:  # of transformers, sentence-transformers, safetensors, or a config.json of any form
        if "trust_remote_code" in str(error):
            what = f"Python code of its own, which llave does not run{_own_code(path)}"
            raise UserError(f"{name}: this model brings {what}") from None
        raise UserError(f"{name}: cannot be opened as a {what} ({reason_of(error)})") from None
    model.source = given if is_address(given) else str(path.resolve()) if path.exists() else name
    if isinstance(model, Prepared):
        warn_of_differences(model)
    return model


def _own_code(path: Path) -> str:
    """Which of a directory's files names code that comes with it, in brackets; "" if none is found."""
    for file in (*sorted(path.glob("*.json")), *sorted(path.glob("*/*.json"))):
        try:
            with named(str(file)):
                said = json.loads(file.read_text("utf-8"))
        except DataError:  # it names nothing
            continue
        names = said.get("auto_map") if isinstance(said, dict) else None
        if file.name == "modules.json" and isinstance(said, list):
            names = [str(one.get("type")) for one in said if isinstance(one, dict)]
            names = [one for one in names if not one.startswith("sentence_transformers.")]
        if names:
            words = ", ".join(map(str, names.values() if isinstance(names, dict) else names))
            return f" ({file.name}: {'auto_map' if isinstance(said, dict) else 'type'} {words[:100]})"
    return ""


def save_model(model: BaseModel, directory: Path) -> None:
    """``model.save_pretrained``, with the choice of PIL for pictures kept.

    sentence-transformers writes the processor but not how it was opened; a model whose pictures go through PIL
    (a converted LLaVE) would open with torchvision's resizing, whose pixels differ.
    """
    model.save_pretrained(str(directory))
    image_processor = getattr(model[0].processor, "image_processor", None)
    if type(image_processor).__name__.endswith("Pil"):
        path = directory / "sentence_bert_config.json"
        config = {**json.loads(path.read_text("utf-8")), "processor_kwargs": PIL}
        write_json(path, config)
