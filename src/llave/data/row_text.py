"""What the model meets of an item of MMEB's rows: one rule for training and evaluation."""

from dataclasses import replace

from PIL import Image

from llave.data.mmeb import IMAGE_PLACEHOLDER, RowItem, strip_placeholder

__all__ = ["BLANK", "blank_picture", "met"]

BLANK = "<blank>"
"""Stands for the picture of a text that has a picture's place and no picture."""
BLANK_SIDE = 384


def met(item: RowItem, *, verbatim: bool = False, blank: bool = False) -> RowItem:
    """The item without the placeholder of a picture.

    Args:
        verbatim: the text keeps the white space that the data has ("...question\\n"), as LLaVE and VLM2Vec read it;
            otherwise it is stripped. The line break after the placeholder belongs to the placeholder.
        blank: a text with a picture's place but no picture (queries of WebQA and EDIS) gets :data:`BLANK`, as LLaVE's
            code gives it a zero tensor.
    """
    place = IMAGE_PLACEHOLDER in item.text
    text = strip_placeholder(item.text)
    if verbatim:
        text = item.text.replace(IMAGE_PLACEHOLDER, "")
        text = text.removeprefix("\n") if place else text
    image = BLANK if blank and place and not item.image and not item.video and not item.audio else item.image
    return replace(item, text=text, image=image)


def blank_picture() -> Image.Image:
    """The picture that :data:`BLANK` stands for: grey."""
    return Image.new("RGB", (BLANK_SIDE, BLANK_SIDE), (128, 128, 128))
