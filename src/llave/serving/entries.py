"""From a request's forms to entries: one text, at most one picture, video or sound, and the prompt before them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llave.encode.tokens import Tokens
from llave.errors import DataError
from llave.serving.errors import bad_request
from llave.serving.schema import (
    AudioUrlPart,
    CohereRequest,
    ContentObject,
    EmbeddingRequest,
    ImageBase64Part,
    ImageUrlPart,
    ObjectInput,
    Part,
    TextPart,
    Url,
    VideoBase64Part,
    VideoUrlPart,
)
from llave.serving.schema_rerank import FIRST, SECOND, RankItem, RerankRequest, ScoreRequest

__all__ = ["Entry", "Reference", "of_cohere", "of_openai", "of_rerank", "of_score"]

Reference = str | bytes
"""An address or base64, or the bytes of a file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What becomes one vector, or one side of a pair that gets a score.

    Args:
        place: its name in the request, for errors: ``input[3]``.
        prompt: as ``SentenceTransformer.encode`` takes it; None is the model's default.
    """

    place: str
    text: str = ""
    image: Reference | None = None
    video: Reference | None = None
    prompt: str | None = None
    audio: Reference | None = None

    @property
    def has_media(self) -> bool:
        """Whether there is anything to decode."""
        return self.image is not None or self.video is not None or self.audio is not None


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


def of_rerank(request: RerankRequest) -> tuple[list[Entry], list[Entry]]:
    """The query, and the documents."""
    documents = [_of_object(f"documents[{n}]", item, None) for n, item in enumerate(request.documents)]
    return [_of_object("query", request.query, None)], documents


def of_score(request: ScoreRequest) -> tuple[list[Entry], list[Entry]]:
    """What stands first in the pairs, one entry or as many as there are pairs, and what stands second.

    Raises:
        ApiError: lists of different lengths.
    """
    first, second = (
        [_of_object(place, item, None) for name in names for place, item in _named_items(request, name)]
        for names in (FIRST, SECOND)
    )
    if len(first) not in {1, len(second)}:
        message = f"{len(first):,} and {len(second):,} items; give one and several, or equally many"
        raise bad_request(message, first[0].place.partition("[")[0])
    return first, second


def _named_items(request: ScoreRequest, name: str) -> list[tuple[str, RankItem]]:
    given = getattr(request, name)
    if isinstance(given, list):
        return [(f"{name}[{number}]", item) for number, item in enumerate(given)]
    return [] if given is None else [(name, given)]


def _before(instruction: str) -> str:
    """An instruction as it stands before a text: with white space between them."""
    return instruction if not instruction or instruction[-1].isspace() else instruction + " "


def _of_item(place: str, item: object, modality: str, tokens: Tokens, prompt: str | None) -> Entry:
    if isinstance(item, str):
        return Entry(place, prompt=prompt, **{modality: item})
    if not isinstance(item, list):
        return _of_object(place, item, prompt)
    try:
        return Entry(place, tokens.decode(item), prompt=prompt)
    except DataError as error:
        raise bad_request(str(error), place, "invalid_tokens") from None


def _of_object(place: str, item: object, prompt: str | None) -> Entry:
    if isinstance(item, str):
        return Entry(place, item, prompt=prompt)
    if isinstance(item, ObjectInput):
        return Entry(place, item.text or "", item.image, item.video, prompt, item.audio)
    assert isinstance(item, ContentObject)
    return _of_parts(place, _parts(item.content), prompt)


def _parts(content: str | Sequence[Part]) -> Sequence[Part]:
    return [TextPart(type="text", text=content)] if isinstance(content, str) else content


def _of_parts(place: str, parts: Iterable[Part], prompt: str | None) -> Entry:
    texts: list[str] = []
    media: dict[str, str] = {}
    for part in parts:
        if isinstance(part, TextPart):
            texts.append(part.text)
            continue
        if media:
            raise bad_request("an item takes one picture, one video or one sound; send more items", place)
        if isinstance(part, ImageUrlPart):
            media["image"] = _address(part.image_url)
        elif isinstance(part, ImageBase64Part):
            media["image"] = part.image_base64
        elif isinstance(part, VideoUrlPart):
            media["video"] = _address(part.video_url)
        elif isinstance(part, VideoBase64Part):
            media["video"] = part.video_base64
        elif isinstance(part, AudioUrlPart):
            media["audio"] = _address(part.audio_url)
        else:
            media["audio"] = part.input_audio.data
    return Entry(place, "\n".join(texts), prompt=prompt, **media)


def _address(given: str | Url) -> str:
    return given if isinstance(given, str) else given.url
