"""Open a reranker, by the rules of :func:`llave.models.open.load_model`: safetensors, no code of the model's own."""

import json
from pathlib import Path

import torch

from llave.data.door import named
from llave.data.fetched import local
from llave.errors import DataError, UserError
from llave.models.model import LATE
from llave.models.open import open_as
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
    if (found := local(Path(name))).exists():
        _require_reranker(found)
    elif name == "nano":
        raise UserError("nano: no such directory; llave train RECIPE --task rerank makes a reranker of it")
    return open_as(PairModel, name, device=device, dtype=dtype, what="reranker").eval()


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
    if kind in LATE:
        raise UserError(f"{path}: a late-interaction model, which `llave search --rerank` takes, and a server does not")
    if kind != "CrossEncoder":
        raise UserError(
            f"{path}: an embedding model ({kind}), no reranker; train one from it: "
            f"llave train RECIPE --task rerank --model {path}"
        )
