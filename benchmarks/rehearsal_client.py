"""Start a server, ask it for a vector of a text and of a picture and for a search, and stop it; for the rehearsal.

Run: python -m benchmarks.rehearsal_client MODEL INDEX DTYPE PICTURE
"""

import base64
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

STARTS_WITHIN = 300.0
ANSWERS_WITHIN = 600.0


def main() -> int:
    model, index, dtype, picture = sys.argv[1:]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["serve", model, "--index", index, "--dtype", dtype, "--device", "cpu", "--port", str(port)]
    server = subprocess.Popen([sys.executable, "-m", "llave.cli.main", *command, "--timeout", str(ANSWERS_WITHIN)])
    try:
        _wait(server, f"http://127.0.0.1:{port}/health/ready")
        encoded = base64.b64encode(Path(picture).read_bytes()).decode()
        image = {"image": f"data:image/png;base64,{encoded}"}
        for path, body in (
            ("/v1/embeddings", {"input": "a text"}),
            ("/v1/embeddings", {"input": [image]}),
            ("/v1/search", {"text": "a text"}),
        ):
            begin = time.perf_counter()
            answer = _post(f"http://127.0.0.1:{port}{path}", body)
            sys.stdout.write(f"{path}: {time.perf_counter() - begin:.1f} s, {json.dumps(answer)[:100]}\n")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    return 0


def _wait(server: subprocess.Popen[bytes], address: str) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:  # not there yet, or too busy to answer
            time.sleep(0.2)
    raise RuntimeError(f"the server did not start (exit code {server.poll()})")


def _post(address: str, body: Any) -> Any:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=ANSWERS_WITHIN) as answer:
        return json.loads(answer.read())


if __name__ == "__main__":
    sys.exit(main())
