"""From a request's forms to entries: one text, at most one picture or video, and the prompt before them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llave.encode.tokens import Tokens
from llave.errors import DataError
from llave.serving.errors import bad_request
from llave.serving.schema import (
    CohereRequest,
    ContentObject,
    EmbeddingRequest,
    ImageBase64Part,
    ImageUrlPart,
    ObjectInput,
    Part,
    TextPart,
    VideoUrlPart,
)

__all__ = ["Entry", "Reference", "of_cohere", "of_openai"]

Reference = str | bytes
"""An address or base64, or the bytes of a file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What becomes one vector.

    Args:
        place: its name in the request, for errors: ``input[3]``.
        prompt: as ``SentenceTransformer.encode`` takes it; None is the model's default.
    """

    place: str
    text: str = ""
    image: Reference | None = None
    video: Reference | None = None
    prompt: str | None = None


def of_openai(request: EmbeddingRequest, tokens: Tokens, prompt: str | None) -> list[Entry]:
    """The entries of an embeddings request, in order.

    Raises:
        ApiError: token ids that the model does not have, or parts that cannot become one vector.
    """
    if request.messages is not None:
        instructions = [m for m in request.messages if m.role != "user"]
        said = [part for m in request.messages if m.role == "user" for part in _parts(m.content)]
        if instructions:
            texts = [part.text for m in instructions for part in _parts(m.content) if isinstance(part, TextPart)]
            prompt = _before("\n".join(texts))
        return [_of_parts("messages", said, prompt)]
    given = request.input
    if not isinstance(given, list) or (given and isinstance(given[0], int)):
        return [_of_item("input", given, request.modality, tokens, prompt)]
    return [_of_item(f"input[{number}]", item, request.modality, tokens, prompt) for number, item in enumerate(given)]


def of_cohere(request: CohereRequest, prompt: str | None) -> list[Entry]:
    """The entries of Cohere's request."""
    if request.texts is not None:
        return [Entry(f"texts[{n}]", text, prompt=prompt) for n, text in enumerate(request.texts)]
    if request.images is not None:
        return [Entry(f"images[{n}]", image=image, prompt=prompt) for n, image in enumerate(request.images)]
    inputs = request.inputs or []
    return [_of_parts(f"inputs[{n}]", entry.content, prompt) for n, entry in enumerate(inputs)]


def _before(instruction: str) -> str:
    """An instruction as it stands before a text: with white space between them."""
    return instruction if not instruction or instruction[-1].isspace() else instruction + " "


def _of_item(place: str, item: object, modality: str, tokens: Tokens, prompt: str | None) -> Entry:
    if isinstance(item, str):
        if modality == "image":
            return Entry(place, image=item, prompt=prompt)
        return Entry(place, video=item, prompt=prompt) if modality == "video" else Entry(place, item, prompt=prompt)
    if isinstance(item, ObjectInput):
        return Entry(place, item.text or "", item.image, item.video, prompt)
    if isinstance(item, ContentObject):
        return _of_parts(place, _parts(item.content), prompt)
    assert isinstance(item, list)
    try:
        return Entry(place, tokens.decode(item), prompt=prompt)
    except DataError as error:
        raise bad_request(str(error), place, "invalid_tokens") from None


def _parts(content: str | Sequence[Part]) -> Sequence[Part]:
    return [TextPart(type="text", text=content)] if isinstance(content, str) else content


def _of_parts(place: str, parts: Iterable[Part], prompt: str | None) -> Entry:
    texts: list[str] = []
    image: str | None = None
    video: str | None = None
    for part in parts:
        if isinstance(part, TextPart):
            texts.append(part.text)
            continue
        if image is not None or video is not None:
            raise bad_request("one vector takes one picture or one video; send more items", place)
        if isinstance(part, ImageUrlPart):
            image = part.image_url if isinstance(part.image_url, str) else part.image_url.url
        elif isinstance(part, ImageBase64Part):
            image = part.image_base64
        elif isinstance(part, VideoUrlPart):
            video = part.video_url if isinstance(part.video_url, str) else part.video_url.url
        else:
            video = part.video_base64
    return Entry(place, "\n".join(texts), image, video, prompt)
