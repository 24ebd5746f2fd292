"""Open a reranker, by the rules of :func:`llave.models.open.load_model`: safetensors, no code of the model's own."""

import json
from pathlib import Path
from typing import Any

import torch

from llave.data.door import named, reason_of
from llave.errors import DataError, UserError
from llave.models.open import SAFE
from llave.rerank.model import PairModel

__all__ = ["open_pair_model"]


def open_pair_model(
    path_or_hub_id: str | Path, *, device: str | None = None, dtype: torch.dtype | str | None = None
) -> PairModel:
    """Open a cross-encoder that scores pairs of texts, pictures, both together, and mixes of them.

    Args:
        path_or_hub_id: a directory or a hub id: what ``llave train --task rerank`` leaves, any other
            ``CrossEncoder``, or a raw checkpoint of a family that is asked for "yes" or "no" (Qwen3-VL-Reranker).
        device: ``"cpu"``, ``"cuda"``, …; default is the best there is.
        dtype: weights' type, e.g. ``torch.bfloat16``; default is the checkpoint's.

    Raises:
        UserError: no model there, one that cannot be opened, one with code of its own, or one that is no reranker.
    """
    name = str(path_or_hub_id)
    path = Path(name)
    if path.exists():
        if not (path / "config.json").is_file() and not (path / "modules.json").is_file():
            raise UserError(f"{path}: no model here (neither config.json nor modules.json)")
        _require_reranker(path)
    elif name == "nano" or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"{name}: no such directory")
    model_kwargs: dict[str, Any] = {**SAFE} if dtype is None else {**SAFE, "torch_dtype": dtype}
    try:
        model = PairModel(name, device=device, model_kwargs=model_kwargs, trust_remote_code=False)
    except UserError:
        raise
    except Exception as error:  # of transformers, sentence-transformers, safetensors, or a config.json of any form
        if "trust_remote_code" in str(error):
            raise UserError(f"{name}: this model brings Python code of its own, which llave does not run") from None
        raise UserError(f"{name}: cannot be opened as a reranker ({reason_of(error)})") from None
    model.source = str(path.resolve()) if path.exists() else name
    return model.eval()


def _require_reranker(path: Path) -> None:
    """Refuse what says of itself that it embeds: sentence-transformers would give it a random head."""
    file = path / "config_sentence_transformers.json"
    if not file.is_file():
        return
    try:
        with named(str(file)):
            kind = json.loads(file.read_text("utf-8")).get("model_type", "CrossEncoder")
    except DataError:  # opening it will say more
        return
    if kind != "CrossEncoder":
        raise UserError(
            f"{path}: an embedding model ({kind}), no reranker; train one from it: "
            f"llave train RECIPE --task rerank --model {path}"
        )
