"""A raw checkpoint as a sentence-transformers directory that says how it is pooled, or how its two towers combine."""

import json
from contextlib import suppress
from pathlib import Path

from llave.errors import UserError
from llave.files import holds_nothing, whole_folder
from llave.models.convert import ORIGINAL
from llave.models.families import PoolingMode
from llave.models.model import Fusion
from llave.models.open import load_model, save_model

__all__ = ["adopt", "is_original"]


def is_original(source: Path) -> bool:
    """Whether a directory is for :func:`llave.models.convert.convert`: the original code's, or no checkpoint at all."""
    path = source / "config.json"
    if not path.is_file():
        return source.is_dir() and not (source / "modules.json").is_file()
    with suppress(ValueError, AttributeError):
        return json.loads(path.read_text("utf-8")).get("model_type") in ORIGINAL
    return False


def adopt(
    source: str | Path, target: Path, *, pooling: PoolingMode | None = None, fusion: Fusion | None = None
) -> Path:
    """Open a checkpoint of any family and save it whole; returns ``target``.

    Args:
        source: a directory or hub id.
        target: directory to make.
        pooling, fusion: see :func:`llave.load_model`.

    Raises:
        UserError: no model there, one whose pooling is not known and not said, or a fusion that does not apply.
    """
    if not holds_nothing(target):
        raise UserError(f"{target} is not empty; name another directory")
    model = load_model(source, device="cpu", pooling=pooling, fusion=fusion)
    if fusion is not None and not model.is_dual:
        raise UserError(f"{source}: texts and pictures pass one network together; leave fusion out")
    with whole_folder(target) as partial:
        save_model(model, partial)
    return target
