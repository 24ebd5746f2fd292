"""What a recipe can say of a late-interaction model, and what of the rest it cannot."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llave.errors import UserError
from llave.training.loss_config import LossConfig

if TYPE_CHECKING:
    from llave.training.config import TrainConfig

__all__ = ["LateConfig", "check_late"]


@dataclass(frozen=True, kw_only=True)
class LateConfig:
    """A model of token vectors (task: late).

    Args:
        dimensions: of a token's vector; null is 128, or what a late-interaction base has.
    """

    dimensions: int | None = None

    def __post_init__(self) -> None:
        if self.dimensions is not None and self.dimensions < 2:
            raise UserError(f"late.dimensions must be at least 2, got {self.dimensions}")


def check_late(config: "TrainConfig") -> None:
    """Refuse what the loss over MaxSim does not have.

    Raises:
        UserError: names it.
    """
    if config.task != "late":
        if config.late != LateConfig():
            raise UserError("late is for task: late")
        return
    loss, plain = config.loss, LossConfig()
    for name in ("name", "reward", "teacher", "matryoshka_dims"):
        if getattr(loss, name) != getattr(plain, name):
            raise UserError(f"loss.{name}: not with task: late, whose loss has only {getattr(plain, name)!r}")
    if loss.impl not in ("auto", "reference", "tiled"):
        raise UserError(f"loss.impl: with task: late auto, reference or tiled, not {loss.impl}")
    if config.sharding != "none" or config.deepspeed is not None:
        raise UserError("sharding, deepspeed: not with task: late, whose projection they do not know")
