"""Which mode of search suits an index, and how much its words weigh beside its vectors: measured on queries made of its
own items, as a person may ask for them.

Such a query is a name or a text that few items share; what has it is right. Whole, it flatters the words, which stand
in the index by construction. So there are queries that say less, that are misspelt, and that say it in other words:
there the vector is of the whole text, and for the words its rare half is a word that no item has, as a synonym is.
"""

import dataclasses
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llave.search.fusion import attainable, share
from llave.search.pipeline import Found, Mode, Pipeline, retrieve
from llave.search.store import Row
from llave.search.words import WORD, spelled

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from llave.search.index import Index

__all__ = ["SLICES", "UNHEARD", "OwnQuery", "Quality", "choose_pipeline", "measure_modes", "misspell", "own_queries"]

SLICES = ("whole", "shortened", "dropped", "misspelt", "reworded")
WEIGHTS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
"""Of the words beside the cosine (in hybrid search; see :mod:`llave.search.fusion`)."""
ROWS = 2000
"""Items that queries are drawn from."""
SHARED_BY = 0.05, 20
"""A text that more than this share or number of these items have is a class, and nobody's name."""
LONGEST = 12
"""Words of a query at most."""
UNHEARD = "qxzvkwj"
"""A word that no item has, nor one like it."""
FEWEST = 30
"""Queries below which nothing is measured."""
GAIN = 0.01
"""Mean reciprocal rank by which hybrid search has to be better to be chosen."""
K = 10


@dataclass(frozen=True, slots=True)
class OwnQuery:
    """What is asked: ``text`` by its vector, ``words`` by its words. Right is an item that has ``named`` in its
    ``source``: its text, its path or a field."""

    slice: str
    text: str
    words: str
    source: str
    named: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How a mode answers the queries of a slice, as fractions.

    Args:
        mrr: mean reciprocal rank of the first right hit among ten.
    """

    slice: str
    mode: str
    queries: int
    p_at_1: float
    recall_at_10: float
    mrr: float


def own_queries(index: "Index", *, count: int, seed: int) -> list[OwnQuery]:
    """Queries of every slice, of up to ``count`` items; none where items have no words of their own."""
    ids, _ = index.store.vectors(limit=ROWS)
    rows = index.store.get(ids)
    texts = {row_id: _texts(row, index) for row_id, row in rows.items()}
    having: Counter[tuple[str, str]] = Counter()
    frequency: Counter[str] = Counter()
    for named in texts.values():
        having.update(named.items())
        frequency.update(_split(" ".join(named.values())))
    share, number = SHARED_BY
    few = max(1, min(number, int(share * len(rows))))
    rng = random.Random(seed)
    drawn = list(texts)
    rng.shuffle(drawn)
    found: list[OwnQuery] = []
    for row_id in drawn:
        own = [pair for pair in texts[row_id].items() if having[pair] <= few]
        if own and len(found) < count * len(SLICES):
            found += _asked(*rng.choice(own), frequency, rng)
    return found


def _texts(row: Row, index: "Index") -> dict[str, str]:
    """By source, what may be somebody's query for an item."""
    sources: Mapping[str, str] = {
        "text": row.text,
        "path": spelled(row.path or row.key),
        **{name: value for name, value in row.fields.items() if isinstance(value, str)},
    }
    wanted = index.info.words.sources
    return {
        source: " ".join(text.split()[:LONGEST])
        for source, text in sources.items()
        if ("all" in wanted or source in wanted) and any(not word.isdigit() for word in WORD.findall(text))
    }


