"""What clients send: OpenAI's embeddings request, the ways that others made it multimodal, and Cohere's."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, StrictInt, StrictStr, Tag, model_validator

from llave.serving.form import Form

__all__ = [
    "MAX_ITEMS",
    "AudioUrlPart",
    "CohereRequest",
    "ContentObject",
    "EmbeddingRequest",
    "ImageBase64Part",
    "ImageUrlPart",
    "InputAudioPart",
    "Message",
    "ObjectInput",
    "Part",
    "TextPart",
    "Url",
    "VideoBase64Part",
    "VideoUrlPart",
]

MAX_DIMENSION = 1 << 16
MAX_ITEMS = 1 << 16
"""What no server takes in one request, whatever its own limit is."""
MAX_TOKENS = 1 << 18
"""Of one text; longer ones have more characters than any server takes."""
MAX_PARTS = 1000
"""Parts of a content, and messages of a chat."""
Name = Annotated[StrictStr, Field(max_length=4096)]


class Url(Form):
    """An address: ``data:image/png;base64,…``, or https where the server allows its host."""

    url: StrictStr
    detail: Name | None = None


def _kind_of_address(value: Any) -> str:
    return "<string>" if isinstance(value, str) else "<url>"


Address = Annotated[
    Annotated[Url, Tag("<url>")] | Annotated[StrictStr, Tag("<string>")], Discriminator(_kind_of_address)
]


class TextPart(Form):
    """A text."""

    type: Literal["text"]
    text: StrictStr


class ImageUrlPart(Form):
    """A picture by its address."""

    type: Literal["image_url"]
    image_url: Address


class ImageBase64Part(Form):
    """A picture's file in base64."""

    type: Literal["image_base64"]
    image_base64: StrictStr


class VideoUrlPart(Form):
    """A video by its address."""

    type: Literal["video_url"]
    video_url: Address


class VideoBase64Part(Form):
    """A video's file in base64."""

    type: Literal["video_base64"]
    video_base64: StrictStr


class AudioUrlPart(Form):
    """A sound by its address."""

    type: Literal["audio_url"]
    audio_url: Address


class AudioData(Form):
    """An audio file in base64; which format it has is told from the file."""

    data: StrictStr
    format: Name | None = None


class InputAudioPart(Form):
    """A sound as OpenAI's chat takes it."""

    type: Literal["input_audio"]
    input_audio: AudioData


PARTS = ("text", "image_url", "image_base64", "video_url", "video_base64", "audio_url", "input_audio")


def _kind_of_part(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"<{kind}>" if kind in PARTS else None


Part = Annotated[
    Annotated[TextPart, Tag("<text>")]
    | Annotated[ImageUrlPart, Tag("<image_url>")]
    | Annotated[ImageBase64Part, Tag("<image_base64>")]
    | Annotated[VideoUrlPart, Tag("<video_url>")]
    | Annotated[VideoBase64Part, Tag("<video_base64>")]
    | Annotated[AudioUrlPart, Tag("<audio_url>")]
    | Annotated[InputAudioPart, Tag("<input_audio>")],
    Discriminator(
        _kind_of_part,
        custom_error_type="unknown_part",
        custom_error_message=f"a part's type is one of {', '.join(PARTS)}",
    ),
]


def _kind_of_content(value: Any) -> str:
    return "<string>" if isinstance(value, str) else "<parts>"


Parts = Annotated[list[Part], Field(max_length=MAX_PARTS, fail_fast=True)]
PartOrText = Annotated[
    Annotated[StrictStr, Tag("<string>")] | Annotated[Parts, Tag("<parts>")],
    Discriminator(_kind_of_content),
]


class ObjectInput(Form):
    """A text, a picture, a video or a sound, or a text with one of them: one vector."""

    text: StrictStr | None = None
    image: StrictStr | None = None
    """A ``data:`` address, base64, or https where allowed."""
    video: StrictStr | None = None
    audio: StrictStr | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.text is None and self.image is None and self.video is None and self.audio is None:
            raise ValueError("an item needs a text, an image, a video or an audio")
        return self


class ContentObject(Form):
    """Parts that become one vector."""

    content: PartOrText


class Message(Form):
    """A chat message; all messages of a request become one vector, and a system message is its instruction."""

    role: Literal["system", "developer", "user"]
    content: PartOrText


def _kind_of_item(value: Any) -> str:
    if isinstance(value, str):
        return "<text>"
    if isinstance(value, list):
        return "<tokens>"
    has_content = "content" in value if isinstance(value, dict) else isinstance(value, ContentObject)
    return "<content>" if has_content else "<object>"


def _kind_of_input(value: Any) -> str:
    if not isinstance(value, list):
        return _kind_of_item(value)
    return "<tokens>" if value and isinstance(value[0], int) else "<items>"


Tokens = Annotated[list[Annotated[StrictInt, Field(ge=0)]], Field(min_length=1, max_length=MAX_TOKENS, fail_fast=True)]
_Text = Annotated[StrictStr, Tag("<text>")]
_Tokens = Annotated[Tokens, Tag("<tokens>")]
_Object = Annotated[ObjectInput, Tag("<object>")]
_Content = Annotated[ContentObject, Tag("<content>")]
InputItem = Annotated[_Text | _Tokens | _Object | _Content, Discriminator(_kind_of_item)]
_Items = Annotated[list[InputItem], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True), Tag("<items>")]
Input = Annotated[_Text | _Tokens | _Object | _Content | _Items, Discriminator(_kind_of_input)]


