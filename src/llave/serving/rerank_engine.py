"""A reranker as the server runs it: what its thread, or its process, does for a batch of pairs."""

import logging
from collections.abc import Sequence

from llave.encode.cache import model_fingerprint
from llave.encode.forward import Refused
from llave.encode.item import Modality
from llave.models.sounds import hearing_of
from llave.rerank.reranker import Pair, Reranker, Score
from llave.serving.lanes import Work
from llave.serving.profile import RerankProfile, values_of

__all__ = ["RerankEngine"]

log = logging.getLogger("llave.serving")


class RerankEngine(RerankProfile):
    """A loaded reranker.

    Args:
        name: that requests use; with ``aliases``.
    """

    def __init__(self, reranker: Reranker, *, name: str, aliases: Sequence[str] = ()) -> None:
        self.reranker = reranker
        self.model = reranker.model
        super().__init__(
            name=name,
            names=frozenset({name, *aliases}),
            modalities=sorted(reranker.modalities),
            hearing=hearing_of(self.model),
            tokens=reranker.tokens,
            device=str(self.model.device),
            room=_room(reranker),
        )

    def profile(self) -> RerankProfile:
        """All of this but the model; reads all weights, once."""
        self.fingerprint = self.fingerprint or model_fingerprint(self.model)
        return RerankProfile(**values_of(self))

    @property
    def work(self) -> Work[Pair, Score]:
        """What it does for a batch."""
        return self.score

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


def _room(reranker: Reranker) -> int | None:
    tokens = reranker.tokens
    if tokens.longest is None:
        return None
    around = len(reranker.model.preprocess([["0", "0"]])["input_ids"][0]) - sum(tokens.texts(["0", "0"]))
    return max(tokens.longest - around, 1)
