"""What the search routes take and give."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictStr,
    StringConstraints,
    Tag,
    model_validator,
)

from llave.serving.form import Form

__all__ = [
    "ExportRequest",
    "FoldersResponse",
    "Histogram",
    "IndexResponse",
    "ItemResponse",
    "ItemsRequest",
    "ItemsResponse",
    "MapResponse",
    "SearchRequest",
    "SearchResponse",
]

MAX_LIMIT, MAX_OFFSET, MAX_IDS, MAX_FOLDERS, MAX_EXPORT = 200, 10_000, 1000, 1000, 10_000
MAX_TEXT, MAX_NAME = 200_000, 200
MAX_FILTER_DEPTH, MAX_FILTER_PARTS, MAX_FILTER_TEXT = 32, 5000, 20_000
Scalar = str | int | float | bool | None
Name = Annotated[StrictStr, StringConstraints(max_length=MAX_NAME)]


def _small(value: Any) -> Any:
    """A filter, if it is no larger than anybody means: all of it is looked at before any of it costs something.

    Raises:
        ValueError: too deep, too many parts, or too long.
    """
    parts, characters, waiting = 0, 0, [(value, 1)]
    while waiting:
        part, depth = waiting.pop()
        parts += 1
        inner = [*part, *part.values()] if isinstance(part, dict) else part if isinstance(part, list) else []
        characters += len(part) if isinstance(part, str) else 0
        if depth > MAX_FILTER_DEPTH or parts + len(waiting) + len(inner) > MAX_FILTER_PARTS:
            raise ValueError(f"a filter has at most {MAX_FILTER_PARTS} parts, {MAX_FILTER_DEPTH} levels deep")
        if characters > MAX_FILTER_TEXT:
            raise ValueError(f"a filter has at most {MAX_FILTER_TEXT:,} characters")
        waiting += [(one, depth + 1) for one in inner]
    return value


def _form_of(value: Any) -> str:
    return "<line>" if isinstance(value, str) else "<object>"


_Line = Annotated[StrictStr, Tag("<line>")]
_Object = Annotated[dict[str, Any], Tag("<object>")]


class Sort(Form):
    """An order of items."""

    field: Name
    order: Literal["asc", "desc"] = "asc"


_Name = Annotated[Name, Tag("<line>")]
_Sort = Annotated[Sort, Tag("<object>")]


class SearchRequest(Form):
    """A text, a picture, a sound, a text with either, or an item of the index to find more like it; without any of
    these, items in order."""

    text: Annotated[StrictStr, StringConstraints(max_length=MAX_TEXT)] | None = None
    image: StrictStr | None = None
    """A ``data:`` address or base64."""
    audio: StrictStr | None = None
    """The same of a sound; a search has a picture or a sound."""
    id: Name | None = None
    weight: Annotated[float, Field(ge=0, le=1)] | None = None
    """The share of the picture or sound beside the text; null lets the model relate the two."""
    filter: Annotated[_Line | _Object, Discriminator(_form_of), BeforeValidator(_small)] | None = None
    """Conditions, as a line or an object: ``artist = noto``, ``{"artist": ["noto"], "year": {">=": 2000}}``."""
    sort: Annotated[_Name | _Sort, Discriminator(_form_of)] | None = None
    """Where there is no query: a field to order by, such as ``year``, or ``-year`` for the highest first; null is
    by path, and ``-modified`` by the time of the files, the newest first."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """Where there is no query: of a random order, in place of ``sort``."""
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 24
    offset: Annotated[int, Field(ge=0, le=2**31)] = 0
    """So many are left out; at most 10,000 where there is a query."""
    histogram: bool = False
    """Also how the scores of all items that pass are spread."""
    mode: Literal["vector", "words", "hybrid"] | None = None
    """How a text is compared: by its vector, by its words, or by both; null is as the index says."""
    rerank: StrictBool | Name | None = None
    """Whether the best hits are reranked, or the name of the reranker that does it; null is as the index says."""
    top: Annotated[int, Field(ge=1, le=MAX_LIMIT)] | None = None
    """Hits that are reranked; null is as the index says."""
    mmr: Annotated[float, Field(ge=0, le=1)] | None = None
    """How much a hit loses for being like those before it; null is as the index says."""
    one_per: Name | None = None
    """One hit of each ``document``, of ``twins`` (near duplicates) or of each value of a field; empty is all, and null
    as the index says."""
    instruction: Annotated[StrictStr, StringConstraints(max_length=10_000)] | None = None
    """The query's prompt, in place of the index's own."""

    @property
    def has_query(self) -> bool:
        """Whether there is anything to compare with."""
        return self.id is not None or self.has_media or bool((self.text or "").strip())

    @property
    def has_media(self) -> bool:
        """Whether there is a picture or a sound."""
        return self.image is not None or self.audio is not None

    @property
    def order(self) -> str | None:
        """The order as a line: ``-year``."""
        if isinstance(self.sort, Sort):
            return f"-{self.sort.field}" if self.sort.order == "desc" else self.sort.field
        return self.sort or None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        has_text = bool((self.text or "").strip())
        if self.id is not None and (has_text or self.has_media):
            raise ValueError("a search has either an id, or a text and a picture or sound")
        if self.image is not None and self.audio is not None:
            raise ValueError("a search has either an image or an audio")
        if self.weight is not None and not (has_text and self.has_media):
            raise ValueError("a weight is between a text and a picture or sound; give both, or leave it out")
        if self.mode in ("words", "hybrid") and not has_text:
            raise ValueError(f"mode {self.mode} compares a text by its words; give one")
        if self.has_query and (self.order or self.seed is not None):
            raise ValueError("what a query finds is ordered by its score; leave sort and seed out, or the query")
        if self.order and self.seed is not None:
            raise ValueError("sort is an order, and seed another one; give one of them")
        if self.has_query and self.offset > MAX_OFFSET:
            raise ValueError(f"offset: at most {MAX_OFFSET:,} with a query; filter, or leave the query out to page on")
        return self


class ItemResponse(BaseModel):
    """An item; the score is null where there was no query."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    id: str
    score: float | None
    kind: Literal["image", "text", "video", "audio", "page"]
    text: str
    path: str
    fields: dict[str, Scalar]
    thumbnail: str | None
    """Address of a small WebP; another one when the item's content is another."""
    scores: dict[str, float]
    """Of each stage: the cosine of ``vector``, the BM25 of ``words``, the score of ``rerank``."""
    ranks: dict[str, int]
    """Its place after each stage, from 1."""
    seen: str
    """Hash of what the model saw of it."""
    content: str | None
    """Address of the item's own picture or sound, as long as its file lies where it was."""


