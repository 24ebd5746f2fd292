"""From entries to vectors: items queued as they arrive, each vector in its place."""

from collections.abc import Sequence
from dataclasses import dataclass

from llave.encode.forward import Vector
from llave.models.prompts import ModelInput
from llave.serving.admission import Claim
from llave.serving.arrivals import Arrivals, Arrived, check, result_of, together
from llave.serving.batcher import Line, Prepared
from llave.serving.entries import Entry
from llave.serving.errors import bad_request
from llave.serving.service import Served, Service

__all__ = ["Embedded", "embed"]


@dataclass(frozen=True, slots=True)
class Embedded:
    """Unit vectors (D,) in the order of the entries, and the tokens that the model saw."""

    vectors: list[Vector]
    tokens: int


async def embed(service: Service, model: Served, entries: Sequence[Entry], *, truncate: bool = True) -> Embedded:
    """A vector for every entry.

    Raises:
        ApiError: an entry that has none, named; or no room.
    """
    if len(entries) > service.limits.items:
        raise bad_request(f"{len(entries):,} items, and at most {service.limits.items:,} in a request", "input")
    for entry in entries:
        check(entry, model.engine.modalities, service.limits.text_characters)
    work = _Request(service, model, truncate)
    with service.admission.claim(len(entries)) as claim:
        vectors = await work.run(entries, claim)
    service.metrics.tokens.inc(work.tokens)
    return Embedded(vectors, work.tokens)


class _Request:
    """The items of one request on their way."""

    def __init__(self, service: Service, model: Served, truncate: bool) -> None:
        tokens = model.engine.tokens
        room = None if tokens.longest is None else tokens.longest - tokens.special
        self._metrics = service.metrics
        self._batcher = model.batcher
        self._arrivals = Arrivals(service, tokens, model.engine.hearing, room, truncate=truncate)
        self._line = Line()
        self.tokens = 0

    async def run(self, entries: Sequence[Entry], claim: Claim) -> list[Vector]:
        found: dict[int, Vector] = {}
        texts = [number for number, entry in enumerate(entries) if not entry.has_media]
        others = [number for number, entry in enumerate(entries) if entry.has_media]
        items = [self._prepared(one) for one in await self._arrivals.texts([entries[n] for n in texts])]
        if items:
            claim.add("tokens", sum(item.tokens for item in items))

        async def text_vectors() -> None:
            vectors = await self._vectors([entries[n] for n in texts], items)
            found.update(zip(texts, vectors, strict=True))

        async def media_vector(number: int) -> None:
            async with self._arrivals.media(entries[number]) as arrived:
                item = self._prepared(arrived)
                claim.add("tokens", item.tokens)
                found[number] = (await self._vectors([entries[number]], [item]))[0]

        await together([*([text_vectors()] if texts else []), *(media_vector(number) for number in others)])
        return [found[number] for number in range(len(entries))]

    def _prepared(self, arrived: Arrived) -> Prepared[ModelInput]:
        tokens = self._arrivals.shown(arrived.tokens, arrived.entry.place)
        self.tokens += tokens
        prompt = arrived.entry.prompt
        key = (arrived.modality, prompt, arrived.key)
        return Prepared(key, arrived.modality, arrived.loaded, tokens, prompt, arrived.num_bytes)

    async def _vectors(self, entries: Sequence[Entry], items: Sequence[Prepared[ModelInput]]) -> list[Vector]:
        found = await self._batcher.results(items, self._line)
        return [
            result_of(outcome, self._metrics, item.modality, entry.place)
            for entry, item, outcome in zip(entries, items, found, strict=True)
        ]
