"""A frozen vision tower's features, kept: within a step (:class:`TowerReuse`) and across steps (:class:`FeatureLRU`).

GradCache embeds every mini-batch twice, without gradient and with. What has no gradient either time need not be
computed twice: the tower's output of the first pass is kept until the second has used it. The same numbers, half the
vision work.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from llave.models.families import family_of

__all__ = ["FeatureLRU", "TowerReuse", "once_per_row", "reusable_tower", "vision_tower"]


def vision_tower(network: nn.Module | None) -> nn.Module | None:
    """The part of a backbone that sees pictures, or None."""
    tower = getattr(network, family_of(network).tower or "vision_model", None)
    return tower if isinstance(tower, nn.Module) else None


def reusable_tower(network: nn.Module | None) -> nn.Module | None:
    """The vision tower of a backbone, if nothing in it is trained and it draws no random numbers.

    Qwen-VL's tower contains its projector, and is reusable only if that is frozen too.
    """
    tower = vision_tower(network)
    if tower is None or draws_random_numbers(tower) or any(parameter.requires_grad for parameter in tower.parameters()):
        return None
    return tower


def draws_random_numbers(module: nn.Module) -> bool:
    """Whether leaving the module out would change what is drawn after it."""
    rates = (part.p if isinstance(part, nn.Dropout) else getattr(part, "dropout", 0) for part in module.modules())
    return module.training and any(isinstance(rate, float) and rate > 0 for rate in rates)


def once_per_row(forward: Callable[..., Any], pixel_values: Tensor, **options: Any) -> Any:
    """What ``forward(pixel_values, **options)`` returns, run once on each of the rows that differ.

    A picture in several items of a batch is seen once, and so is a small picture whose only tile is the picture itself.
    For towers that take ``pixel_values`` (N, C, H, W), like :class:`FeatureLRU`.
    """
    of_rows = {name: value for name, value in options.items() if _is_rows(value, len(pixel_values))}
    place: dict[Hashable, int] = {}
    keys = _content_keys([pixel_values, *of_rows.values()])
    inverse = [place.setdefault(key, len(place)) for key in keys]
    if len(place) == len(keys):
        return forward(pixel_values, **options)
    first = [inverse.index(number) for number in range(len(place))]
    parts = {name: value[first] for name, value in of_rows.items()}
    output = forward(pixel_values[first], **{**options, **parts})
    return _replaced(output, [tensor[inverse] for tensor in _tensors(output)])


class FeatureLRU:
    """A tower's features by picture content, the longest unused ones let go; kept in the CPU's memory.

    For towers that take ``pixel_values`` (N, C, H, W), one picture (or tile) a row: SigLIP's and their like, not
    Qwen-VL's. A picture is computed in a batch with other ones than without the cache, which may change its features
    in the last bits.

    Args:
        max_bytes: of all features together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self._bytes = 0
        self._features: OrderedDict[Hashable, tuple[Tensor, ...]] = OrderedDict()
        self._template: Any = None

    def __len__(self) -> int:
        return len(self._features)

    def __call__(self, forward: Callable[..., Any], pixel_values: Tensor, **options: Any) -> Any:
        """What ``forward(pixel_values, **options)`` returns, run on the pictures alone that are not kept."""
        of_rows = {name: value for name, value in options.items() if _is_rows(value, len(pixel_values))}
        keys = _content_keys([pixel_values, *of_rows.values()])
        features = {key: self._features[key] for key in keys if key in self._features}
        missing = list({key: row for row, key in enumerate(keys) if key not in features}.values())
        self.hits, self.misses = self.hits + len(keys) - len(missing), self.misses + len(missing)
        if missing:
            parts = {name: value[missing] for name, value in of_rows.items()}
            self._template = forward(pixel_values[missing], **{**options, **parts})
            computed = [part.to("cpu", copy=True) for part in _tensors(self._template)]
            features |= {keys[row]: tuple(part[place] for part in computed) for place, row in enumerate(missing)}
        for key in keys:
            self._keep(key, features[key])
        if len(missing) == len(keys):
            return self._template
        columns = zip(*(features[key] for key in keys), strict=True)
        return _replaced(self._template, [torch.stack(column).to(pixel_values.device) for column in columns])

    def _keep(self, key: Hashable, features: tuple[Tensor, ...]) -> None:
        if key in self._features:
            self._features.move_to_end(key)
            return
        self._features[key] = features
        self._bytes += _num_bytes(features)
        while self._bytes > self.max_bytes:
            _, dropped = self._features.popitem(last=False)
            self._bytes -= _num_bytes(dropped)


