"""Pictures by address: from the hosts on the list alone, at public addresses alone, within bounds."""

import asyncio
import base64
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.errors import UserError
from llave.serving.app import AppOptions
from llave.serving.errors import ApiError
from llave.serving.remote import Remote, is_public, parse_allowed
from tests.serving.running import encoded, running

PICTURE = encoded(Image.new("RGB", (64, 48), "red"))


class Handler(BaseHTTPRequestHandler):
    """A host with a picture, a redirect, something endless, something slow, and a note of who asked."""

    seen: list[str] = []  # noqa: RUF012
    heads: list[Message] = []  # noqa: RUF012

    def do_GET(self) -> None:
        Handler.seen.append(f"{self.headers['host']} {self.path}")
        Handler.heads.append(self.headers)
        if self.path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("location", "/picture.png")
            self.end_headers()
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                return
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(100):
                    self.wfile.write(b"x")
                    time.sleep(0.1)
            except OSError:
                return
        elif self.path == "/picture.png":
            self.send_response(200)
            self.send_header("content-length", str(len(PICTURE)))
            self.end_headers()
            self.wfile.write(PICTURE)
        else:
            self.send_error(404)

    def log_message(self, format: str, *arguments: object) -> None:
        return


@pytest.fixture(scope="module")
def host() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()