def _asked(source: str, text: str, frequency: Counter[str], rng: random.Random) -> list[OwnQuery]:
    """One query of each slice that a text has enough words for."""
    words = text.split()
    found = {"whole": (text, text), "misspelt": (misspell(text, rng),) * 2}
    if len(words) > 1:
        found["shortened"] = (" ".join(words[: (len(words) + 1) // 2]),) * 2
        kept = sorted(rng.sample(range(len(words)), (len(words) + 1) // 2))
        found["dropped"] = (" ".join(words[place] for place in kept),) * 2
        counts = [max((frequency[part] for part in _split(word)), default=0) for word in words]
        middle = float(np.median(counts))
        kept_words = (word if count > middle else UNHEARD for word, count in zip(words, counts, strict=True))
        found["reworded"] = (text, " ".join(kept_words))
    return [OwnQuery(name, *found[name], source, text) for name in SLICES if name in found]


def misspell(text: str, rng: random.Random) -> str:
    """A letter is missing, doubled, another one or in its neighbour's place, in every other word of at least four
    letters, and in one at least."""
    words = text.split()
    long = [place for place, word in enumerate(words) if len(word) > 3]
    if not long:
        return text
    for place in rng.sample(long, (len(long) + 1) // 2):
        word, at = words[place], rng.randrange(1, len(words[place]) - 1)
        wrong = ("", word[at] * 2, rng.choice("aeinorst"), word[at + 1] + word[at])
        how = rng.randrange(len(wrong))
        words[place] = word[:at] + wrong[how] + word[at + (2 if how == 3 else 1) :]
    return " ".join(words)


def _split(text: str) -> list[str]:
    return [word.casefold() for word in WORD.findall(text)]


@dataclass(frozen=True, slots=True)
class _Answered:
    """A query and what either part finds: both scores of each candidate, and which of them are right."""

    query: OwnQuery
    cosine_N: NDArray[np.float64]
    match_N: NDArray[np.float64]
    right_N: NDArray[np.bool_]
    best: float
    """The BM25 score of an item that said all."""


def _answer(index: "Index", model: "SentenceTransformer", queries: Sequence[OwnQuery]) -> list[_Answered]:
    """Every query's candidates, by vector and by words."""
    from llave.encode.encoder import Encoder
    from llave.encode.forward import Refused
    from llave.encode.item import Item

    encoder = Encoder(model, prompt=index.info.prompts["query"])
    found = []
    for query, vector_D in zip(queries, encoder([Item(each.text) for each in queries]), strict=True):
        if isinstance(vector_D, Refused):
            continue
        candidates = retrieve(index.store, "hybrid", vector_D, query.words, 10 * K, weight=0.0)
        candidates.sort(key=lambda each: each.row.key)
        found.append(
            _Answered(
                query,
                _column(candidates, "vector"),
                _column(candidates, "words"),
                np.array([_texts(each.row, index).get(query.source) == query.named for each in candidates], bool),
                attainable(index.store, query.words),
            )
        )
    return found


def _column(candidates: Sequence[Found], name: str) -> NDArray[np.float64]:
    return np.array([each.scores[name] for each in candidates], np.float64)


def _place(answered: _Answered, mode: Mode, weight: float) -> int:
    """Place of the first right hit, from 1; 0 where it is not among those found."""
    if mode == "hybrid":
        said_N = np.array([share(match, answered.best) for match in answered.match_N])
        score_N = answered.cosine_N + weight * said_N
    else:
        said_N = np.where(answered.match_N > 0, answered.match_N, -np.inf)
        score_N = answered.cosine_N if mode == "vector" else said_N
    order_N = np.argsort(-score_N, kind="stable")  # equal ones by their keys, as in a search
    right = np.flatnonzero(answered.right_N[order_N] & np.isfinite(score_N[order_N]))
    return int(right[0]) + 1 if len(right) else 0


def measure_modes(answers: Sequence[_Answered], weight: float) -> list[Quality]:
    """Of each slice and mode."""
    found = []
    for name in SLICES:
        of_slice = [each for each in answers if each.query.slice == name]
        for mode in ("vector", "words", "hybrid"):
            places = np.array([_place(each, mode, weight) for each in of_slice])
            if len(places):
                inverse = np.where((places > 0) & (places <= K), 1 / np.maximum(places, 1), 0.0)
                found.append(
                    Quality(
                        slice=name,
                        mode=mode,
                        queries=len(places),
                        p_at_1=float((places == 1).mean()),
                        recall_at_10=float(((places > 0) & (places <= K)).mean()),
                        mrr=float(inverse.mean()),
                    )
                )
    return found


def _mean(qualities: Sequence[Quality], mode: Mode) -> float:
    """Over slices, so that none weighs more for having more queries."""
    return float(np.mean([each.mrr for each in qualities if each.mode == mode]))


def _worst(qualities: Sequence[Quality]) -> float:
    """What hybrid search gains on the better of its two parts, on the slice where it gains least."""
    mrr = {(each.slice, each.mode): each.mrr for each in qualities}
    return min(mrr[name, "hybrid"] - max(mrr[name, "vector"], mrr[name, "words"]) for name, _ in mrr)


def choose_pipeline(
    index: "Index", model: "SentenceTransformer", *, count: int = 80, seed: int = 0
) -> tuple[Pipeline, list[Quality]] | None:
    """The index's pipeline with the weight at which hybrid search is nowhere far behind the better of its parts, and
    the mode that answers best over all; None of too few queries.

    Args:
        count: items whose texts are asked for.
    """
    queries = own_queries(index, count=count, seed=seed)
    if len(queries) < FEWEST:
        return None
    answers = _answer(index, model, queries)
    measured = {weight: measure_modes(answers, weight) for weight in WEIGHTS}
    weight = max(WEIGHTS, key=lambda each: _worst(measured[each]))
    qualities = measured[weight]
    better = _mean(qualities, "hybrid") >= _mean(qualities, "vector") + GAIN
    mode: Mode = "hybrid" if better else "vector"
    return dataclasses.replace(index.info.pipeline, mode=mode, weight=weight), qualities
