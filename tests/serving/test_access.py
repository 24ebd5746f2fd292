"""Who may ask: keys on every route, names of the host, pages of other servers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from sentence_transformers import SentenceTransformer
from starlette.routing import Mount

from llave.cli.main import main
from llave.errors import UserError
from llave.serving.app import AppOptions
from llave.serving.gates.auth import Keys, others_may, read_keys
from llave.serving.gates.host import LOOPBACK
from llave.serving.gates.root import clean_root
from llave.serving.pages import page_files
from llave.serving.routes.status import OPEN
from tests.serving.running import Running, connect, receive_all, running

KEY = "a-key-that-is-long-enough"


@pytest.fixture(scope="module")
def locked(nano_untouched: SentenceTransformer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    gallery = tmp_path_factory.mktemp("gallery") / "report.html"
    gallery.write_text("<h1>gallery</h1>")
    options = AppOptions(keys=Keys([KEY, "another-key-of-someone"]), gallery=gallery, hosts=LOOPBACK)
    with running(nano_untouched, options) as found:
        yield found


def routes(entries: Sequence[Any], prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every path and its methods, those of included routers and mounts too."""
    for route in entries:
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if isinstance(route, Mount):
            yield f"{prefix}{route.path}/anything", {"GET"}
        elif inner is not None:
            yield from routes(inner.routes, prefix)
        else:
            yield prefix + route.path, set(route.methods or {"GET"})


def test_every_route_asks_for_a_key(locked: Running) -> None:
    found = list(routes(locked.app.routes))
    paths = {path.replace(":path}", "}") for path, _ in found}
    assert {"/v1/embeddings", "/v2/embed", "/v1/search", "/metrics", "/openapi.json", "/gallery"} <= paths
    assert {"/v1/rerank", "/rerank", "/v2/rerank", "/score", "/v1/score"} <= paths
    assert set(locked.app.openapi()["paths"]) <= paths
    asked = 0
    for path, methods in found:
        if path in OPEN or path == "/" or path in page_files():
            continue
        for method in methods:
            for headers in (
                {},
                {"authorization": "Bearer wrong"},
                {"authorization": KEY},
                {"authorization": "Basic x"},
            ):
                response = locked.client.request(method, path.replace("{", "").replace("}", ""), headers=headers)
                assert response.status_code == 401, (method, path)
                assert response.headers["www-authenticate"] == "Bearer"
                if method != "HEAD":
                    assert response.json()["error"]["code"] == "invalid_api_key"
                asked += 1
    assert asked > 40
    for path in ("/nothing", "/v1/embeddings/", "//v1/embeddings", "/V1/EMBEDDINGS", "/health/live/../../v1/models"):
        assert httpx.get(locked.url + path, trust_env=False).status_code == 401


def test_the_key_opens(locked: Running) -> None:
    for key in (KEY, "another-key-of-someone"):
        headers = {"authorization": f"Bearer {key}"}
        assert locked.client.get("/v1/models", headers=headers).status_code == 200
        assert locked.client.get("/gallery", headers=headers).text == "<h1>gallery</h1>"
        assert locked.client.get("/metrics", headers=headers).status_code == 200
    twice = [("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}")]
    assert locked.client.get("/v1/models", headers=twice).status_code == 401


def test_health_and_the_page_are_open(locked: Running) -> None:
    assert locked.client.get("/health/live").json() == {"status": "live"}
    assert locked.client.get("/health/ready").json() == {"status": "ready"}
    assert locked.client.get("/").status_code == 200
    for path in page_files():
        assert locked.client.get(path).status_code == 200


def test_policies(locked: Running) -> None:
    page = locked.client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"
    gallery = locked.client.get("/gallery", headers={"authorization": f"Bearer {KEY}"})
    assert "default-src 'none'" in gallery.headers["content-security-policy"]
    assert "script" not in gallery.headers["content-security-policy"]


OTHERS = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", ".", "localhost..", "[::2]"]


@pytest.mark.parametrize("host", OTHERS)
def test_other_names_are_refused(locked: Running, host: str) -> None:
    for path in ("/", "/v1/models", "/metrics", "/nothing", "/health/", "/health/live/"):
        response = locked.client.get(path, headers={"host": host, "authorization": f"Bearer {KEY}"})
        assert (response.status_code, response.json()["error"]["code"]) == (400, "host_not_allowed"), path


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "localhost.:80", "127.0.0.1:80", "[::1]:8000", "[::1]"])
def test_names_of_this_machine(locked: Running, host: str) -> None:
    assert locked.client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("path", sorted(OPEN))
def test_health_answers_under_any_name(locked: Running, path: str) -> None:
    """A load balancer asks a pod by its address, and the oldest ones name nobody."""
    for host in [*OTHERS, "10.1.2.3:8000", "[fd00::1]:80"]:
        assert locked.client.get(path, headers={"host": host}).status_code == 200
    with connect(locked.port) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        assert receive_all(connection).startswith(b"HTTP/1.1 200")


