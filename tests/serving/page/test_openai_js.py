"""OpenAI's JavaScript client, as it is: in Node, and in a page of another origin."""

import functools
import json
import runpy
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from llave.serving.gates.auth import Keys
from tests.serving.page.conftest import WEB
from tests.serving.page.things import KEY
from tests.serving.running import Running, running

pytestmark = pytest.mark.browser
SOURCE = Path(__file__).with_name("openai_js")
CALL = "import { ask } from './ask.mjs'; console.log(JSON.stringify(await ask(...process.argv.slice(1))));"


class Files(SimpleHTTPRequestHandler):
    """A page of another origin."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

    def log_message(self, format: str, *arguments: object) -> None:
        return


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with the client, and an environment in which there is node."""
    folder = tmp_path_factory.mktemp("openai") / "js"
    shutil.copytree(SOURCE, folder)
    npm, env = runpy.run_path(str(WEB / "build.py"))["find_npm"]()
    done = subprocess.run([*npm, "ci", "--no-audit", "--no-fund"], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    return folder, env


@pytest.fixture(scope="module")
def origin(client: tuple[Path, dict[str, str]]) -> Iterator[str]:
    """Where the client's files lie."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(client[0]))) as files:
        thread = threading.Thread(target=files.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{files.server_address[1]}"
        files.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def open_server(engine: Engine, origin: str) -> Iterator[Running]:
    """A server that wants a key, and lets the origin's pages ask."""
    with running(engine, AppOptions(keys=Keys([KEY]), cors_origins=[origin])) as server:
        server.client.headers["authorization"] = f"Bearer {KEY}"
        yield server


def check(found: dict[str, Any], server: Running) -> None:
    wanted = server.vectors(["rain", "snow"])
    np.testing.assert_allclose(found["vectors"], wanted, atol=1e-6)
    np.testing.assert_allclose(found["floats"], wanted[0], atol=1e-6)
    assert found["models"] == ["nano"]
    status, code, request_id = found["wrong"]
    assert (status, code) == (404, "model_not_found")
    assert found["id"]
    assert request_id


def test_in_node(client: tuple[Path, dict[str, str]], open_server: Running) -> None:
    folder, env = client
    command = ["node", "--input-type=module", "-e", CALL, f"{open_server.url}/v1", KEY]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout), open_server)


def test_in_a_page_of_another_origin(browser: Browser, origin: str, open_server: Running) -> None:
    page = browser.new_page()
    page.goto(f"{origin}/package.json")
    call = "async ([base, key]) => (await import('/ask.mjs')).ask(base, key)"
    check(page.evaluate(call, [f"{open_server.url}/v1", KEY]), open_server)
    page.close()
