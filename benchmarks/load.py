"""A mixed load on `llave serve`, for minutes: every answer is checked against ``model.encode``.

    python -m benchmarks.load [MODEL] [--seconds 300] [--clients 24] [--index DIR] [--hostile] [--out FILE]

Texts, pictures, both together, lists with a bad item, bodies that are too large, broken JSON, clients that hang up, and
searches if there is an index. With --hostile, the attacks of benchmarks/hostile besides, one after the other; a client
whose connection ends tries again twice, as OpenAI's does. Prints what was asked and answered, lost and wrong answers,
latencies, the most memory that the server had in each 30 seconds, and how a line through the last half of its memory's
course rises, in percent.
Exits with 1 if an answer was lost or wrong.
"""

import argparse
import asyncio
import base64
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image

from benchmarks.hostile.attacks import ATTACKS
from benchmarks.provenance import provenance
from llave import load_model
from llave.data.images import load_image
from llave.terminal import quiet_libraries

NEAR = 1e-4
PICTURES = 40
TEXTS = 400


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="nano")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    quiet_libraries()
    load = Load(options.model, options.index is not None, options.hostile)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "llave.cli.main", "serve", options.model, "--port", str(port), "--threads", "1"]
    command += ["--index", str(options.index)] if options.index else []
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        report = asyncio.run(load.run(f"http://127.0.0.1:{port}", server, options.clients, options.seconds))
        server.send_signal(signal.SIGTERM)
        report = {**provenance(), **report}
        report["exit_code"] = server.wait(60)
    finally:
        server.kill()
    text = json.dumps(report, indent=1)
    sys.stdout.write(text + "\n")
    if options.out:
        options.out.write_text(text + "\n")
    return 1 if report["lost"] or report["wrong"] or report["exit_code"] else 0


