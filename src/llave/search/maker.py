"""Which model made an index, and whether another one's vectors belong with its own."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llave.errors import UserError
from llave.models.about import dtype_of, quantize_of
from llave.search.info import IndexInfo
from llave.storage.location import Location

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Maker", "check_model", "maker_of"]


@dataclass(frozen=True, slots=True)
class Maker:
    """What a model must share with an index for scores to mean something.

    Args:
        fingerprint: :func:`llave.encode.cache.model_fingerprint`.
        dimension: of its vectors.
        dtype: of its weights.
        quantize: how its layers are quantized, "none" or "int8".
    """

    fingerprint: str
    dimension: int | None
    dtype: str
    quantize: str


def maker_of(model: "SentenceTransformer") -> Maker:
    """What a model is to an index. It reads all weights."""
    from llave.encode.cache import model_fingerprint

    return Maker(
        model_fingerprint(model), model.get_embedding_dimension(), dtype_of(model), quantize_of(model) or "none"
    )


def check_model(path: Location, info: IndexInfo, maker: Maker) -> None:
    """Refuse a model whose vectors do not belong with those of an index.

    Args:
        path: of the index, for messages.
        maker: of the model (:func:`maker_of`).

    Raises:
        UserError: another model, or the same one retrained.
    """
    if maker.dimension != info.dimension:
        raise UserError(
            f"{path}: has vectors of {info.dimension} dimensions, made by {info.model}, and this "
            f"model makes {maker.dimension}; use that model, or another --index"
        )
    if maker.quantize != info.quantize:
        raise UserError(
            f"{path}: was made with quantize {info.quantize}, and this model is opened with {maker.quantize}; "
            f"say --quantize {info.quantize}"
        )
    if maker.dtype != info.dtype:
        raise UserError(
            f"{path}: was made with weights in {info.dtype}, and this model's are in {maker.dtype}; "
            f"say --dtype {info.dtype}"
        )
    if maker.fingerprint != info.fingerprint:
        raise UserError(
            f"{path}: was made by {info.model} with other weights, settings or library versions than "
            "this model has, so that scores would mean nothing; use that model, or index anew into another folder"
        )
