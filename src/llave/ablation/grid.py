"""What an ablation varies: a grid of a recipe's keys, or named variants, as YAML.

{loss.alpha: [0, 4, 9], batch_size: [32, 64]}                     # the product of the lists

baseline: llave                                                    # named; the others are compared with it
variants:
  llave: {}
  infonce: {loss.alpha: 0}
means:                                                             # of some data sets, beside those of all
  without composed: [group, t2i, i2i]
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from llave.errors import UserError
from llave.recipes import find_recipe

__all__ = ["Grid", "Variant", "read_grid"]

FORBIDDEN = {"seed": "use --seeds", "output": "use --out", "data": "use --set", "resume": "runs resume by themselves"}


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to train: the keys of the recipe that it changes, as ``{"loss.alpha": 0}``."""

    name: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Grid:
    """Variants, the one that the others are compared with, and the numeric key if a single one is varied.

    ``means`` are data sets by the name of their mean.
    """

    variants: Sequence[Variant]
    baseline: str
    axis: str | None = None
    means: Mapping[str, Sequence[str]] = field(default_factory=dict)


def read_grid(source: str) -> Grid:
    """The grid of a YAML file, of one of llave's by its name, or of YAML text.

    Raises:
        UserError: no such file, not a grid, or a key that an ablation sets itself.
    """
    is_text = any(mark in source for mark in "{[:\n")
    try:
        content = yaml.safe_load(source if is_text else find_recipe(source).read_text("utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"grid: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict) or not content:
        raise UserError("grid: expected {key: [values, ...]} or {variants: {name: {key: value}}}")
    return _named(content) if "variants" in content else _product(content)


def _named(content: dict[str, Any]) -> Grid:
    variants = content["variants"]
    unknown = sorted(set(content) - {"variants", "baseline", "means"})
    if unknown:
        raise UserError(f"grid: {', '.join(unknown)} beside 'variants', 'baseline' and 'means'")
    if not isinstance(variants, dict) or not variants:
        raise UserError("grid: variants must be {name: {key: value, ...}, ...}")
    made = []
    for name, changes in variants.items():
        if not isinstance(changes, dict):
            raise UserError(f"grid: variant {name} must be {{key: value, ...}}")
        made.append(_variant(str(name), changes))
    baseline = str(content.get("baseline", made[0].name))
    if baseline not in {variant.name for variant in made}:
        raise UserError(f"grid: the baseline {baseline!r} is none of the variants")
    means = content.get("means", {})
    if not isinstance(means, dict) or not all(isinstance(names, list) and names for names in means.values()):
        raise UserError("grid: means must be {name: [data set, ...], ...}")
    return Grid(made, baseline, means={str(name): [str(one) for one in names] for name, names in means.items()})


def _product(content: dict[str, Any]) -> Grid:
    for key, values in content.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"grid: {key} needs a list of values, got {values!r}")
    combinations = [dict(zip(content, values, strict=True)) for values in itertools.product(*content.values())]
    made = [_variant(", ".join(f"{key}={value}" for key, value in one.items()), one) for one in combinations]
    key, values = next(iter(content.items()))
    numeric = len(content) == 1 and all(isinstance(value, int | float) for value in values)
    return Grid(made, made[0].name, key if numeric else None)


def _variant(name: str, changes: Mapping[str, Any]) -> Variant:
    for key in changes:
        if key in FORBIDDEN:
            raise UserError(f"grid: {key} cannot be varied; {FORBIDDEN[key]}")
    return Variant(name, dict(changes))
