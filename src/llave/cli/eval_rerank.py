"""``llave eval --rerank``: the reranker is opened before the first stage runs, so that a wrong name costs nothing."""

from typing import TYPE_CHECKING, Any

from llave.encode.item import Reading
from llave.errors import UserError
from llave.models.nano_features import use_feature_cache
from llave.models.precision import eval_dtype
from llave.rerank.reranker import Reranker

if TYPE_CHECKING:
    from llave.cli.eval import EvalConfig

__all__ = ["open_reranker"]


def open_reranker(config: "EvalConfig") -> Reranker:
    """The reranker that ``config`` names, on its device.

    Raises:
        UserError: none there, or options out of range.
    """
    if config.top < 1 or not 0 <= config.rerank_weight <= 1:
        raise UserError("llave eval: --top must be at least 1, and --rerank_weight from 0 to 1")
    reading = Reading(num_frames=config.frames, fps=config.fps, folder_rate=config.folder_rate)
    dtype = eval_dtype(config.dtype, config.device)
    reranker = Reranker.open(str(config.rerank), device=config.device, dtype=dtype, reading=reading)
    network: Any = reranker.model
    use_feature_cache(network)
    return reranker
