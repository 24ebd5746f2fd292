"""Bodies that are small on the wire and much once they are built, or that are wrong in a million places."""

import gc
import json
import tracemalloc
from collections.abc import Callable

import pytest
from pydantic import BaseModel

from llave.serving.errors import ApiError
from llave.serving.json_body import MAX_NESTED, MAX_VALUES, parse_json
from llave.serving.schema import MAX_ITEMS, CohereRequest, EmbeddingRequest
from llave.serving.schema_rerank import RerankRequest, ScoreRequest

MIB = 1 << 20


def many(piece: bytes, number: int) -> bytes:
    return b",".join([piece] * number)


def about(form: bytes) -> Callable[[bytes, int], bytes]:
    return lambda piece, number: form.replace(b"*", many(piece, number))


ITEMS, MESSAGES = about(b'{"input":[*]}'), about(b'{"messages":[*]}')
PARTS, TEXTS = about(b'{"input":{"content":[*]}}'), about(b'{"model":"m","input_type":"search_query","texts":[*]}')
DOCUMENTS, SIDES = about(b'{"query":"a","documents":[*]}'), about(b'{"text_1":[*],"text_2":[*]}')
NAMED = b",".join(b'"k%d":1' % number for number in range(300_000))
FEWER = NAMED[:900_000].rpartition(b",")[0]
TEXT = b'{"type":"text","text":"a"}'
HOSTILE: dict[str, tuple[type[BaseModel], bytes]] = {
    "token ids": (EmbeddingRequest, ITEMS(b"1", 2_000_000)),
    "fewer token ids": (EmbeddingRequest, ITEMS(b"1", MAX_VALUES)),
    "lists of token ids": (EmbeddingRequest, ITEMS(b"[1]", 300_000)),
    "empty lists": (EmbeddingRequest, ITEMS(b"[]", MAX_NESTED - 10)),
    "texts": (EmbeddingRequest, ITEMS(b'"a"', 2_000_000)),
    "fewer texts": (EmbeddingRequest, ITEMS(b'"a"', MAX_VALUES)),
    "texts with commas": (EmbeddingRequest, ITEMS(b'"\\\\,[\\",{:"', 300_000)),
    "wrong items": (EmbeddingRequest, ITEMS(b"1.5,null,{},true", 250_000)),
    "fewer wrong items": (EmbeddingRequest, ITEMS(b"1.5,null,true", MAX_VALUES // 3)),
    "wrong after a text": (EmbeddingRequest, b'{"input":["a",' + many(b"1", 900_000) + b"]}"),
    "objects": (EmbeddingRequest, ITEMS(b'{"text":"a"}', 100_000)),
    "objects of wrong fields": (EmbeddingRequest, ITEMS(b'{"texts":1}', 49_000)),
    "messages": (EmbeddingRequest, MESSAGES(b'{"role":"user","content":"a"}', 100_000)),
    "fewer messages": (EmbeddingRequest, MESSAGES(b'{"role":"user","content":"a"}', 30_000)),
    "parts": (EmbeddingRequest, PARTS(TEXT, 100_000)),
    "fewer parts": (EmbeddingRequest, PARTS(TEXT, 30_000)),
    "unknown fields": (EmbeddingRequest, b'{"input":"a",' + NAMED + b"}"),
    "fewer unknown fields": (EmbeddingRequest, b'{"input":"a",' + FEWER + b"}"),
    "fields of an item": (EmbeddingRequest, b'{"input":{' + FEWER + b"}}"),
    "a user of many fields": (EmbeddingRequest, b'{"input":"a","user":{' + FEWER + b"}}"),
    "a long name": (EmbeddingRequest, b'{"input":"a","' + b"n" * MIB + b'":1}'),
    "a long model": (EmbeddingRequest, b'{"input":"a","model":"' + b"n" * MIB + b'"}'),
    "depth": (EmbeddingRequest, b'{"input":' + b"[" * 500_000 + b"]" * 500_000 + b"}"),
    "depth, less": (EmbeddingRequest, b'{"input":' + b"[" * 50_000),
    "Cohere's texts": (CohereRequest, TEXTS(b'"a"', MAX_VALUES)),
    "Cohere's wrong texts": (CohereRequest, TEXTS(b"1", MAX_VALUES)),
    "documents": (RerankRequest, DOCUMENTS(b'"a"', 2_000_000)),
    "fewer documents": (RerankRequest, DOCUMENTS(b'"a"', MAX_VALUES)),
    "wrong documents": (RerankRequest, DOCUMENTS(b"1.5,null,true", MAX_VALUES // 3)),
    "documents of wrong fields": (RerankRequest, DOCUMENTS(b'{"texts":1}', 49_000)),
    "sides of pairs": (ScoreRequest, SIDES(b'"a"', MAX_VALUES // 2)),
    "no JSON": (EmbeddingRequest, b'"' * 2_000_000),
    "no JSON, escaped": (EmbeddingRequest, b"\\" * 2_000_000 + b"," * 2_000_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_one_short_error_at_little_cost(name: str) -> None:
    model, body = HOSTILE[name]
    gc.collect()
    tracemalloc.start()
    try:
        with pytest.raises(ApiError) as caught:
            parse_json(body, model)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.status in {400, 413}
    assert len(caught.value.message) < 500
    assert len(caught.value.param or "") < 300
    assert peak < 64 * MIB, f"{peak / MIB:.0f} MiB for a body of {len(body) / MIB:.1f}"


@pytest.mark.parametrize(
    "given",
    [
        ["a, b, [c]: {d}" * 1000] * 200,
        ['quoted "words", back\\slashes\\\\ and \\", ' * 100] * 2000,
        [[1, 2, 3] * 100] * 2000,
        ["x"] * MAX_ITEMS,
        [{"content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "b"}}]}] * 2048,
    ],
)
def test_what_honest_clients_send_is_not_too_much(given: object) -> None:
    read = parse_json(json.dumps({"input": given}).encode(), EmbeddingRequest)
    assert isinstance(read.input, list)
    assert isinstance(given, list)
    assert len(read.input) == len(given)
