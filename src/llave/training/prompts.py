"""The prompts of a run: what stands before queries and targets, and what the trained model says of them."""

from collections.abc import Mapping

from sentence_transformers.base import BaseModel

from llave.training.config import DataSetConfig
from llave.training.rows import Use

__all__ = ["copy_prompts", "keep_prompts", "uses_of"]


def uses_of(settings: Mapping[str, DataSetConfig], model: BaseModel) -> dict[str, Use]:
    """How each data set is used. Where its recipe gives no prompt, the model's default one counts, as in ``encode``."""
    default = model.prompts.get(model.default_prompt_name or "")

    def chosen(prompt: str | None) -> str | None:
        return (default if prompt is None else prompt) or None

    return {
        name: Use(
            chosen(setting.query_prompt),
            chosen(setting.target_prompt),
            setting.hard_negatives,
            setting.mask_own_targets,
        )
        for name, setting in settings.items()
    }


def keep_prompts(model: BaseModel, uses: Mapping[str, Use]) -> None:
    """Let a model name the prompts it is trained with, so that whoever uses it can put the same words before an item.

    ``query`` and ``document`` where all data sets agree, otherwise ``NAME/query`` and ``NAME/document``. A default
    prompt stays the default only if everything is trained with it.
    """
    default = model.prompts.get(model.default_prompt_name or "") or None
    sides = {
        "query": {name: use.query_prompt for name, use in uses.items()},
        "document": {name: use.target_prompt for name, use in uses.items()},
    }
    if {prompt for side in sides.values() for prompt in side.values()} == {default}:
        return  # nothing but what the base does by itself
    model.default_prompt_name = None
    for side, prompts in sides.items():
        model.prompts.pop(side, None)
        if len(set(prompts.values())) == 1:
            model.prompts[side] = next(iter(prompts.values())) or ""
        else:
            model.prompts |= {f"{name}/{side}": prompt or "" for name, prompt in prompts.items()}


def copy_prompts(model: BaseModel, to: BaseModel) -> None:
    """Give a model opened anew the prompts of the one in training."""
    to.prompts = dict(model.prompts)
    to.default_prompt_name = model.default_prompt_name