class TowerReuse:
    """Outputs of a tower by mini-batch. ``calls`` counts how often the tower really ran.

    Args:
        tower: the vision tower.
        layers: the hidden states that the backbone reads (``config.vision_feature_layer``); those of all other layers
            are not kept. None: the backbone reads the output alone.
        lru: runs the tower on the pictures that need it: :class:`FeatureLRU` (features of earlier steps) or
            :func:`once_per_row`.
    """

    def __init__(
        self, tower: nn.Module, *, layers: int | Sequence[int] | None = None, lru: Callable[..., Any] | None = None
    ) -> None:
        self.tower = tower
        self.calls = 0
        self.layers = [layers] if isinstance(layers, int) else layers
        self.lru = lru
        self._kept: dict[Hashable, list[Any]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    @contextmanager
    def recording(self, key: Hashable | None) -> Iterator[None]:
        """Keep what the tower returns for a mini-batch; without a key nothing is kept within the step."""
        outputs: list[Any] = []
        forward = self.tower.forward

        def run(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            return self._compact(forward(*arguments, **options))

        def record(*arguments: Any, **options: Any) -> Any:
            pixels = arguments[0] if arguments else options.get("pixel_values")
            if self.lru is not None and isinstance(pixels, Tensor) and pixels.ndim == 4:
                options.pop("pixel_values", None)
                output = self.lru(run, pixels, **options)
            else:
                output = run(*arguments, **options)
            if key is not None:
                outputs.append(copy.copy(output))  # Qwen-VL writes into the object that it gets
            return output

        with self._instead(record):
            yield
        if key is not None:
            self._kept[key] = outputs

    @contextmanager
    def replaying(self, key: Hashable) -> Iterator[None]:
        """Return what was kept, in the order of the calls, and let go of it."""
        outputs = iter(self._kept.pop(key))
        with self._instead(lambda *arguments, **options: next(outputs)):
            yield

    def _compact(self, output: Any) -> Any:
        """Without the hidden states that nobody reads: SigLIP returns 27 of which LLaVA-OneVision takes one."""
        states = getattr(output, "hidden_states", None)
        if self.layers is None or states is None:
            return output
        read = {layer % len(states) for layer in self.layers}
        slim = copy.copy(output)
        slim["hidden_states"] = tuple(state if number in read else None for number, state in enumerate(states))
        slim["last_hidden_state"] = None
        return slim

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


def _is_rows(value: Any, rows: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == rows


def _num_bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _tensors(output: Any) -> list[Tensor]:
    """The tensors of a model's output, (N, ...) each, those within tuples included."""
    if isinstance(output, Tensor):
        return [output]
    values = [part for value in output.values() for part in (value if isinstance(value, tuple) else (value,))]
    return [value for value in values if isinstance(value, Tensor)]


def _replaced(output: Any, tensors: Sequence[Tensor]) -> Any:
    """The output with other tensors, in the order of :func:`_tensors`."""
    if isinstance(output, Tensor):
        return tensors[0]
    following = iter(tensors)
    made = copy.copy(output)
    for name, value in output.items():
        if isinstance(value, Tensor):
            made[name] = next(following)
        elif isinstance(value, tuple):
            made[name] = tuple(next(following) if isinstance(part, Tensor) else part for part in value)
    return made


def _content_keys(values: Sequence[Tensor]) -> list[Hashable]:
    """Two 64-bit hashes per row of the tensors' bytes, computed where the tensors are."""
    sums: list[Tensor] = []
    for value in values:
        words = value.reshape(len(value), -1).contiguous().view(torch.uint8)
        words = nn.functional.pad(words, (0, -words.shape[1] % 4)).view(torch.int32).long()
        sums += [(words * factor).sum(1) for factor in _factors(words.shape[1], words.device)]
    return [tuple(row) for row in torch.stack(sums, dim=1).tolist()]


@lru_cache(maxsize=8)
def _factors(length: int, device: torch.device) -> Tensor:
    """Random odd multipliers (2, length): sums of products modulo 2^64 hash whatever does not know them."""
    generator = torch.Generator().manual_seed(0)
    top = 2**62
    return (torch.randint(-top, top, (2, length), generator=generator) * 2 + 1).to(device)