class Load:
    """What is sent, and what has to come back."""

    def __init__(self, model: str, searches: bool, hostile: bool) -> None:
        self.hostile = hostile
        self.attacks: list[str] = []
        draw = random.Random(0)
        words = "red blue old small dog umbrella rain garden lamp of with near the a street boat window".split()  # noqa: SIM905
        self.texts = [" ".join(draw.choices(words, k=draw.randint(1, 60))) + f" {n}" for n in range(TEXTS)]
        self.pictures = [picture(n) for n in range(PICTURES)]
        self.addresses = ["data:image/jpeg;base64," + base64.b64encode(data).decode() for data in self.pictures]
        encoder: Any = load_model(model)
        images = [load_image(data) for data in self.pictures]
        fused = [{"image": image, "text": self.texts[n]} for n, image in enumerate(images)]
        self.wanted = {
            "text": encoder.encode(self.texts, normalize_embeddings=True),
            "picture": encoder.encode(images, normalize_embeddings=True),
            "fused": encoder.encode(fused, normalize_embeddings=True),
        }
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.lost: list[str] = []
        self.latency: dict[str, list[float]] = defaultdict(list)
        self.kinds = ["texts"] * 8 + ["pictures"] * 3 + ["fused"] * 3 + ["bad", "large", "broken", "gone"]
        self.kinds += ["search"] * 4 if searches else []

    async def run(self, url: str, server: "subprocess.Popen[bytes]", clients: int, seconds: float) -> dict[str, Any]:
        limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False) as client:
            await self._ready(client, server)
            memory, start = psutil.Process(server.pid), time.monotonic()
            tasks = [
                asyncio.create_task(self._client(client, url, number, start + seconds)) for number in range(clients)
            ]
            if self.hostile:
                tasks.append(asyncio.create_task(self._attack(url, start + seconds)))
            sizes = []
            while not all(task.done() for task in tasks):
                sizes.append((time.monotonic() - start, memory.memory_info().rss / 2**20))
                await asyncio.wait(tasks, timeout=1)
            await asyncio.gather(*tasks)
            page = (await client.get("/metrics")).text
        lasted = time.monotonic() - start
        gauges = {
            line.split()[0]: float(line.split()[1])
            for line in page.splitlines()
            if line.startswith(("llave_admitted", "llave_decoded", "llave_queue_items"))
        }
        return {
            "seconds": round(lasted),
            "clients": clients,
            "cores": os.cpu_count(),
            "asked": dict(self.asked),
            "answered": dict(sorted(self.answered.items())),
            "requests_per_second": round(sum(self.asked.values()) / lasted, 1),
            "attacks": self.attacks,
            "lost": len(self.lost),
            "wrong": len(self.wrong),
            "first_problems": (self.lost + self.wrong)[:5],
            "rss_mib": round(sizes[0][1]),
            "rss_mib_most_of_each_30_s": most_of_each(sizes, 30),
            "rss_percent_over_last_half": growth(sizes),
            "ms": {kind: quantiles(times) for kind, times in sorted(self.latency.items())},
            "held_at_the_end": gauges,
        }

    async def _ready(self, client: httpx.AsyncClient, server: "subprocess.Popen[bytes]") -> None:
        while server.poll() is None:
            try:
                if (await client.get("/health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.2)
        raise SystemExit("the server did not start")

    async def _client(self, client: httpx.AsyncClient, url: str, number: int, end: float) -> None:
        draw = random.Random(number)
        while time.monotonic() < end:
            kind = draw.choice(self.kinds)
            self.asked[kind] += 1
            start = time.monotonic()
            for tries in range(3 if self.hostile else 1):
                try:
                    status = await getattr(self, f"_{kind}")(client, draw)
                    break
                except (httpx.TransportError, OSError) as error:
                    failure = f"{kind}: {error!r}"
                    await asyncio.sleep(0.5 * tries)
            else:
                self.lost.append(failure)
                continue
            self.latency[kind].append(time.monotonic() - start)
            self.answered[f"{kind} {status}"] += 1

    async def _attack(self, url: str, end: float) -> None:
        """One attack after the other, 20 s each."""
        names = [*ATTACKS]
        while time.monotonic() < end - 20:
            self.attacks.append(names[len(self.attacks) % len(names)])
            words = ["-m", "benchmarks.hostile.attacks", self.attacks[-1], url.rsplit(":", 1)[1], "20"]
            attacker = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=subprocess.DEVNULL)
            await attacker.wait()

    async def _texts(self, client: httpx.AsyncClient, draw: random.Random) -> int:
        chosen = draw.sample(range(TEXTS), draw.choice([1, 1, 1, 2, 5, 20]))
        return await self._compare(client, [self.texts[n] for n in chosen], self.wanted["text"][chosen])

    async def _pictures(self, client: httpx.AsyncClient, draw: random.Random) -> int:
        chosen = draw.sample(range(PICTURES), draw.choice([1, 1, 2, 4]))
        items = [{"image": self.addresses[n]} for n in chosen]
        return await self._compare(client, items, self.wanted["picture"][chosen])

    async def _fused(self, client: httpx.AsyncClient, draw: random.Random) -> int:
        chosen = draw.sample(range(PICTURES), draw.choice([1, 1, 3]))
        items = [{"image": self.addresses[n], "text": self.texts[n]} for n in chosen]
        return await self._compare(client, items, self.wanted["fused"][chosen])

    async def _compare(self, client: httpx.AsyncClient, items: list[Any], wanted: Any) -> int:
        body = {"input": items, "encoding_format": "base64"}
        response = await client.post("/v1/embeddings", json=body)
        if response.status_code == 200:
            data = [base64.b64decode(entry["embedding"]) for entry in response.json()["data"]]
            found = np.stack([np.frombuffer(vector, "<f4") for vector in data])
            if found.shape != wanted.shape or np.abs(found - wanted).max() > NEAR:
                self.wrong.append(f"vectors of {str(items)[:80]}")
        elif response.status_code not in {429, 503, 504}:
            self.wrong.append(f"{response.status_code} {response.text[:200]}")
        return response.status_code

    async def _bad(self, client: httpx.AsyncClient, draw: random.Random) -> int:
        place = draw.randrange(3)
        items: list[Any] = [draw.choice(self.texts), {"image": draw.choice(self.addresses)}, "third"]
        items[place] = {"image": base64.b64encode(draw.choice(self.pictures)[:300]).decode()}
        response = await client.post("/v1/embeddings", json={"input": items})
        return self._expect(response, 400, f"input[{place}]")

    async def _large(self, client: httpx.AsyncClient, draw: random.Random) -> int:
        response = await client.post("/v1/embeddings", content=b" " * (34 << 20))
        return self._expect(response, 413, None)

    async def _broken(self, client: httpx.AsyncClient, draw: random.Random) -> int:
        body = draw.choice([b"{", b'{"input": ' + b"[" * 9999, b'{"input": 3}', b'{"inputs": "a"}'])
        response = await client.post("/v1/embeddings", content=body, headers={"content-type": "application/json"})
        return self._expect(response, 400, ...)

    async def _gone(self, client: httpx.AsyncClient, draw: random.Random) -> int:
        """Hang up while the answer is on its way."""
        _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        body = json.dumps({"input": draw.sample(self.texts, 10)}).encode()
        head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        await asyncio.sleep(draw.choice([0.0, 0.02, 0.2]))
        writer.transport.abort()
        return 0

    async def _search(self, client: httpx.AsyncClient, draw: random.Random) -> int:
        body: dict[str, Any] = {"text": draw.choice(self.texts), "histogram": draw.random() < 0.3}
        if draw.random() < 0.3:
            body |= {"image": draw.choice(self.addresses), "weight": 0.5}
        response = await client.post("/v1/search", json=body)
        if response.status_code == 200:
            scores = [hit["score"] for hit in response.json()["results"]]
            if not scores or scores != sorted(scores, reverse=True):
                self.wrong.append(f"search: {scores[:5]}")
        elif response.status_code not in {429, 503, 504}:
            self.wrong.append(f"search {response.status_code} {response.text[:200]}")
        return response.status_code

    def _expect(self, response: httpx.Response, status: int, param: Any) -> int:
        error = response.json()["error"]
        if response.status_code != 429 and (
            response.status_code != status or (param is not ... and error["param"] != param)
        ):
            self.wrong.append(f"wanted {status} {param}, got {response.status_code} {error}")
        return response.status_code


def picture(seed: int) -> bytes:
    draw = np.random.default_rng(seed)
    width, height = (int(side) for side in draw.integers(100, 700, 2))
    coarse = Image.fromarray(draw.integers(0, 255, (9, 9, 3), np.uint8))
    file = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=88)
    return file.getvalue()


def most_of_each(sizes: list[tuple[float, float]], seconds: float) -> list[int]:
    most: dict[int, float] = {}
    for at, size in sizes:
        most[int(at // seconds)] = max(size, most.get(int(at // seconds), 0.0))
    return [round(size) for size in most.values()]


def growth(sizes: list[tuple[float, float]]) -> float:
    half = np.array(sizes[len(sizes) // 2 :])
    slope, start = np.polyfit(half[:, 0] - half[0, 0], half[:, 1], 1)
    return round(float(slope * (half[-1, 0] - half[0, 0]) / start * 100), 2)


def quantiles(times: list[float]) -> dict[str, float]:
    found = np.quantile(times, (0.5, 0.95, 0.99)) * 1000
    return {name: round(float(value), 1) for name, value in zip(("p50", "p95", "p99"), found, strict=True)}


if __name__ == "__main__":
    sys.exit(main())
