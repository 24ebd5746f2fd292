"""What a recipe can say of adapters."""

from dataclasses import dataclass, field
from typing import Literal

from llave.errors import UserError

__all__ = ["AdapterConfig"]


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Low-rank adapters (LoRA, arXiv 2106.09685) in the language model, instead of training its weights.

    The projector is trained in full beside them, unless ``freeze`` names it; everything else stays as it is.

    Args:
        rank: of each adapter.
        alpha: scale; an adapter's output counts alpha / rank.
        dropout: before each adapter.
        targets: words of the names of the linear layers that get one, e.g. q_proj; empty is all of the language model.
        dora: also learn the length of each row of a weight (DoRA, arXiv 2402.09353).
        quantize: "nf4" keeps the language model's linear layers in 4 bits (QLoRA, arXiv 2305.14314; extra "qlora").
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: list[str] = field(default_factory=list)
    dora: bool = False
    quantize: Literal["none", "nf4"] = "none"

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UserError(f"adapter.rank must be at least 1, got {self.rank}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"adapter.dropout must be in [0, 1), got {self.dropout}")
        if self.alpha <= 0:
            raise UserError(f"adapter.alpha must be positive, got {self.alpha}")
