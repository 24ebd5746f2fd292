"""The reranking server that one writes in an afternoon: FastAPI, and ``CrossEncoder.predict`` in each request.

``python -P benchmarks/rerank_serve_peer.py MODEL PORT THREADS loop|threads``. As ``serve_peer.py``: the tokenizer is
not made for several threads at a time, so that predicting stands behind a lock.
"""

import sys
import threading
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import CrossEncoder

from llave.terminal import quiet_libraries

__all__ = ["create_peer"]


class Body(BaseModel):
    """A query and documents."""

    query: str
    documents: list[str]
    top_n: int | None = None


def create_peer(model: Any, *, in_loop: bool) -> FastAPI:
    """The application.

    Args:
        in_loop: an ``async def`` handler, which blocks the loop; else FastAPI's threads, one at a time in predict.
    """
    app = FastAPI()
    lock = threading.Lock()

    @app.get("/health/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    def answer(body: Body) -> dict[str, Any]:
        with lock:
            scores = model.predict([(body.query, text) for text in body.documents], show_progress_bar=False).tolist()
        order = sorted(range(len(scores)), key=lambda place: -scores[place])[: body.top_n]
        results = [
            {"index": place, "relevance_score": scores[place], "document": {"text": body.documents[place]}}
            for place in order
        ]
        return {"results": results}

    if in_loop:

        @app.post("/v1/rerank")
        async def rerank_in_loop(body: Body) -> dict[str, Any]:
            return answer(body)
    else:

        @app.post("/v1/rerank")
        def rerank(body: Body) -> dict[str, Any]:
            return answer(body)

    return app


def main(name: str, port: int, threads: int, way: str) -> None:
    """Load and serve."""
    quiet_libraries()
    torch.set_num_threads(threads)
    model = CrossEncoder(name)
    uvicorn.run(
        create_peer(model, in_loop=way == "loop"), host="127.0.0.1", port=port, log_level="error", access_log=False
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
