"""A model as mteb runs it, with its pictures.

``mteb.evaluate(SentenceTransformer(path), …)`` takes a local model for one of texts: it refuses tasks of pictures, and
scores tasks of pictures with texts by the texts alone, with nothing but a line in the log. It also files every local
model under one name and revision, so that a retrained model is answered with the scores of the old one from mteb's
cache. Here modalities are the model's own, and the revision is a hash of its weights.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
from mteb.models import SentenceTransformerEncoderWrapper
from mteb.models.abs_encoder import get_prompt
from mteb.types import PromptType
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from llave.data.images import to_rgb
from llave.encode.cache import model_fingerprint
from llave.encode.item import Item, Reading
from llave.errors import UserError
from llave.evaluation.mteb.instructions import mmeb_instruction
from llave.models.open import load_model
from llave.models.prompts import ModelInput, kinds_of, model_input
from llave.models.sounds import heard_sound, hearing_of

__all__ = ["MTEBModel", "mteb_model"]

Instructions = Literal["mmeb"]


def mteb_model(
    model: str | Path | SentenceTransformer,
    *,
    name: str | None = None,
    revision: str | None = None,
    instructions: Instructions | None = None,
    device: str | None = None,
) -> "MTEBModel":
    """What ``mteb.evaluate`` takes for a model.

    Args:
        model: what ``load_model`` opens, or an open model.
        name: ``"organisation/name"`` for mteb's results; default is the hub id, or ``local/`` and the directory's name.
        revision: default is a hash of weights and settings, so that results of other weights are never mistaken for
            this model's.
        instructions: ``"mmeb"`` writes MMEB's instructions before the items of tasks that have none. For models
            trained with them.
        device: where to load the model.

    Raises:
        UserError: no such model, or a name without an organisation.
    """
    if name is not None and "/" not in name.strip("/"):
        raise UserError(f"name={name!r}: mteb wants organisation/name")
    opened = model if isinstance(model, SentenceTransformer) else load_model(model, device=device)
    return MTEBModel(
        opened,
        name=name or _name(model),
        revision=revision or model_fingerprint(opened)[:40],
        instructions=instructions,
    )


class MTEBModel(SentenceTransformerEncoderWrapper):
    """mteb's own wrapper of a sentence-transformers model, but for items with pictures, videos or sounds.

    A batch may mix texts, pictures, sounds and texts with either; an empty text or a missing picture is left out of its
    item, where mteb's wrapper hands the model a None. Pictures become RGB, videos frames, and sounds mono at the
    model's rate, as they do everywhere else in llave.
    """

    def __init__(
        self, model: SentenceTransformer, *, name: str, revision: str, instructions: Instructions | None = None
    ) -> None:
        with warnings.catch_warnings():  # of mteb about itself, and about prompts that go by names of our own
            warnings.simplefilter("ignore")
            super().__init__(model)
        self.instructions = instructions
        parameters = list(model.parameters())
        self.mteb_model_meta = self.mteb_model_meta.model_copy(
            update={
                "loader": None,
                "name": name,
                "revision": revision,
                "modalities": kinds_of(model),
                "n_parameters": sum(weight.numel() for weight in parameters),
                "memory_usage_mb": round(sum(weight.numel() * weight.element_size() for weight in parameters) / 2**20),
                "use_instructions": instructions is not None or any((self.model_prompts or {}).values()),
                "experiment_kwargs": None if instructions is None else {"instructions": instructions},
            }
        )

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> Any:
        """Embeddings (N, D) of a loader's items, in float32.

        The prompts that the model carries are applied as sentence-transformers does; instructions are written before
        the text, as in training.
        """
        features = set(inputs.dataset.features)
        if not (self.instructions or features & {"image", "video", "audio"}):
            return super().encode(
                inputs,
                task_metadata=task_metadata,
                hf_split=hf_split,
                hf_subset=hf_subset,
                prompt_type=prompt_type,
                **kwargs,
            )
        loader = _encoded(inputs, features)
        batches: Iterator[list[ModelInput]] = (self._items(batch, task_metadata, prompt_type) for batch in loader)
        if not features & {"image", "video", "audio"}:  # in one call, which sorts texts by their length
            batches = iter([[item for batch in batches for item in batch]])
        by_type = {PromptType.query: self.model.encode_query, PromptType.document: self.model.encode_document}
        encode = by_type[prompt_type] if prompt_type else self.model.encode
        prompt = get_prompt(self.model_prompts, task_metadata, prompt_type)
        shown = kwargs.pop("show_progress_bar", True)
        embeddings: list[NDArray[np.float32]] = [
            np.asarray(encode(batch, prompt=prompt, show_progress_bar=False, **kwargs), dtype=np.float32)
            for batch in tqdm(batches, desc="encode", total=len(inputs), disable=not shown)
        ]
        return np.concatenate(embeddings)

    def _items(self, batch: Any, task: Any, prompt_type: PromptType | None) -> list[ModelInput]:
        count = len(next(iter(batch.values())))
        texts = batch.get("text", [""] * count)
        if "video" in batch:
            films = zip(texts, batch["video"], strict=True)
            return [Item(text, video=film["bytes"] or Path(film["path"])).load(Reading()) for text, film in films]
        items = []
        columns = [
            batch.get(name, [nothing] * count) for name, nothing in (("text", ""), ("image", None), ("audio", None))
        ]
        for text, image, audio in zip(*columns, strict=True):
            before = ""
            if self.instructions:
                before = mmeb_instruction(task, prompt_type, text=bool(text.strip()), image=image is not None)
            picture = None if image is None else to_rgb(image)
            heard = None if audio is None else heard_sound(audio, hearing_of(self.model))
            items.append(model_input(text, picture, audio=heard, prompt=before))
        return items


def _encoded(loader: Any, features: set[str]) -> Any:
    """The same batches with videos and sounds as their bytes or paths, which mteb would decode, with torchcodec."""
    table = loader.dataset
    for name, kind in (("video", datasets.Video), ("audio", datasets.Audio)):
        if name in features and isinstance(table.features[name], kind):
            table = table.cast_column(name, kind(decode=False))
    if table is loader.dataset:
        return loader
    return DataLoader(table, batch_size=loader.batch_size, collate_fn=loader.collate_fn)


def _name(model: str | Path | SentenceTransformer) -> str:
    if isinstance(model, SentenceTransformer):
        given = model.model_card_data.model_name or ""
        if not given or given.startswith(
            ("SentenceTransformer", type(model).__name__)
        ):  # the title that saving gives it
            given = model.model_card_data.base_model or getattr(model, "source", "") or "model"
        return given if given.count("/") == 1 and not Path(given).exists() else f"local/{Path(given).name}"
    path = Path(model)
    if path.exists() or str(model).count("/") != 1:
        return f"local/{path.resolve().name}"
    return str(model)