class Names:
    """Answers as a name server would, in turn."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


def fetch(remote: Remote, url: str, most: int = 1 << 20) -> bytes:
    async def once() -> bytes:
        try:
            return await remote.fetch(url, "input", most=most)
        finally:
            await remote.close()

    return asyncio.run(once())


def local(port: int, *, seconds: float = 5.0, names: Names | None = None) -> Remote:
    allowed = parse_allowed([f"http://pictures.test:{port}"])
    return Remote(
        allowed, seconds=seconds, resolver=names or Names(["127.0.0.1"]), public=lambda address: address == "127.0.0.1"
    )


def test_a_picture_comes_under_its_hosts_name(host: int) -> None:
    Handler.seen.clear()
    assert fetch(local(host), f"http://pictures.test:{host}/picture.png?a=b".replace("?a=b", "")) == PICTURE
    assert Handler.seen == [f"pictures.test:{host} /picture.png"]


def test_the_server_fetches_where_it_is_allowed(nano_untouched: SentenceTransformer, host: int) -> None:
    url = f"http://pictures.test:{host}/picture.png"
    with running(nano_untouched, AppOptions(remote=local(host))) as server:
        data = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
        by_address, by_data = server.vectors([{"image": url}, {"image": data, "text": ""}])
        assert by_address == by_data
        refused = server.embed([{"image": "http://other.test/picture.png"}])
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "remote_not_allowed")


@pytest.mark.parametrize(
    ("path", "words"), [("/redirect", "answered 302"), ("/none", "answered 404"), ("/slow", "not fetched within")]
)
def test_no_redirects_and_no_patience(host: int, path: str, words: str) -> None:
    Handler.seen.clear()
    with pytest.raises(ApiError, match=words):
        fetch(local(host, seconds=1.0), f"http://pictures.test:{host}{path}")
    assert len(Handler.seen) == 1


def test_too_much_is_cut_off(host: int) -> None:
    with pytest.raises(ApiError, match="more than 100,000 bytes") as caught:
        fetch(local(host), f"http://pictures.test:{host}/endless", most=100_000)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://pictures.test/a",
        "http://pictures.test:{port}@evil.test/a",
        "http://evil.test@pictures.test:{port}/a",
        "http://pictures.test:{port}\\@evil.test/a",
        "http:\\\\pictures.test:{port}/a",
        "http://pictures.test:{port}\t/a",
        "http://pictures.test:{port} /a",
        "http://pictures.test:{port}\r\nHost: evil/a",
        "http://pictures.test/a",
        "https://pictures.test:{port}/a",
        "http://127.0.0.1:{port}/a",
        "http://localhost:{port}/a",
        "http://2130706433:{port}/a",
        "http://0x7f000001:{port}/a",
        "http://017700000001:{port}/a",
        "http://127.1:{port}/a",
        "http://[::1]:{port}/a",
        "http://[::ffff:127.0.0.1]:{port}/a",
        "http://169.254.169.254/latest/meta-data/",
        "http://pictures.test.evil.test:{port}/a",
        "http://pictures.test.:{port}/a",
        "http://pıctures.test:{port}/a",
        "http://pictures.test:99999/a",
        "http://:{port}/a",
        "http://",
        "//pictures.test:{port}/a",
    ],
)
def test_other_addresses_are_not_asked(host: int, url: str) -> None:
    names = Names(["127.0.0.1"])
    Handler.seen.clear()
    with pytest.raises(ApiError) as caught:
        fetch(local(host, names=names), url.replace("{port}", str(host)))
    assert caught.value.code == "remote_not_allowed"
    assert names.asked == 0
    assert Handler.seen == []


def test_a_name_that_changes_its_mind_is_asked_once(host: int) -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    assert fetch(local(host, names=names), f"http://pictures.test:{host}/picture.png") == PICTURE
    assert names.asked == 1


@pytest.mark.parametrize("answers", [["10.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::1"], []])
def test_a_name_of_a_private_address(host: int, answers: list[str]) -> None:
    """As the server is: with its own rule of what is public."""
    remote = Remote(parse_allowed([f"http://pictures.test:{host}"]), seconds=5, resolver=Names(answers))
    Handler.seen.clear()
    with pytest.raises(ApiError, match="public internet"):
        fetch(remote, f"http://pictures.test:{host}/picture.png")
    assert Handler.seen == []


# IANA's registries of special-purpose IPv4 and IPv6 addresses, of multicast, and what was deprecated.
NOT_PUBLIC = {
    "this network": ["0.0.0.0", "0.1.2.3"],
    "private": ["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"],
    "shared": ["100.64.0.1", "100.127.255.255"],
    "loopback": ["127.0.0.1", "127.9.9.9", "::1"],
    "unspecified": ["::"],
    "link-local": ["169.254.169.254", "fe80::1", "fe80::1%eth0", "febf::1"],
    "protocol assignments": ["192.0.0.1", "192.0.0.8", "192.0.0.170", "2001:1::1", "2001:3::1", "2001:1ff::1"],
    "6to4 relays": ["192.88.99.1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1", "3fff:fff::1"],
    "benchmarking": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "4000::1", "e000::1"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:192.0.0.1"],
    "IPv4-translated": ["::ffff:0:127.0.0.1", "::ffff:0:1.1.1.1"],
    "IPv4-compatible": ["::127.0.0.1", "::10.0.0.1", "::1.1.1.1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::1.1.1.1", "64:ff9b:1::7f00:1", "64:ff9b:1:ffff::1"],
    "discard-only": ["100::1", "100::ffff:ffff:ffff:ffff", "100:0:0:1::1"],
    "Teredo": ["2001:0:7f00:1::", "2001::1"],
    "ORCHID": ["2001:10::1", "2001:20::1", "2001:30::1"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::1", "2002:101:101::1"],
    "segment routing": ["5f00::1"],
    "unique local": ["fc00::1", "fd12:3456:789a::1"],
    "site-local": ["fec0::1", "feff::1"],
    "6bone": ["3ffe::1"],
    "no address": ["nonsense", "2130706433", "", "1.1.1.1%eth0", "2606:4700:4700::1111%eth0", "::ffff:1.1.1.1%1"],
}


@pytest.mark.parametrize(("kind", "addresses"), NOT_PUBLIC.items())
def test_what_is_not_public(kind: str, addresses: list[str]) -> None:
    assert [address for address in addresses if is_public(address)] == []


@pytest.mark.parametrize(
    "address",
    ["93.184.215.14", "1.1.1.1", "192.0.1.1", "192.88.98.1", "198.20.0.1", "2606:4700:4700::1111", "2a00:1450:4001::8a",
     "2001:200::1", "2001:4860:4860::8888", "2400:cb00::1", "::ffff:1.1.1.1"],
)  # fmt: skip
def test_what_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "name", ["*", "*.example.org", "exa mple.org", "https://", "host:port", "a/b", "ftp://host", "::1"]
)
def test_names_that_no_list_holds(name: str) -> None:
    with pytest.raises(UserError, match="allow_remote_from"):
        parse_allowed([name])


def test_no_key_of_the_environment(host: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a user keeps for other hosts goes along: no login of .netrc, no key, no cookie."""
    (tmp_path / ".netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("LLAVE_API_KEY", "QDRANT_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, "secret")
    fetch(local(host), f"http://pictures.test:{host}/picture.png")
    sent = {name.lower() for name in Handler.heads[-1]}
    assert sent == {"host", "accept", "connection", "user-agent", "accept-encoding"}
    assert "secret" not in str(Handler.heads[-1])


def test_no_proxy_of_the_environment(host: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextmanager(_closed_port)() as port:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert fetch(local(host), f"http://pictures.test:{host}/picture.png") == PICTURE


def _closed_port() -> Iterator[int]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        yield found.getsockname()[1]
