"""Qdrant's own engine (``qdrant-edge-py``) behind as much of Qdrant's REST interface as an index speaks: no package
brings the server's binary, and the client's local mode has neither an approximate index nor indices of payloads.

What is said here of each address is its form alone; filters, scores, indices and what is kept are the engine's.
"""

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import qdrant_edge as edge

__all__ = ["QdrantServer", "qdrant_server"]

HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10}
"""The last one in KiB, so that some hundred vectors are searched by their graph."""
DONE = {"operation_id": 0, "status": "completed"}
SCHEMA = {name.lower(): getattr(edge.PayloadSchemaType, name) for name in ("Keyword", "Integer", "Float", "Bool")}
SCHEMA["datetime"] = edge.PayloadSchemaType.Datetime


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class QdrantServer:
    """Collections in a folder.

    Args:
        outages: what becomes of the next requests, in this order: an HTTP status, or None: the connection is closed
            without a word. With ``after`` the request is carried out first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: dict[str, edge.EdgeShard] = {}
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()
        self.outages: deque[tuple[int | None, Literal["before", "after"]]] = deque()
        self.requests: list[str] = []

    def answer(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """What stands under ``result``."""
        parts = path.strip("/").split("/")
        with self._lock:
            if parts[:1] != ["collections"]:
                raise Refused(404, "Not found")
            name, rest = parts[1], "/".join(parts[2:])
            if rest == "exists":
                return {"exists": name in self._shards}
            if not rest and method == "PUT":
                return self._create(name, body)
            if not rest and method == "DELETE":
                return self._drop(name)
            if name not in self._shards:
                raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
            if not rest:
                return self._about(name) if method == "GET" else self._configure(name, body)
            if method == "DELETE" and rest.startswith("index/"):
                self._shards[name].update(edge.UpdateOperation.delete_field_index(rest.partition("/")[2]))
                return DONE
            return ROUTES[method, rest](self._shards[name], body)

    def _create(self, name: str, body: Mapping[str, Any]) -> bool:
        self._sizes[name] = body["vectors"]["size"]
        self._shards[name] = edge.EdgeShard.create(str(self._folder / name), self._config(name))
        return True

    def _config(self, name: str, threshold: int = 1_000_000) -> edge.EdgeConfig:
        return edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(size=self._sizes[name], distance=edge.Distance.Cosine),
            sparse_vectors={"words": edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
            hnsw_config=edge.HnswIndexConfig(**HNSW, max_indexing_threads=1),
            optimizers=edge.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=threshold),
            max_search_threads=1,
        )

    def _configure(self, name: str, body: Mapping[str, Any]) -> bool:
        """The optimizers' settings; a server optimizes by and by, this one at once."""
        self._shards.pop(name).close()
        config = self._config(name, body["optimizers_config"]["indexing_threshold"])
        self._shards[name] = edge.EdgeShard.load(str(self._folder / name), config)
        self._shards[name].optimize()
        return True

    def _drop(self, name: str) -> bool:
        shard = self._shards.pop(name, None)
        if shard is None:
            return False
        shard.close()
        (self._folder / name).rename(self._folder / f"{name} was dropped {len(list(self._folder.iterdir()))}")
        return True

    def _about(self, name: str) -> dict[str, Any]:
        info = self._shards[name].info()
        params = {
            "vectors": {"size": self._sizes[name], "distance": "Cosine"},
            "sparse_vectors": {"words": {"modifier": "idf"}},
        }
        optimizers = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 1}
        config = {"params": params, "hnsw_config": HNSW, "optimizer_config": {**optimizers, "flush_interval_sec": 5}}
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": info.segments_count,
            "points_count": info.points_count,
            "indexed_vectors_count": info.indexed_vectors_count,
            "config": config,
            "payload_schema": {},
        }


