"""A frozen vision tower runs once per step: GradCache's second pass takes the first one's features.

GradCache embeds every mini-batch twice, without gradient and with. What has no gradient either time need not be
computed twice: the tower's output of the first pass is kept until the second has used it. The same numbers, half the
vision work.
"""

import copy
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["TowerReuse", "reusable_tower"]

TOWERS = ("vision_tower", "vision_model", "visual")


def reusable_tower(network: nn.Module | None) -> nn.Module | None:
    """The vision tower of a backbone, if nothing in it is trained and it draws no random numbers.

    Qwen-VL's tower contains its projector, and is reusable only if that is frozen too.
    """
    tower = next((part for name in TOWERS if isinstance(part := getattr(network, name, None), nn.Module)), None)
    if tower is None or draws_random_numbers(tower) or any(parameter.requires_grad for parameter in tower.parameters()):
        return None
    return tower


def draws_random_numbers(module: nn.Module) -> bool:
    """Whether leaving the module out would change what is drawn after it."""
    rates = (part.p if isinstance(part, nn.Dropout) else getattr(part, "dropout", 0) for part in module.modules())
    return module.training and any(isinstance(rate, float) and rate > 0 for rate in rates)


class TowerReuse:
    """Outputs of a tower by mini-batch. ``calls`` counts how often the tower really ran."""

    def __init__(self, tower: nn.Module) -> None:
        self.tower = tower
        self.calls = 0
        self._kept: dict[Hashable, list[Any]] = {}

    @contextmanager
    def recording(self, key: Hashable) -> Iterator[None]:
        """Keep what the tower returns for a mini-batch."""
        outputs: list[Any] = []
        forward = self.tower.forward

        def record(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            output = forward(*arguments, **options)
            outputs.append(copy.copy(output))  # Qwen-VL writes into the object that it gets
            return output

        with self._instead(record):
            yield
        self._kept[key] = outputs

    @contextmanager
    def replaying(self, key: Hashable) -> Iterator[None]:
        """Return what was kept, in the order of the calls, and let go of it."""
        outputs = iter(self._kept.pop(key))
        with self._instead(lambda *arguments, **options: next(outputs)):
            yield

    @contextmanager
    def _instead(self, function: Callable[..., Any]) -> Iterator[None]:
        attributes = vars(self.tower)
        before = attributes.get("forward")
        attributes["forward"] = function
        try:
            yield
        finally:
            if before is None:
                del attributes["forward"]
            else:
                attributes["forward"] = before
