import os, subprocess, sys, time, shutil, urllib.request
import pytest
from playwright.sync_api import sync_playwright
from tests.serving.page.things import make_things
from tests.serving.page.visitor import Visitor

def start(port, things, **env):
    p = subprocess.Popen([sys.executable, "/tmp/mock/mock.py", str(port)], env={**os.environ, "MOCK_DIR": str(things), **env})
    for _ in range(200):
        try: urllib.request.urlopen(f"http://127.0.0.1:{port}/"); break
        except Exception: time.sleep(.2)
    return p

@pytest.fixture(scope="session")
def things(tmp_path_factory): return make_things(tmp_path_factory.mktemp("things"))
@pytest.fixture(scope="session")
def site(things):
    p = start(8811, things); yield "http://127.0.0.1:8811"; p.kill()
@pytest.fixture(scope="session")
def locked_site(things):
    p = start(8812, things, MOCK_KEY="page-tests-have-a-key"); yield "http://127.0.0.1:8812"; p.kill()
@pytest.fixture(scope="session")
def bare_site(things):
    p = start(8813, things, MOCK_NOINDEX="1"); yield "http://127.0.0.1:8813"; p.kill()
@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"]); yield b; b.close()
@pytest.fixture
def visit(browser, request):
    made = []
    def go(url, **options):
        c = browser.new_context(viewport={"width": 1280, "height": 900}, **options) if "viewport" not in options else browser.new_context(**options)
        c.set_default_timeout(5000)
        v = Visitor(c.new_page(), url); made.append((c, v)); return v
    yield go
    allowed = [m for k in request.node.iter_markers("problems") for m in k.args]
    for c, v in made:
        bad = [p for p in v.problems + v.violations() if not any(a in p for a in allowed)]
        c.close(); assert not bad
@pytest.fixture
def visitor(visit, site): return visit(site)