def _filter(shard: edge.EdgeShard, found: Mapping[str, Any] | None) -> edge.Filter | None:
    if found is None:
        return None
    parts = {name: found.get(name) for name in ("must", "should", "must_not")}
    each = {name: value if isinstance(value, list) else [value] for name, value in parts.items() if value is not None}
    return edge.Filter(**{name: [_condition(shard, one) for one in values] for name, values in each.items()})


def _condition(shard: edge.EdgeShard, found: Mapping[str, Any]) -> Any:
    if "has_id" in found:
        return edge.HasIdCondition(set(found["has_id"]))
    if "is_empty" in found:
        return edge.IsEmptyCondition(found["is_empty"]["key"])
    if "key" not in found:
        return _filter(shard, found)
    if found.get("range") is not None:
        ends = {name: value for name, value in found["range"].items() if value is not None}
        kind = edge.RangeDateTime if any(isinstance(value, str) for value in ends.values()) else edge.RangeFloat
        return edge.FieldCondition(found["key"], range=kind(**ends))
    ((how, value),) = found["match"].items()
    if isinstance(value, bool):
        return _has_truth(shard, found["key"], value)
    kinds = {"value": edge.MatchValue, "prefix": edge.MatchPrefix, "substring": edge.MatchSubstring}
    return edge.FieldCondition(found["key"], match=kinds[how](value))


def _has_truth(shard: edge.EdgeShard, key: str, wanted: bool) -> edge.HasIdCondition:
    """The engine compares truth values, and its Python binding of 0.9.0 makes numbers of them, which equal none."""
    points, _ = shard.scroll(edge.ScrollRequest(limit=1_000_000, with_payload=[key], with_vector=False))
    found = set()
    for point in points:
        value: Any = point.payload
        while isinstance(value, dict) and value:
            (value,) = value.values()
        if value is wanted:
            found.add(point.id)
    return edge.HasIdCondition(found)


def _vector(found: Any) -> Any:
    if isinstance(found, dict) and "indices" in found:
        return edge.SparseVector(found["indices"], found["values"])
    return {name: _vector(each) for name, each in found.items()} if isinstance(found, dict) else found


def _payload(wanted: Any) -> Any:
    if isinstance(wanted, dict):
        how = "include" if wanted.get("include") is not None else "exclude"
        return getattr(edge.PayloadSelector, how.capitalize())(wanted[how])
    return wanted


def _record(point: Any) -> dict[str, Any]:
    record = {"id": str(point.id), "payload": point.payload, "vector": _plain(point.vector)}
    score = getattr(point, "score", None)
    return record if score is None else {**record, "score": score, "version": 0}


def _plain(vector: Any) -> Any:
    if isinstance(vector, edge.SparseVector):
        return {"indices": vector.indices, "values": vector.values}
    return {name: _plain(each) for name, each in vector.items()} if isinstance(vector, dict) else vector


def _upsert(shard: edge.EdgeShard, body: Mapping[str, Any]) -> Any:
    points = [edge.Point(each["id"], _vector(each["vector"]), each.get("payload") or {}) for each in body["points"]]
    shard.update(edge.UpdateOperation.upsert_points(points))
    return DONE


def _delete(shard: edge.EdgeShard, body: Mapping[str, Any]) -> Any:
    shard.update(edge.UpdateOperation.delete_points(body["points"]))
    return DONE


def _set_payload(shard: edge.EdgeShard, body: Mapping[str, Any]) -> Any:
    if body.get("points") is not None:
        operation = edge.UpdateOperation.set_payload(body["points"], body["payload"], body.get("key"))
    else:
        wanted = _filter(shard, body["filter"]) or edge.Filter()
        operation = edge.UpdateOperation.set_payload_by_filter(wanted, body["payload"], body.get("key"))
    shard.update(operation)
    return DONE


def _delete_payload(shard: edge.EdgeShard, body: Mapping[str, Any]) -> Any:
    shard.update(edge.UpdateOperation.delete_payload(body["points"], body["keys"]))
    return DONE


