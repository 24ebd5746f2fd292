"""What the search routes take and give."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictStr, model_validator

__all__ = [
    "Histogram",
    "IndexResponse",
    "ItemResponse",
    "ItemsRequest",
    "ItemsResponse",
    "MapResponse",
    "SearchRequest",
    "SearchResponse",
]

MAX_LIMIT, MAX_OFFSET, MAX_IDS = 200, 10_000, 1000
Scalar = str | float | bool | None


class SearchRequest(BaseModel):
    """A text, a picture, both, or an item of the index to find more like it."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    text: StrictStr | None = None
    image: StrictStr | None = None
    """A ``data:`` address or base64."""
    id: Annotated[StrictStr, Field(max_length=200)] | None = None
    weight: Annotated[float, Field(ge=0, le=1)] | None = None
    """The picture's share beside the text; null lets the model relate the two."""
    filter: Annotated[StrictStr, Field(max_length=20_000)] | dict[str, Any] | None = None
    """Conditions, as a line or an object: ``artist = noto``, ``{"artist": ["noto"], "year": {">=": 2000}}``."""
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 24
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0
    histogram: bool = False
    """Also how the scores of all items that pass are spread."""
    instruction: Annotated[StrictStr, Field(max_length=10_000)] | None = None
    """The query's prompt, in place of the index's own."""

    @model_validator(mode="after")
    def _a_query(self) -> Self:
        has_text = bool((self.text or "").strip())
        if self.id is not None and (has_text or self.image is not None):
            raise ValueError("a search has either an id, or a text and a picture")
        if self.id is None and not has_text and self.image is None:
            raise ValueError("a search needs a text, a picture or an id")
        if self.weight is not None and (not has_text or self.image is None):
            raise ValueError("a weight is between a text and a picture; give both, or leave it out")
        return self


class ItemResponse(BaseModel):
    """An item; the score is null where there was no query."""

    id: str
    score: float | None
    kind: Literal["image", "text", "video", "page"]
    text: str
    path: str
    fields: dict[str, Scalar]
    thumbnail: str | None


class Histogram(BaseModel):
    """How scores are spread: ``len(edges) == len(counts) + 1``."""

    edges: list[float]
    counts: list[int]


class SearchResponse(BaseModel):
    """The best first. ``count`` is of all items that pass the filter."""

    object: str
    results: list[ItemResponse]
    histogram: Histogram | None
    count: int
    took_ms: float


class ItemsRequest(BaseModel):
    """Ids of items."""

    model_config = ConfigDict(extra="forbid")
    ids: Annotated[list[Annotated[StrictStr, Field(max_length=200)]], Field(max_length=MAX_IDS)]


class ItemsResponse(BaseModel):
    """Items in the order asked for; unknown ids are left out."""

    object: str
    data: list[ItemResponse]


class IndexResponse(BaseModel):
    """What can be searched, and by which fields."""

    object: str
    model: str
    count: int
    dimension: int
    kinds: dict[str, int]
    fields: list[dict[str, Any]]
    map: bool
    gallery: bool


class MapResponse(BaseModel):
    """Places of all items; columns, because they are many. ``codes`` of -1 are other values or none."""

    ids: list[str]
    x: list[float]
    y: list[float]
    kinds: list[str]
    kind: list[int]
    fields: dict[str, dict[str, Any]]
