"""Which columns of a table make a model: as the user says, by the names that others use, or by what stands in them.

Known are sentence-transformers' names (anchor, positive, negative; sentence1, sentence2), open_clip's (filepath, title
or caption) and MMEB's (qry, qry_image_path, pos_text, …).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePath
from typing import Any, Literal

from llave.data.inline import inline_bytes
from llave.data.pages import split_page
from llave.data.suffixes import PICTURES
from llave.errors import UserError

__all__ = ["PAIR", "Asked", "Chosen", "Kind", "Side", "choose_columns"]

Kind = Literal["pairs", "classes", "triplets"]
PICTURE = ("image", "picture", "photo", "img", "filepath", "image_path", "img_path", "file_name", "filename", "file")
TEXT = ("caption", "text", "title", "description", "sentence", "alt_text", "alt", "name", "prompt")
LABEL = ("label_text", "label_name", "class_name", "label", "class", "category", "labels", "target")
QUERY = ("anchor", "query", "question", "sentence1", "sentence_1", "text1", "image1", "premise")
POSITIVE = (
    "positive",
    "pos",
    "answer",
    "document",
    "passage",
    "response",
    "sentence2",
    "sentence_2",
    "text2",
    "image2",
)
NEGATIVE = ("negative", "neg", "hard_negative", "negative_1", "negative1")
PAIR, NO_PAIR = {"1", "1.0", "true"}, {"0", "0.0", "false"}
SCORES = ("label", "score", "is_duplicate", "similarity_score")
MMEB = {"query": ("qry", "qry_image_path"), "positive": ("pos_text", "pos_image_path")}
MMEB_NEGATIVE = ("neg_text", "neg_image_path")
FEW = 2
"""A picture's only text is a label where each stands so often in the first rows, on average."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Columns that the user has named; null is a guess.

    Args:
        picture: of a pair, or of what has a label.
        text: likewise.
        label: the name of the class.
        query: of a pair or triplet.
        positive: what belongs to the query.
        negative: what does not.
    """

    picture: str | None = None
    text: str | None = None
    label: str | None = None
    query: str | None = None
    positive: str | None = None
    negative: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The columns of one item: a text, a picture, or both together."""

    text: str | None = None
    picture: str | None = None

    @property
    def columns(self) -> list[str]:
        """Those there are."""
        return [name for name in (self.picture, self.text) if name is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What is used of a table.

    Args:
        pairs_are_1: a column with 1 where query and positive belong together and 0 where they do not.
        unused: the other columns.
    """

    kind: Kind
    query: Side
    positive: Side
    negative: Side | None = None
    pairs_are_1: str | None = None
    unused: tuple[str, ...] = ()

    def __str__(self) -> str:
        """In a line, for the user."""
        parts = [(self._called(self.query, "queries"), self.query)]
        if self.kind == "classes":
            parts.append(("labels", self.positive))
        else:
            parts.append((self._called(self.positive, "positives"), self.positive))
        if self.negative is not None:
            parts.append(("negatives", self.negative))
        if len({what for what, _ in parts}) < len(parts):  # two columns of pictures, or of texts
            parts = [("queries", self.query), ("positives", self.positive), *parts[2:]]
        said = ", ".join(f"{what} from {' and '.join(f'`{name}`' for name in side.columns)}" for what, side in parts)
        only = f"; only rows whose `{self.pairs_are_1}` is 1" if self.pairs_are_1 else ""
        unused = ", ".join(f"`{name}`" for name in self.unused)
        return f"{self.kind}: {said}{only}" + (f"; not used: {unused}" if unused else "")

    def _called(self, side: Side, otherwise: str) -> str:
        if self.kind == "triplets" or len(side.columns) > 1:
            return otherwise
        return "pictures" if side.picture is not None else "texts"


def choose_columns(path: Path, rows: Sequence[Mapping[str, Any]], asked: Asked) -> Chosen:
    """The columns of a table by its first rows.

    Raises:
        UserError: a column that is not there, or no guess; the message names the columns and the options.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    for option in fields(Asked):
        name = getattr(asked, option.name)
        if name is not None and name not in names:
            raise UserError(f"{path}: no column {name!r} for --{option.name}; there are: {', '.join(names)}")
    table = _Table(path, names, {name: [row.get(name) for row in rows] for name in names}, asked)
    chosen = table.asked_for() or table.by_names() or table.by_content()
    sides = [chosen.query, chosen.positive, *([chosen.negative] if chosen.negative else [])]
    used = {name for side in sides for name in side.columns} | {chosen.pairs_are_1}
    return Chosen(
        kind=chosen.kind,
        query=chosen.query,
        positive=chosen.positive,
        negative=chosen.negative,
        pairs_are_1=chosen.pairs_are_1,
        unused=tuple(name for name in names if name not in used),
    )


class _Table:
    def __init__(self, path: Path, names: list[str], values: dict[str, list[Any]], asked: Asked) -> None:
        self.path = path
        self.names = names
        self.values = values
        self.asked = asked
        self.pictures = [name for name in names if name == asked.picture or _are_pictures(values[name])]
        self.texts = [name for name in names if name not in self.pictures and _are_texts(values[name])]

    def asked_for(self) -> Chosen | None:
        """By the options alone, if they leave nothing open but a query."""
        asked = self.asked
        if asked.label is not None:
            others = [name for name in (*self.pictures, *self.texts) if name != asked.label]
            given = asked.query or asked.picture or asked.text
            if given is None and not others:
                raise UserError(f"{self.path}: what has the label? --picture or --text; there are: {self._columns()}")
            if asked.text and asked.picture:
                query = Side(text=asked.text, picture=asked.picture)
            else:
                query = self._side(given) if given else self._mmeb_query() or self._side(others[0])
            return Chosen(kind="classes", query=query, positive=Side(text=asked.label))
        if asked.query is None and asked.positive is None and asked.negative is None:
            return None
        if asked.query is not None and asked.positive is not None:
            return self._triplet(asked.query, asked.positive, asked.negative)
        return None

    def by_names(self) -> Chosen | None:
        """MMEB's, sentence-transformers' and others' names."""
        asked = self.asked
        if asked.picture or asked.text:
            return None
        if query := self._mmeb_query():
            positive = self._both(*MMEB["positive"])
            negative = self._both(*MMEB_NEGATIVE)
            if positive is not None:
                kind: Kind = "pairs" if negative is None else "triplets"
                return Chosen(kind=kind, query=query, positive=positive, negative=negative)
        query_name = asked.query or self._usual(QUERY, self.names)
        positive_name = asked.positive or self._usual(POSITIVE, self.names)
        if query_name is None or positive_name is None:
            if asked.query or asked.positive or asked.negative:
                raise UserError(f"{self.path}: --query and --positive go together; there are: {self._columns()}")
            return None
        found = self._triplet(query_name, positive_name, asked.negative or self._usual(NEGATIVE, self.names))
        scores = None if found.kind == "triplets" else self._usual(SCORES, self.names)
        if scores is None:
            return found
        if not {str(value).lower() for value in self.values[scores]} <= PAIR | NO_PAIR:
            raise UserError(
                f"{self.path}: `{scores}` grades the pairs, and fit takes rows that belong together: keep those, and "
                f"name --query {query_name} --positive {positive_name}"
            )
        return Chosen(kind="pairs", query=found.query, positive=found.positive, pairs_are_1=scores)

    def by_content(self) -> Chosen:
        """A picture and a text, a label and either, or two of a kind."""
        asked = self.asked
        picture = asked.picture or self._usual(PICTURE, self.pictures) or next(iter(self.pictures), None)
        label = self._usual(LABEL, self.names)
        texts = [name for name in self.texts if name != label]
        text = asked.text or self._usual(TEXT, texts) or max(texts, key=self._length, default=None)
        if picture is not None and text is not None:
            usual = text == asked.text or _plain(text) in TEXT
            if label is None and not usual and self._repeats(text):
                return Chosen(kind="classes", query=Side(picture=picture), positive=Side(text=text))
            return Chosen(kind="pairs", query=Side(picture=picture), positive=Side(text=text))
        if label is not None and (picture or text):
            return Chosen(kind="classes", query=Side(text=text, picture=picture), positive=Side(text=label))
        for two, of in ((self.pictures, "picture"), (texts, "text")):
            if len(two) == 2:
                return Chosen(kind="pairs", query=Side(**{of: two[0]}), positive=Side(**{of: two[1]}))
        raise UserError(
            f"{self.path}: which columns belong together? --picture and --text, --query and --positive, or --label; "
            f"there are: {self._columns()}"
        )

    def _triplet(self, query: str, positive: str, negative: str | None) -> Chosen:
        return Chosen(
            kind="pairs" if negative is None else "triplets",
            query=self._side(query),
            positive=self._side(positive),
            negative=None if negative is None else self._side(negative),
        )

    def _side(self, name: str) -> Side:
        return Side(picture=name) if name in self.pictures else Side(text=name)

    def _mmeb_query(self) -> Side | None:
        return self._both(*MMEB["query"]) if MMEB["query"][0] in self.names and not self.asked.query else None

    def _both(self, text: str, picture: str) -> Side | None:
        """A side whose columns are there and not empty throughout."""
        filled = [name if any(self.values.get(name, ())) else None for name in (text, picture)]
        return Side(text=filled[0], picture=filled[1]) if any(filled) else None

    def _usual(self, usual: Iterable[str], among: Sequence[str]) -> str | None:
        known = {_plain(name): name for name in reversed(among)}
        return next((known[name] for name in usual if name in known), None)

    def _length(self, name: str) -> int:
        return sum(len(str(value)) for value in self.values[name])

    def _repeats(self, name: str) -> bool:
        found = [value for value in self.values[name] if value]
        return len(found) >= FEW * len(set(found))

    def _columns(self) -> str:
        """With what was seen in them, for a message."""
        urls = [name for name in self.names if any("://" in str(value)[:20] for value in self.values[name])]
        said = f"{', '.join(self.names)}"
        return f"{said} ({', '.join(urls)}: addresses, and nothing is fetched; download them first)" if urls else said


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def _are_pictures(values: Sequence[Any]) -> bool:
    """Half of those there are: bytes, Hugging Face's pictures, base64, or names of picture files."""
    present = [value for value in values if value not in (None, "")]
    return bool(present) and 2 * sum(map(_is_picture, present)) >= len(present)


def _is_picture(value: Any) -> bool:
    if isinstance(value, bytes) or (isinstance(value, Mapping) and {"bytes", "path"} >= set(value)):
        return True
    if not isinstance(value, str) or "\n" in value[:4096] or "://" in value[:20]:
        return False
    try:
        if inline_bytes(value) is not None:
            return True
    except UserError:
        return False
    file, page = split_page(Path(value)) if len(value) < 1024 and "\0" not in value else (Path(), None)
    return page is not None or PurePath(file).suffix.lower() in PICTURES


def _are_texts(values: Sequence[Any]) -> bool:
    """Half of those there are hold a letter, and are no addresses."""
    present = [value for value in values if value not in (None, "")]
    texts = [v for v in present if isinstance(v, str) and "://" not in v[:20] and any(map(str.isalpha, v))]
    return bool(present) and 2 * len(texts) >= len(present)
