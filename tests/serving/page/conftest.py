"""Chromium, and three servers of the untrained nano model: with an index, with a key besides, and without an index."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, sync_playwright
from sentence_transformers import SentenceTransformer

from llave.collection.folder import FolderCollection
from llave.encode.cache import model_fingerprint
from llave.search.index import Index
from llave.search.info import IndexInfo
from llave.search.options import BuildOptions
from llave.search.update import update_index
from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from llave.serving.gates.auth import Keys
from llave.serving.pages import STATIC
from tests.programs import program
from tests.serving.page.things import KEY, make_things
from tests.serving.page.visitor import Visitor
from tests.serving.running import running

WEB = Path(__file__).parents[3] / "web"
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
Visit = Callable[..., Visitor]
REPORT = "<!doctype html><html lang=en><title>Hardest negatives</title><style>h1 {color: red}</style><h1>Hardest</h1>"


@pytest.fixture(scope="session")
def built() -> None:
    """The page as its source is now, and axe; two processes do not build it at once."""
    with FileLock(WEB / "node_modules.lock"):
        stale = ["--if-stale"] if AXE.is_file() else []
        done = subprocess.run([sys.executable, WEB / "build.py", *stale], capture_output=True, text=True)
    if done.returncode != 0 and not (STATIC / "index.html").is_file():
        pytest.fail(f"the page cannot be built: {done.stderr[-2000:]}")


@pytest.fixture(scope="session")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is indexed."""
    return make_things(tmp_path_factory.mktemp("things"))


@pytest.fixture(scope="session")
def index(nano_untouched: SentenceTransformer, things: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """A real index of the things."""
    dimension = nano_untouched.get_embedding_dimension()
    assert dimension is not None
    info = IndexInfo(model="nano", fingerprint=model_fingerprint(nano_untouched), dimension=dimension)
    made = Index.create(tmp_path_factory.mktemp("index"), info)
    report = update_index(made, nano_untouched, FolderCollection(things), things, BuildOptions(progress=False))
    assert report.added == 69, report.errors
    return made


@pytest.fixture(scope="package")
def engine(nano_untouched: SentenceTransformer, built: None) -> Engine:
    """The page is built before any server looks for it."""
    return Engine(nano_untouched, name="nano")


@pytest.fixture(scope="package")
def site(engine: Engine, index: Index, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with an index and a report."""
    report = tmp_path_factory.mktemp("report") / "gallery.html"
    report.write_text(REPORT)
    with running(engine, AppOptions(index=index, gallery=report)) as server:
        yield server.url


@pytest.fixture(scope="package")
def locked_site(engine: Engine, index: Index) -> Iterator[str]:
    """A server that wants ``KEY``."""
    with running(engine, AppOptions(index=index, keys=Keys([KEY]))) as server:
        yield server.url


@pytest.fixture(scope="package")
def bare_site(engine: Engine) -> Iterator[str]:
    """A server without an index."""
    with running(engine, AppOptions()) as server:
        yield server.url


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. It ends with these tests: Playwright keeps an event loop running in this thread meanwhile."""
    chromium = program("chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Opens a fresh window at a server. Afterwards: no error in the console, no violation of the policy, and no
    request elsewhere, but for what the test's mark ``problems`` allows."""
    allowed = [text for mark in request.node.iter_markers("problems") for text in mark.args]
    visitors: list[Visitor] = []

    def open_window(url: str, **options: Any) -> Visitor:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(10_000)
        visitors.append(Visitor(context.new_page(), url))
        return visitors[-1]

    yield open_window
    for visitor in visitors:
        problems = [*visitor.problems, *visitor.violations()]
        visitor.page.context.close()
        assert not [text for text in problems if not any(fine in text for fine in allowed)]


@pytest.fixture
def visitor(visit: Visit, site: str) -> Visitor:
    """At the server with an index."""
    return visit(site)