def test_head_is_get_without_the_body(locked: Running) -> None:
    key = {"authorization": f"Bearer {KEY}"}
    for path in [*OPEN, "/", *page_files(), "/v1/models", "/v1/models/nano", "/metrics", "/openapi.json", "/gallery"]:
        whole, head = (locked.client.request(method, path, headers=key) for method in ("GET", "HEAD"))
        assert (whole.status_code, head.status_code, head.content) == (200, 200, b""), path
        assert {"content-type", "x-request-id"} <= head.headers.keys()
        if path != "/metrics":  # which counts these
            assert head.headers["content-length"] == str(len(whole.content))
    assert (
        'method="HEAD",route="/v1/models/{name:path}",status="200"' in locked.client.get("/metrics", headers=key).text
    )
    assert locked.client.head("/v1/embeddings", headers=key).status_code == 405
    assert locked.client.head("/nothing", headers=key).status_code == 404
    assert locked.client.head("/v1/models").status_code == 401


def test_no_page_of_another_server_may_read(locked: Running) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in locked.client.get("/health/live", headers=headers).headers
    assert "access-control-allow-origin" not in locked.client.options("/v1/embeddings", headers=headers).headers


STAINLESS = "arch,lang,os,package-version,retry-count,runtime,runtime-version,timeout"


def test_pages_that_are_allowed_to(nano_untouched: SentenceTransformer) -> None:
    friend = "https://friend.example"
    with running(nano_untouched, AppOptions(cors_origins=[friend], keys=Keys([KEY]))) as server:
        for wanted in (
            "authorization",
            "authorization,content-type," + ",".join(f"x-stainless-{name}" for name in STAINLESS.split(",")),
            "content-type,x-request-id,x-request-timeout,traceparent",
        ):
            asked = {"access-control-request-method": "POST", "access-control-request-headers": wanted}
            found = server.client.options("/v1/embeddings", headers={"origin": friend, **asked})
            assert (found.status_code, found.headers["access-control-allow-origin"]) == (200, friend), wanted
            refused = server.client.options("/v1/embeddings", headers={"origin": "https://evil.example", **asked})
            assert "access-control-allow-origin" not in refused.headers
        for path, status in (("/v1/models", 401), ("/health/live", 200)):
            answer = server.client.get(path, headers={"origin": friend})
            shown = answer.headers["access-control-expose-headers"].split(", ")
            assert (answer.status_code, set(shown)) == (status, {"x-request-id", "retry-after"})
        server.app.state.service.draining = True
        stopping = server.client.get("/v1/models", headers={"origin": friend})
        assert (stopping.status_code, stopping.headers["access-control-allow-origin"]) == (503, friend)


def test_under_a_path_of_its_host(nano_untouched: SentenceTransformer) -> None:
    """A proxy takes the path off, or leaves it on; what a request says of it counts for nothing."""
    with running(nano_untouched, AppOptions(root_path="/llave", keys=Keys([KEY]), hosts=LOOPBACK)) as server:
        key = {"authorization": f"Bearer {KEY}"}
        for root in ("", "/llave"):
            assert server.client.get(f"{root}/", headers=key).status_code == 200
            assert server.client.get(f"{root}/health/ready", headers={"host": "10.0.0.1"}).status_code == 200
            assert server.client.get(f"{root}/v1/models").status_code == 401
            assert server.client.get(f"{root}/v1/models", headers=key).json()["data"][0]["id"] == "nano"
            found = server.client.get(f"{root}/openapi.json", headers={**key, "x-forwarded-prefix": "/evil"})
            assert found.json()["servers"] == [{"url": "/llave"}]
        bare = server.client.get("/llave")
        assert (bare.status_code, bare.headers["location"]) == (308, "/llave/")
        for path in ("/llavex/v1/models", "/other/v1/models", "/llave/llave/v1/models"):
            assert server.client.get(path, headers=key).status_code == 404, path


@pytest.mark.parametrize(("given", "root"), [("", ""), ("/", ""), ("/llave", "/llave"), ("/a/b-c/", "/a/b-c")])
def test_root_paths(given: str, root: str) -> None:
    assert clean_root(given) == root


@pytest.mark.parametrize("given", ["llave", "//evil.example", "/a//b", "/../x", "/a b", "/a?b", "https://a/b", "/é"])
def test_what_is_no_root_path(given: str) -> None:
    with pytest.raises(UserError, match="root_path"):
        clean_root(given)


def test_reading_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n\n{KEY}\n")
    monkeypatch.setenv("LLAVE_API_KEY", "the-key-of-the-environment")
    keys = read_keys(file)
    assert keys.allow(KEY.encode())
    assert keys.allow(b"the-key-of-the-environment")
    assert not keys.allow(b"# ours")
    assert not keys.allow(b"")
    assert KEY not in repr(vars(keys))
    file.write_text("short\n")
    with pytest.raises(UserError, match="at least 16"):
        read_keys(file)
    file.write_text("# none\n")
    with pytest.raises(UserError, match="no key"):
        read_keys(file)
    monkeypatch.delenv("LLAVE_API_KEY")
    assert not read_keys(None)


@pytest.mark.parametrize(
    ("mode", "words"),
    [(0o600, ""), (0o400, ""), (0o640, "read"), (0o604, "read"), (0o620, "write"), (0o666, "read and write")],
)
def test_a_file_of_keys_that_others_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int, words: str
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n")
    file.chmod(mode)
    assert others_may(file) == words
    assert main(["serve", "nano", "--api_keys_file", str(file), "--port", "99999"]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    expected = f"llave serve: warning: others may {words} {file}; chmod 600 {file}"
    assert said == ([expected] if words else [])


def test_open_to_others_only_with_a_key(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAVE_API_KEY", raising=False)
    assert main(["serve", "nano", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "LLAVE_API_KEY" in capsys.readouterr().err
