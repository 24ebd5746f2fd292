"""A client that costs little beside the server it measures: prepared requests over open connections."""

import asyncio
import time
from collections.abc import Iterator

from llave.errors import UserError

__all__ = ["closed_loop", "post", "prepared"]


def prepared(body: bytes, path: str = "/v1/embeddings") -> bytes:
    """A whole request."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    )
    return head.encode() + b"\r\n" + body


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """Send a prepared request and read its answer.

    Raises:
        UserError: an answer that is not 200.
    """
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    body = await reader.readexactly(int(length))
    if not head.startswith(b"HTTP/1.1 200"):
        raise UserError(f"the server answered {head[:12].decode()}: {body[:200].decode('utf-8', 'replace')}")
    return body


async def closed_loop(port: int, clients: int, requests: Iterator[bytes], seconds: float) -> tuple[float, list[float]]:
    """Clients that each send a request as soon as the one before is answered.

    Returns:
        requests per second, and the seconds of each.
    """
    latencies: list[float] = []
    connections = [await asyncio.open_connection("127.0.0.1", port, limit=1 << 24) for _ in range(clients)]
    start = time.perf_counter()
    end = start + seconds

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (sent := time.perf_counter()) < end:
            await post(reader, writer, next(requests))
            latencies.append(time.perf_counter() - sent)

    try:
        await asyncio.gather(*(client(*connection) for connection in connections))
        lasted = time.perf_counter() - start
    finally:
        for _, writer in connections:
            writer.close()
    return len(latencies) / lasted, latencies
