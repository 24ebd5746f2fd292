"""Texts for the model's processor as they are, without a chat template: what VLM2Vec and its kin were trained on.

A picture's place in the text is MMEB's ``<|image_1|>``, a video's ``<|video_1|>``; the model's own placeholder is put
there (``processor.image_token``, ``processor.video_token``), and nothing else is added. A place without a picture stays
a bare token, as VLM2Vec leaves it in the queries of WebQA and EDIS.

Two things follow from there being no template. Qwen-VL models give a picture's tokens positions in two dimensions
where a ``<|vision_start|>`` stands before them; in these texts none does, so that VLM2Vec's models saw positions in
one. Newer versions of transformers look at the placeholders instead, so the positions are handed to them. And nothing
can be cut inside a template: texts alone are cut at their end, what has a picture or video is not cut at all.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from llave.data.mmeb import IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER
from llave.errors import DataError, UserError
from llave.models.families import family_of
from llave.models.fit import MediaTokens
from llave.models.prompts import stacked

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base import BaseModel

    from llave.models.prompts import ModelInput

__all__ = ["raw_features", "require_raw"]

PLACES = {"image": IMAGE_PLACEHOLDER, "video": VIDEO_PLACEHOLDER}
SMALLEST, ENLARGED = 28, (56, 56)
"""A picture with a side of fewer pixels than one patch of Qwen2-VL is enlarged, as VLM2Vec's processor does it."""


def require_raw(model: "BaseModel") -> None:
    """Refuse a model whose processor takes no text with a picture's placeholder in it.

    Raises:
        UserError: it takes none.
    """
    transformer: Any = model[0]
    if family_of(getattr(transformer, "model", None)).bare:
        raise UserError("--template none: this model has no template; leave the option out")
    if not getattr(getattr(transformer, "processor", None), "image_token", None):
        raise UserError(
            f"--template none: the processor of this model ({type(getattr(transformer, 'processor', None)).__name__}) "
            "has no token for a picture's place in a text"
        )


def raw_features(model: "SentenceTransformer", inputs: "Sequence[ModelInput]") -> dict[str, Any]:
    """Features of inputs of one modality, as ``SentenceTransformer.preprocess`` gives them.

    Args:
        inputs: texts, or dictionaries of a text with the place of a picture or video in it and that picture or video,
            see :func:`llave.models.prompts.model_input`.

    Raises:
        DataError: videos, for a processor that has no placeholder for them.
    """
    transformer: Any = model[0]
    processor: Any = transformer.processor
    tokens = MediaTokens.of(processor, transformer.config, model.tokenizer)
    entries: list[dict[str, Any]] = [entry if isinstance(entry, dict) else {"text": entry} for entry in inputs]
    texts = [_with_tokens(tokens.as_text(entry["text"]), processor) for entry in entries]
    # A list of pictures for each text: some processors (SmolVLM's) must know whose they are.
    pictures = [[_enlarged(entry["image"])] for entry in entries if "image" in entry]
    videos = [stacked(entry["video"]) for entry in entries if "video" in entry]
    if videos and not getattr(processor, "video_token", None):
        raise DataError(f"{type(processor).__name__} has no token for a video's place in a text")
    features: dict[str, Any]
    if pictures or videos:
        options = transformer.processing_kwargs
        features = dict(
            processor(
                text=texts,
                images=pictures or None,
                videos=videos or None,
                text_kwargs={"padding": True},
                images_kwargs=options.get("image", {}),
                videos_kwargs=options.get("video", {}),
                return_tensors="pt",
            )
        )
    else:  # processors refuse the token of a picture that is not there
        features = dict(
            model.tokenizer(texts, padding=True, truncation=True, max_length=model.max_seq_length, return_tensors="pt")
        )
    if features.pop("mm_token_type_ids", None) is not None:
        mask_BT = features["attention_mask"]
        position_BT = (mask_BT.long().cumsum(-1) - 1).masked_fill(mask_BT == 0, 1)
        features["position_ids"] = position_BT[None].expand(3, -1, -1)
    return {**features, "modality": "message" if "message" in transformer.modality_config else "text"}


def _with_tokens(text: str, processor: Any) -> str:
    for kind, place in PLACES.items():
        text = text.replace(place, getattr(processor, f"{kind}_token", None) or place)
    return text


def _enlarged(picture: Image.Image) -> Image.Image:
    return picture.resize(ENLARGED) if min(picture.size) < SMALLEST else picture