def _update_vectors(shard: edge.EdgeShard, body: Mapping[str, Any]) -> Any:
    vectors = [edge.PointVectors(each["id"], _vector(each["vector"])) for each in body["points"]]
    shard.update(edge.UpdateOperation.update_vectors(vectors))
    return DONE


def _index(shard: edge.EdgeShard, body: Mapping[str, Any]) -> Any:
    shard.update(edge.UpdateOperation.create_field_index(body["field_name"], SCHEMA[body["field_schema"]]))
    return DONE


def _count(shard: edge.EdgeShard, body: Mapping[str, Any]) -> Any:
    return {"count": shard.count(edge.CountRequest(filter=_filter(shard, body.get("filter")), exact=True))}


def _retrieve(shard: edge.EdgeShard, body: Mapping[str, Any]) -> Any:
    found = shard.retrieve(body["ids"], _payload(body.get("with_payload")), body.get("with_vector"))
    return [_record(point) for point in found]


def _scroll(shard: edge.EdgeShard, body: Mapping[str, Any]) -> Any:
    asked = edge.ScrollRequest(
        offset=body.get("offset"),
        limit=body.get("limit"),
        filter=_filter(shard, body.get("filter")),
        with_payload=_payload(body.get("with_payload")),
        with_vector=body.get("with_vector"),
    )
    points, offset = shard.scroll(asked)
    return {"points": [_record(point) for point in points], "next_page_offset": None if offset is None else str(offset)}


def _query(shard: edge.EdgeShard, body: Mapping[str, Any]) -> Any:
    params = body.get("params") or {}
    query = (
        body["query"]["nearest"] if isinstance(body["query"], dict) and "nearest" in body["query"] else body["query"]
    )
    asked = edge.QueryRequest(
        limit=body["limit"],
        query=edge.Query.Nearest(_vector(query), body.get("using")),
        filter=_filter(shard, body.get("filter")),
        with_payload=_payload(body.get("with_payload")),
        with_vector=body.get("with_vector"),
        params=edge.SearchParams(hnsw_ef=params.get("hnsw_ef"), exact=bool(params.get("exact"))),
    )
    return {"points": [_record(point) for point in shard.query(asked)]}


ROUTES: dict[tuple[str, str], Any] = {
    ("PUT", "points"): _upsert,
    ("POST", "points"): _retrieve,
    ("PUT", "index"): _index,
    ("PUT", "points/vectors"): _update_vectors,
    ("POST", "points/delete"): _delete,
    ("POST", "points/payload"): _set_payload,
    ("POST", "points/payload/delete"): _delete_payload,
    ("POST", "points/count"): _count,
    ("POST", "points/scroll"): _scroll,
    ("POST", "points/query"): _query,
}


@contextmanager
def qdrant_server(folder: Path, port: int = 0) -> Iterator[tuple[str, QdrantServer]]:
    """Its address, and what it is, until the end of the block."""
    behind = QdrantServer(folder)
    with serving(behind, port) as address:
        yield address, behind


@contextmanager
def serving(behind: QdrantServer, port: int = 0) -> Iterator[str]:
    """An address at which it answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _respond(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            path = unquote(self.path.partition("?")[0])
            if path == "/":
                return self._send(200, {"title": "qdrant", "version": version("qdrant-client")})
            behind.requests.append(f"{self.command} {path}")
            status, when = behind.outages.popleft() if behind.outages else (200, "after")
            answer: Any = None
            if when == "after":
                try:
                    answer = {"result": behind.answer(self.command, path, body), "status": "ok", "time": 0.0}
                except (Refused, ValueError) as error:  # the latter is how the engine refuses
                    status = error.status if isinstance(error, Refused) else 400
                    answer = {"status": {"error": str(error)}, "time": 0.0}
            if status is None:
                self.close_connection = True
                return None
            return self._send(status, answer or {"status": {"error": "away"}, "time": 0.0})

        def _send(self, status: int, answer: Any) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _respond

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