class EmbeddingRequest(Form):
    """OpenAI's request, with pictures, videos and sounds."""

    input: Input | None = None
    """A string, token ids, an object, or a list of these; each becomes one vector."""
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_PARTS, fail_fast=True)] | None = None
    """vLLM's form, instead of ``input``: all messages become one vector."""
    model: Name | None = None
    encoding_format: Literal["float", "base64"] = "float"
    """base64 is of little-endian float32; OpenAI's client asks for it by itself."""
    dimensions: Annotated[StrictInt, Field(ge=1, le=MAX_DIMENSION)] | None = None
    """The first so many numbers of the vector, normalised again; only lengths that the model was trained for."""
    modality: Literal["text", "image", "video", "audio"] = "text"
    """What the strings of ``input`` are (infinity's way)."""
    input_type: Literal["query", "document"] | None = None
    """Chooses the prompt that the model keeps for queries or documents."""
    instruction: Annotated[StrictStr, Field(max_length=10_000)] | None = None
    """The prompt of each item, as ``encode(prompt=…)`` takes it, in place of the model's own."""
    normalize: bool = True
    """Whether a shortened vector is normalised again; whole ones always are."""
    truncate: bool = True
    """Whether a text that is too long loses its end, or is an error."""
    user: Name | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.input is None) == (self.messages is None):
            raise ValueError("a request has either `input` or `messages`")
        return self


class CohereContent(Form):
    """One of Cohere's mixed inputs: its parts become one vector."""

    content: Annotated[Parts, Field(min_length=1)]


class CohereRequest(Form):
    """Cohere's v2 request: ``texts``, ``images`` or ``inputs``, one vector each."""

    model: Name
    input_type: Literal["search_document", "search_query", "classification", "clustering", "image"]
    texts: Annotated[list[StrictStr], Field(min_length=1, max_length=96, fail_fast=True)] | None = None
    images: Annotated[list[StrictStr], Field(min_length=1, max_length=96, fail_fast=True)] | None = None
    inputs: Annotated[list[CohereContent], Field(min_length=1, max_length=96, fail_fast=True)] | None = None
    embedding_types: Annotated[
        list[Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]],
        Field(min_length=1, max_length=96, fail_fast=True),
    ] = Field(default=["float"])
    output_dimension: Annotated[StrictInt, Field(ge=1, le=MAX_DIMENSION)] | None = None
    truncate: Literal["NONE", "END"] = "END"
    """START is not offered: the model cuts at the end."""
    max_tokens: None = None
    priority: int | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        if sum(part is not None for part in (self.texts, self.images, self.inputs)) != 1:
            raise ValueError("a request has one of `texts`, `images` and `inputs`")
        return self
