"""The model that a recipe starts from."""

from typing import Any

from llave.errors import UserError
from llave.models.late import DIMENSIONS, LateModel, late_from
from llave.models.model import EmbeddingModel
from llave.models.open import is_late, load_late, load_model
from llave.training.config import TrainConfig

__all__ = ["open_base"]


def open_base(config: TrainConfig, **options: Any) -> EmbeddingModel | LateModel:
    """As the recipe's task wants it; a late-interaction model on the backbone of another has a random projection.

    Args:
        options: ``device`` and ``dtype`` of :func:`llave.load_model`.

    Raises:
        UserError: no such model, or one that does not fit the task.
    """
    if config.task != "late":
        return load_model(config.model, **options)
    if not is_late(config.model):
        return late_from(load_model(config.model, **options), config.late.dimensions or DIMENSIONS)
    model = load_late(config.model, **options)
    has = model.get_embedding_dimension()
    if config.late.dimensions not in (None, has):
        raise UserError(f"late.dimensions {config.late.dimensions}: {config.model} has {has} already")
    return model
