"""What the model meets of an item of MMEB's rows: one rule for training and evaluation."""

from dataclasses import replace
from typing import Literal

from PIL import Image

from llave.data.mmeb import IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER, RowItem, strip_placeholder

__all__ = ["BLANK", "Form", "blank_picture", "met"]

BLANK = "<blank>"
"""Stands for the picture of a text that has a picture's place and no picture."""
BLANK_SIDE = 384
Form = Literal["text", "raw", "system"]
"""Instruction and words as one text for the model's template; as a text without one; or the instruction by itself."""


def met(item: RowItem, *, verbatim: bool = False, blank: bool = False, form: Form = "text") -> tuple[RowItem, str]:
    """The item as the model meets it, and the instruction that goes before it, "" if that is in the text or none.

    Args:
        verbatim: the text keeps the white space that the data has ("...question\\n"), as LLaVE and VLM2Vec read it;
            otherwise it is stripped. The line break after the placeholder belongs to the placeholder. One that is not
            first is moved there, and then LLaVE's code strips the text.
        blank: a text with a picture's place but no picture (queries of WebQA and EDIS) gets :data:`BLANK`, as LLaVE's
            code gives it a zero tensor.
        form: "raw" keeps the places of pictures and videos, for :mod:`llave.models.raw`, and all white space.
    """
    wording = item.wording
    if form == "raw":
        return replace(item, text=_placed(item, wording.raw if wording else item.text), wording=None), ""
    instruction = ""
    text = item.text
    if form == "system" and wording is not None:
        text, instruction = wording.words, wording.instruction
    place = IMAGE_PLACEHOLDER in text
    if verbatim:
        first = text.startswith(IMAGE_PLACEHOLDER)
        text = text.replace(IMAGE_PLACEHOLDER, "")
        text = text.removeprefix("\n") if first else text.strip() if place else text
    else:
        text = strip_placeholder(text)
    image = BLANK if blank and place and not (item.image or item.video or item.audio) else item.image
    return replace(item, text=text, image=image, wording=None), instruction


def _placed(item: RowItem, text: str) -> str:
    """The text with a place for what the item shows."""
    for shown, place in ((item.image, IMAGE_PLACEHOLDER), (item.video, VIDEO_PLACEHOLDER)):
        if shown and place not in text:
            return f"{place}\n{text}" if place == IMAGE_PLACEHOLDER else f"{place} {text}"
    return text


def blank_picture() -> Image.Image:
    """The picture that :data:`BLANK` stands for: grey."""
    return Image.new("RGB", (BLANK_SIDE, BLANK_SIDE), (128, 128, 128))
