"""What clients send to have documents ranked: Jina's, vLLM's and Cohere's requests in one form, and vLLM's scores."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, StrictInt, StrictStr, Tag, model_validator

from llave.serving.form import Form
from llave.serving.schema import MAX_ITEMS, ContentObject, Name, ObjectInput

__all__ = ["RankItem", "RerankRequest", "ScoreRequest"]

MAX_NUMBER = 1 << 31


def _kind_of_item(value: Any) -> str:
    if isinstance(value, str):
        return "<text>"
    has_content = "content" in value if isinstance(value, dict) else isinstance(value, ContentObject)
    return "<content>" if has_content else "<object>"


def _kind_of_items(value: Any) -> str:
    return "<items>" if isinstance(value, list) else _kind_of_item(value)


_Text = Annotated[StrictStr, Tag("<text>")]
_Object = Annotated[ObjectInput, Tag("<object>")]
_Content = Annotated[ContentObject, Tag("<content>")]
RankItem = Annotated[_Text | _Object | _Content, Discriminator(_kind_of_item)]
"""A text; Jina's and Cohere's ``{"text"}`` and ``{"image"}``, or both; vLLM's ``{"content": [parts]}``."""
_Items = Annotated[list[RankItem], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True)]
RankItems = Annotated[_Text | _Object | _Content | Annotated[_Items, Tag("<items>")], Discriminator(_kind_of_items)]


class _PairsRequest(Form):
    """What requests for scores have in common."""

    model: Name | None = None
    truncate: bool = True
    """Whether a pair that is too long loses the end of its longer text, or is an error."""
    truncate_prompt_tokens: Literal[-1] | None = None
    """vLLM's: -1 is as many as the model reads, which is so anyway."""
    use_activation: Literal[True] | None = None
    """vLLM's: the scores are the model's own, with its activation function."""
    user: Name | None = None
    priority: StrictInt | None = None
    """Accepted, not used."""


class RerankRequest(_PairsRequest):
    """A query and the documents to rank for it."""

    query: RankItem
    documents: _Items
    """Texts, pictures, or both together; each gets one score."""
    top_n: Annotated[StrictInt, Field(ge=0, le=MAX_NUMBER)] | None = None
    """How many are answered, the best first; 0 is all of them, as in vLLM."""
    return_documents: bool | None = None
    """Whether the answer repeats the texts; null: ``/v1/rerank`` does, as Jina and vLLM, ``/v2/rerank`` does not."""
    max_tokens_per_doc: Annotated[StrictInt, Field(ge=1, le=MAX_NUMBER)] | None = None
    """A document's text loses what is beyond."""
    rank_fields: None = None
    max_chunks_per_doc: None = None


class ScoreRequest(_PairsRequest):
    """vLLM's request: a score for each pair of one with each of the other, or of two lists of equal length."""

    text_1: RankItems | None = None
    data_1: RankItems | None = None
    queries: RankItems | None = None
    text_2: RankItems | None = None
    data_2: RankItems | None = None
    documents: RankItems | None = None
    items: RankItems | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for names in (FIRST, SECOND):
            if sum(getattr(self, name) is not None for name in names) != 1:
                raise ValueError(f"a request has one of {', '.join(f'`{name}`' for name in names)}")
        return self


FIRST, SECOND = ("text_1", "data_1", "queries"), ("text_2", "data_2", "documents", "items")