class Histogram(BaseModel):
    """How scores are spread: ``len(edges) == len(counts) + 1``."""

    edges: list[float]
    counts: list[int]


class SearchResponse(BaseModel):
    """The best first, or in order. ``count`` is of all items that pass the filter."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    object: str
    results: list[ItemResponse]
    histogram: Histogram | None
    count: int
    version: str
    """Of the index; ``/v1/index`` and ``/v1/map`` say the same one until something has changed."""
    stages: dict[str, float]
    """Milliseconds of each stage of the search."""
    hint: str | None
    """Where nothing passes: values near to one of the filter that no item has."""
    took_ms: float


class ItemsRequest(Form):
    """Ids of items."""

    ids: Annotated[list[Name], Field(max_length=MAX_IDS, fail_fast=True)]


class ExportRequest(Form):
    """Items to take away."""

    ids: Annotated[list[Name], Field(min_length=1, max_length=MAX_EXPORT, fail_fast=True)]
    format: Literal["csv", "json", "zip"] = "csv"
    """A table, or with ``zip`` the items' own files."""


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
    suggestions: list[str]
    """Queries to begin with: what several items say."""
    map: bool
    gallery: bool
    beside: str | None
    """The model of the index that is asked with ``?index=2``, if there is one."""
    words: bool
    """Whether a text is found by its words, too."""
    pipeline: dict[str, Any]
    """The stages of a search that says nothing of them."""
    version: str


class FolderResponse(BaseModel):
    """A folder of items; a filter on it is ``{"path": {"starts": path}}``."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    name: str
    path: str
    """With a slash at its end."""
    count: int
    """Of items in it and in all folders below."""
    folders: bool
    """Whether there are folders in it."""


class FoldersResponse(BaseModel):
    """The folders right under another one, by name."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    object: str
    data: list[FolderResponse]
    left_out: int
    """Folders beyond the first 1000."""
    version: str


class MapResponse(BaseModel):
    """Places of all items; columns, because they are many."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    ids: list[str]
    x: list[float]
    y: list[float]
    kinds: list[str]
    kind: list[int]
    fields: dict[str, dict[str, Any]]
    """Of texts and booleans: ``values``, the most frequent first, and the items' ``codes``, their places among these;
    -1 is another value or none."""
    numbers: dict[str, dict[str, Any]]
    """Of numbers and dates: ``type`` and ``values``, null where there is none; dates are seconds since 1970."""
    version: str
