"""A reranker as the server knows it: its names, how long a pair may be, and what the model's thread runs."""

import logging
from collections.abc import Sequence

from llave.encode.forward import Refused
from llave.encode.item import Modality
from llave.models.sounds import hearing_of
from llave.rerank.reranker import Pair, Reranker, Score
from llave.serving.batcher import BatchPlan
from llave.serving.engine import batch_plan
from llave.serving.limits import Limits

__all__ = ["RerankEngine"]

log = logging.getLogger("llave.serving")


class RerankEngine:
    """A loaded reranker.

    Args:
        name: that requests use; with ``aliases``.
    """

    def __init__(self, reranker: Reranker, *, name: str, aliases: Sequence[str] = ()) -> None:
        self.reranker = reranker
        self.model = reranker.model
        self.name = name
        self.names = frozenset({name, *aliases})
        self.modalities = sorted(reranker.modalities)
        self.hearing = hearing_of(self.model)
        self.tokens = reranker.tokens
        self.room = self._room()

    def plan(self, limits: Limits) -> BatchPlan:
        """Bounds of a batch on the model's device."""
        return batch_plan(self.model.device.type, limits)

    def score(self, modality: Modality, prompt: str | None, pairs: list[Pair]) -> list[Score]:
        """The model's own scores, or why there is none. One thread at a time.

        Args:
            modality: of the pairs.
            prompt: None; a reranker has its own.
        """
        found = self.reranker.score_inputs(pairs)
        for outcome in found:
            if isinstance(outcome, Refused):
                level = logging.ERROR if outcome.kind == "memory" else logging.WARNING
                log.log(level, "a pair of modality %s has no score: %s", modality, outcome)
        return found

    def warm_up(self) -> None:
        """Run once, so that the first client does not pay for lazy imports and kernels."""
        from PIL import Image

        self.score("text", None, [("warm up", "warm up")])
        if "image" in self.modalities:
            self.score("image", None, [("warm up", Image.new("RGB", (64, 64)))])

    def _room(self) -> int | None:
        """Tokens of a query and a document together, without those that the model puts around them."""
        if self.tokens.longest is None:
            return None
        around = len(self.model.preprocess([["0", "0"]])["input_ids"][0]) - sum(self.tokens.texts(["0", "0"]))
        return max(self.tokens.longest - around, 1)
