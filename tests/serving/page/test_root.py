"""The page behind a real nginx under a path of its host, and in browsers that keep nothing."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from llave.search.index import Index
from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from llave.serving.gates.host import LOOPBACK
from llave.serving.run import listen
from tests.programs import program
from tests.serving.page.conftest import Visit
from tests.serving.page.things import KEY
from tests.serving.page.visitor import Visitor
from tests.serving.running import running

pytestmark = pytest.mark.browser
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
  access_log off; client_max_body_size 32m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{takes_off}; location /llave/ {{ proxy_pass http://127.0.0.1:{port}/; }} }}
  server {{ listen 127.0.0.1:{leaves_on}; location /llave {{ proxy_pass http://127.0.0.1:{port}; }} }}
}}
"""
NO_STORAGE = """
for (const name of ["localStorage", "sessionStorage"])
  Object.defineProperty(window, name, { get() { throw new DOMException("denied", "SecurityError"); } });
"""
NO_HISTORY = """
for (const name of ["pushState", "replaceState"])
  History.prototype[name] = () => { throw new DOMException("more than 100 times per 10 seconds", "SecurityError"); };
"""


def free_port() -> int:
    with listen("127.0.0.1", 0) as found:
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def proxied(
    browser: Browser, engine: Engine, index: Index, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The server's address by what its proxy does with the path."""
    nginx = program("nginx")
    folder = tmp_path_factory.mktemp("nginx")
    gallery = folder / "gallery.html"
    gallery.write_text("<!doctype html><html lang=en><title>Hardest negatives</title><h1>Hardest</h1>")
    ports = {"takes_off": free_port(), "leaves_on": free_port()}
    with running(engine, AppOptions(index=index, gallery=gallery, root_path="/llave", hosts=LOOPBACK)) as server:
        (folder / "conf").write_text(NGINX.format(folder=folder, port=server.port, **ports))
        process = subprocess.Popen([nginx, "-c", str(folder / "conf"), "-e", "stderr"], stderr=subprocess.PIPE)
        assert process.stderr is not None
        try:
            while not (folder / "pid").is_file():  # it listens by then
                if process.poll() is not None:
                    pytest.fail(f"nginx: {process.stderr.read().decode()}")
            yield {name: f"http://127.0.0.1:{port}/llave" for name, port in ports.items()}
        finally:
            process.terminate()
            process.wait()
            process.stderr.close()


@pytest.mark.parametrize("proxy", ["takes_off", "leaves_on"])
def test_the_page_works_under_a_path(visit: Visit, proxied: dict[str, str], proxy: str) -> None:
    visitor = visit(proxied[proxy]).go()  # it notices every request that leaves the path
    visitor.search("a red circle")
    picture = visitor.cards.locator("img").first
    assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    visitor.cards.first.locator(".card-open").click()
    visitor.page.locator(".near-item img").first.wait_for()
    visitor.page.keyboard.press("Escape")
    with visitor.page.expect_popup() as popup:
        visitor.page.get_by_role("link", name="Negatives").click()
    expect(popup.value.get_by_role("heading", name="Hardest")).to_be_visible()
    assert popup.value.url == f"{proxied[proxy]}/gallery"
    visitor.page.get_by_role("button", name="Map").click()
    visitor.page.locator("canvas").first.wait_for()
    visitor.page.reload()
    expect(visitor.cards.first).to_be_visible()


@pytest.mark.parametrize("proxy", ["takes_off", "leaves_on"])
def test_the_api_works_under_a_path(proxied: dict[str, str], proxy: str) -> None:
    with httpx.Client(base_url=proxied[proxy], trust_env=False) as client:
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/llave"}]
        assert len(client.post("/v1/embeddings", json={"input": ["a", "b"]}).json()["data"]) == 2
        found = client.post("/v1/search", json={"text": "a red circle", "limit": 1}).json()["results"][0]
        for path in ("/health/ready", found["thumbnail"], found["thumbnail"].replace("thumbnail", "content")):
            whole, head = client.get(path), client.head(path)
            assert (head.status_code, head.content) == (whole.status_code, b"") == (200, b"")
            assert head.headers["content-length"] == str(len(whole.content))
        whole = httpx.get(proxied[proxy], follow_redirects=True, trust_env=False)
        assert (str(whole.url), whole.text) == (f"{proxied[proxy]}/", client.get("/").text)


@pytest.mark.problems("401")
def test_a_browser_that_blocks_site_data(visit: Visit, locked_site: str) -> None:
    visitor = visit(locked_site)
    visitor.page.add_init_script(NO_STORAGE)
    visitor.go()
    prompt = visitor.page.get_by_role("dialog", name="API key")
    prompt.get_by_label("API key").fill(KEY)
    visitor.page.keyboard.press("Enter")
    visitor.search("a red circle")
    visitor.page.get_by_role("button", name="Dark theme").click()
    expect(visitor.page.get_by_role("button", name="Light theme")).to_be_visible()


def test_a_browser_that_limits_history(visitor: Visitor, things: Path) -> None:
    visitor.page.add_init_script(NO_HISTORY)
    visitor.go().search("a red circle")
    with visitor.answer():
        visitor.drop(things / "drawn" / "red_circle_96.png")
    visitor.cards.first.wait_for()
    visitor.page.get_by_role("button", name="Compare").click()
    expect(visitor.page.get_by_role("table")).to_be_visible()
