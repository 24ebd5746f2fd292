"""What clients do that mean a server harm, or know no better. Each attack goes on until its time is over.

    python -m benchmarks.hostile.attacks NAME PORT SECONDS

A process of its own, so that its work is not charged to those who measure.
"""

import json
import os
import random
import resource
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator

from benchmarks.hostile import bombs

__all__ = ["ATTACKS"]

HEAD = "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\n"
Attack = Callable[[int, Callable[[], float]], None]
"""Of a port, and what to call when everything is built: it says when the attack ends."""
ATTACKS: dict[str, Attack] = {}
WORDS = [f"word {number}" for number in range(2048)]


def attack(run: Attack) -> Attack:
    """Register one under its name."""
    ATTACKS[run.__name__] = run
    return run


def request(
    body: bytes, *, path: str = "/v1/embeddings", method: str = "POST", kind: str = "application/json", more: str = ""
) -> bytes:
    head = HEAD.format(method=method, path=path, kind=kind) + f"content-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def embed(given: object, **options: object) -> bytes:
    return request(json.dumps({"input": given, **options}).encode())


def connect(port: int, *, small: bool = False) -> socket.socket:
    found = socket.socket()
    if small:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.settimeout(20)
    found.connect(("127.0.0.1", port))
    return found


def vanish(connection: socket.socket) -> None:
    """Close with a reset, as a process that is killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def in_threads(count: int, work: Callable[[int], None], end: float) -> None:
    """The same again and again in several threads; whatever the server does to it."""

    def loop(number: int) -> None:
        while time.monotonic() < end:
            try:
                work(number)
            except OSError:  # refused, reset, too slow: all in order
                time.sleep(0.01)

    threads = [threading.Thread(target=loop, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()) + 1)


def send_all(port: int, begin: Callable[[], float], bodies: list[bytes], *, clients: int = 4) -> None:
    """Whole requests, their answers read."""
    turn, end = iter(_cycle(bodies)), begin()

    def once(number: int) -> None:
        with connect(port) as connection:
            connection.sendall(next(turn))
            connection.settimeout(max(0.1, end - time.monotonic()))
            while connection.recv(1 << 16):
                if time.monotonic() > end:
                    return
                connection.settimeout(0.2)

    in_threads(clients, once, end)


def _cycle(bodies: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from bodies


@attack
def unread_answers(port: int, begin: Callable[[], float]) -> None:
    """2,048 vectors asked for on 60 connections, and never read."""
    held: list[socket.socket] = []
    body = embed(WORDS)
    end = begin()

    def once(number: int) -> None:
        if len(held) < 60:
            held.append(connect(port, small=True))
            held[-1].sendall(body)
            held[-1].recv(12)
        time.sleep(0.05)

    in_threads(6, once, end)


@attack
def answers_read_by_the_byte(port: int, begin: Callable[[], float]) -> None:
    """Large answers, read just fast enough to look alive."""
    end = begin()

    def once(number: int) -> None:
        with connect(port, small=True) as connection:
            connection.sendall(embed(WORDS))
            while time.monotonic() < end and connection.recv(64):
                time.sleep(0.05)

    in_threads(30, once, end)


@attack
def heads_that_trickle(port: int, begin: Callable[[], float]) -> None:
    """Slowloris: 200 connections, a header now and then."""
    end = begin()

    def once(number: int) -> None:
        with connect(port) as connection:
            connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\n")
            while time.monotonic() < end:
                connection.sendall(b"x-%d: y\r\n" % random.getrandbits(20))
                time.sleep(0.3)

    in_threads(200, once, end)


@attack
def bodies_that_trickle(port: int, begin: Callable[[], float]) -> None:
    """200 bodies that were promised and come a byte at a time."""
    end = begin()

    def once(number: int) -> None:
        with connect(port) as connection:
            connection.sendall(HEAD.format(method="POST", path="/v1/embeddings", kind="application/json").encode())
            connection.sendall(b"content-length: 30000000\r\n\r\n{")
            while time.monotonic() < end:
                connection.sendall(b" ")
                time.sleep(0.2)

    in_threads(200, once, end)


@attack
def a_flood_of_connections(port: int, begin: Callable[[], float]) -> None:
    """2,000 connections that say nothing."""
    held: list[socket.socket] = []
    end = begin()

    def once(number: int) -> None:
        if len(held) < 2000:
            held.append(connect(port))
        else:
            vanish(held.pop(0))

    in_threads(4, once, end)


@attack
def clients_that_vanish(port: int, begin: Callable[[], float]) -> None:
    """Gone before the body, within it, and before the answer."""
    whole = embed(WORDS[:256])
    end = begin()

    def once(number: int) -> None:
        connection = connect(port)
        connection.sendall(whole[: random.choice([40, 150, len(whole) // 2, len(whole)])])
        time.sleep(random.choice([0.0, 0.01, 0.1]))
        vanish(connection)

    in_threads(8, once, end)


@attack
def chunk_storm(port: int, begin: Callable[[], float]) -> None:
    """Bodies in chunks of one byte."""
    storm = b"1\r\nx\r\n" * 20_000
    end = begin()

    def once(number: int) -> None:
        with connect(port) as connection:
            connection.sendall(HEAD.format(method="POST", path="/v1/embeddings", kind="application/json").encode())
            connection.sendall(b"transfer-encoding: chunked\r\n\r\n")
            while time.monotonic() < end:
                connection.sendall(storm)

    in_threads(8, once, end)


@attack
def no_http(port: int, begin: Callable[[], float]) -> None:
    """TLS, noise, and requests that are none."""
    draw = random.Random(0)
    openings = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"\r\n" * 4000,
        b"PRI * HTTP/2.0\r\n\r\n",
    ]
    end = begin()

    def once(number: int) -> None:
        with connect(port) as connection:
            connection.sendall(draw.choice([*openings, draw.randbytes(4000), b"A" * 100_000]))
            connection.settimeout(0.2)
            connection.recv(1000)

    in_threads(8, once, end)


@attack
def pipelines(port: int, begin: Callable[[], float]) -> None:
    """Thousands of requests on one connection before the first answer."""
    many = b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" * 2000
    end = begin()

    def once(number: int) -> None:
        with connect(port) as connection:
            connection.sendall(many)
            connection.settimeout(1)
            while connection.recv(1 << 16) and time.monotonic() < end:
                pass

    in_threads(4, once, end)


@attack
def json_bombs(port: int, begin: Callable[[], float]) -> None:
    """Millions of numbers, of wrong items and of messages, and a thousand levels of brackets."""
    numbers = b'{"input":[' + b",".join([b"1"] * 6_000_000) + b"]}"
    wrong = b'{"input":["a",' + b",".join([b"null"] * 2_000_000) + b"]}"
    texts = b'{"input":[' + b",".join([b'"a"'] * 3_000_000) + b"]}"
    messages = b'{"messages":[' + b",".join([b'{"role":"user","content":"a"}'] * 400_000) + b"]}"
    deep = b'{"input":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"
    fields = b"{" + b",".join(b'"f%d":1' % n for n in range(500_000)) + b"}"
    send_all(port, begin, [request(body) for body in (numbers, wrong, texts, messages, deep, fields)])


@attack
def large_texts(port: int, begin: Callable[[], float]) -> None:
    """30 MB of words, of one word, of spaces, in as many items as may be."""
    words = ("lorem ipsum dolor sit amet " * 600)[:15_000]
    bodies = [embed([f"{n} {words}" for n in range(2000)]), embed(["a" * 190_000] * 150), embed([" " * 190_000] * 150)]
    send_all(port, begin, bodies)


@attack
def full_queue(port: int, begin: Callable[[], float]) -> None:
    """As many items as a request may have, from eight clients."""
    draw = random.Random(0)
    send_all(port, begin, [embed([f"{draw.random()} {n}" for n in range(2048)]) for _ in range(4)], clients=8)


@attack
def packed_bodies(port: int, begin: Callable[[], float]) -> None:
    """A gigabyte of spaces in a megabyte of gzip."""
    body = bombs.gzipped()
    send_all(port, begin, [request(body, more="content-encoding: gzip\r\n")], clients=4)


@attack
def broken_forms(port: int, begin: Callable[[], float]) -> None:
    """Multipart without an end, without a beginning, of a thousand parts, and of headers alone."""
    kind = "multipart/form-data; boundary=x"
    parts = b"".join(b'--x\r\ncontent-disposition: form-data; name="f%d"\r\n\r\n1\r\n' % n for n in range(20_000))
    bodies = [
        parts + b"--x--\r\n",
        b"--x\r\n" + b"a: b\r\n" * 2_000_000,
        b'--x\r\ncontent-disposition: form-data; name="text"\r\n\r\n' + b"-" * 8_000_000,
        b'--x\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + b"\r\n--" * 4_000_000,
        b"\r\n" * 8_000_000,
        b"--x--",
    ]
    send_all(port, begin, [request(body, kind=kind) for body in bodies])


@attack
def picture_bombs(port: int, begin: Callable[[], float]) -> None:
    """Small files that are large pictures, or long work: PNG, WebP, GIF, and JPEG of thousands of scans."""
    pictures = [bombs.scans(), bombs.png(9999, 9999), bombs.png(60_000, 60_000)]
    pictures += [bombs.png_text(), bombs.webp(), bombs.gif()]
    send_all(port, begin, [embed([{"image": bombs.base64_of(data)}] * 4) for data in pictures], clients=6)


@attack
def film_bombs(port: int, begin: Callable[[], float]) -> None:
    """Animations and films of many frames, and no films."""
    films = [bombs.animation("GIF"), bombs.animation("WEBP"), bombs.film(), bombs.png(9999, 9999)]
    films.append(b"\0\0\0\x18ftypmp42" + b"\0" * 99_999)
    send_all(port, begin, [embed([{"video": bombs.base64_of(data)}] * 2) for data in films], clients=6)


@attack
def searches(port: int, begin: Callable[[], float]) -> None:
    """Filters without end, numbers beyond numbers, and pages far down."""
    filters: list[object] = [" or ".join(["kind = image"] * 1000), "(" * 5000, "not " * 4000 + "kind = image"]
    filters += ["x in (" + ",".join(map(str, range(3000))) + ")", {"kind": ["a"] * 200_000}, {"n": {">": 10**400}}]
    filters.append({str(number): number for number in range(50_000)})
    bodies = [{"text": "a", "filter": each, "limit": 200, "offset": 10_000, "histogram": True} for each in filters]
    bodies += [{"id": "x" * 1_000_000}, {"text": "a " * 4_000_000}]
    send_all(port, begin, [request(json.dumps(body).encode(), path="/v1/search") for body in bodies])


def main() -> None:
    name, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))

    def begin() -> float:
        sys.stdout.write("begins\n")
        sys.stdout.flush()
        return time.monotonic() + seconds

    ATTACKS[name](port, begin)
    os._exit(0)  # the threads may be in the middle of a call


if __name__ == "__main__":
    main()
