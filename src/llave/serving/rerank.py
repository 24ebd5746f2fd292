"""From a query and documents to scores: pairs queued as they arrive, each score in its place."""

import dataclasses
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from llave.encode.item import Modality
from llave.rerank.reranker import Pair
from llave.serving.admission import Claim
from llave.serving.arrivals import Arrivals, Arrived, check, result_of, together
from llave.serving.batcher import Line, Prepared
from llave.serving.entries import Entry
from llave.serving.errors import bad_request
from llave.serving.service import ServedReranker, Service

__all__ = ["Scored", "score"]

HEAVIEST: tuple[Modality, ...] = ("video", "audio", "image", "text")
"""A pair counts as the heavier one of its two."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The model's scores in the order of the pairs, and the tokens that it saw."""

    scores: list[float]
    tokens: int


async def score(
    service: Service,
    model: ServedReranker,
    queries: Sequence[Entry],
    documents: Sequence[Entry],
    *,
    truncate: bool = True,
    most_tokens: int | None = None,
) -> Scored:
    """A score for every document.

    Args:
        queries: one for all documents, or one for each.
        most_tokens: of a document's text; None: as many as the model reads.

    Raises:
        ApiError: an entry that cannot be scored, named; or no room.
    """
    limits = service.limits
    if len(documents) > limits.items:
        place = documents[0].place.partition("[")[0]
        raise bad_request(f"{len(documents):,} items, and at most {limits.items:,} in a request", place)
    for entry in (*queries, *documents):
        check(entry, model.engine.modalities, limits.text_characters)
    work = _Request(service, model, truncate)
    with service.admission.claim(len(documents)) as claim:
        if most_tokens is not None:
            documents = await work.shortened(documents, most_tokens)
        scores = await work.run(queries, documents, claim)
    service.metrics.tokens.inc(work.tokens)
    return Scored(scores, work.tokens)


class _Request:
    """The pairs of one request on their way."""

    def __init__(self, service: Service, model: ServedReranker, truncate: bool) -> None:
        self._metrics = service.metrics
        self._batcher = model.batcher
        self._tokens = model.engine.tokens
        self._arrivals = Arrivals(service, self._tokens, model.engine.hearing, model.engine.room, truncate=truncate)
        self._line = Line()
        self.tokens = 0

    async def shortened(self, entries: Sequence[Entry], most: int) -> list[Entry]:
        """The entries with at most so many tokens of text, cut between words."""

        def cut() -> list[Entry]:
            texts = [self._tokens.beginning(entry.text) for entry in entries]
            heads = [(self._tokens.split(text, most) or [text])[0] for text in texts]
            return [dataclasses.replace(entry, text=head) for entry, head in zip(entries, heads, strict=True)]

        return await self._arrivals.beside(sum(len(entry.text) for entry in entries), cut)

    async def run(self, queries: Sequence[Entry], documents: Sequence[Entry], claim: Claim) -> list[float]:
        texts = [entry for entry in (*queries, *documents) if not entry.has_media]
        places = [entry.place for entry in texts]
        here = dict(zip(places, await self._arrivals.texts(texts), strict=True))
        pairs = list(zip(queries if len(queries) > 1 else [*queries] * len(documents), documents, strict=True))
        found: dict[int, float] = {}
        async with AsyncExitStack() as held:
            if len(queries) == 1 and queries[0].has_media:  # one picture for all documents
                media = self._arrivals.media(queries[0], ahead=True)
                here[queries[0].place] = await held.enter_async_context(media)
            ready = [n for n, (query, document) in enumerate(pairs) if {query.place, document.place} <= here.keys()]
            items = [self._prepared(here[pairs[n][0].place], here[pairs[n][1].place]) for n in ready]
            if items:
                claim.add("tokens", sum(item.tokens for item in items))

            async def ready_scores() -> None:
                found.update(zip(ready, await self._scores([pairs[n][1] for n in ready], items), strict=True))

            async def read_and_scored(number: int) -> None:
                query, document = pairs[number]
                async with AsyncExitStack() as own:
                    both = [
                        here[entry.place]
                        if entry.place in here
                        else await own.enter_async_context(self._arrivals.media(entry, ahead=ahead))
                        for entry, ahead in ((query, True), (document, False))
                    ]
                    item = self._prepared(*both)
                    claim.add("tokens", item.tokens)
                    [found[number]] = await self._scores([document], [item])

            others = sorted(set(range(len(pairs))) - set(ready))
            await together([*([ready_scores()] if ready else []), *(read_and_scored(number) for number in others)])
        return [found[number] for number in range(len(pairs))]

    def _prepared(self, query: Arrived, document: Arrived) -> Prepared[Pair]:
        """A pair for the queue. Its text stands beside the picture in the model, so that their tokens add up."""
        tokens = self._arrivals.shown(query.tokens + document.tokens, document.entry.place)
        self.tokens += tokens
        modality = next(one for one in HEAVIEST if one in {query.modality, document.modality})
        key = (query.modality, query.key, document.modality, document.key)
        num_bytes = query.num_bytes + document.num_bytes
        return Prepared(key, modality, (query.loaded, document.loaded), tokens, num_bytes=num_bytes)

    async def _scores(self, documents: Sequence[Entry], items: Sequence[Prepared[Pair]]) -> list[float]:
        found = await self._batcher.results(items, self._line)
        return [
            result_of(outcome, self._metrics, f"{item.modality} pair", document.place, what="pair")
            for document, item, outcome in zip(documents, items, found, strict=True)
        ]
