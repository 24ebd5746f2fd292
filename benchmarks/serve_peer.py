"""The server that one writes in an afternoon: FastAPI, and ``model.encode`` in each request.

``python -P benchmarks/serve_peer.py MODEL PORT THREADS loop|threads``. It answers the same requests as ours with the
same vectors, so that the two differ in nothing but how requests come to the model. ``encode`` is not made for several
threads at a time (its tokenizer is borrowed), so it stands behind a lock.
"""

import base64
import io
import sys
import threading
from typing import Any

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from PIL import Image
from pydantic import BaseModel

from llave.models.open import load_model
from llave.models.precision import eval_dtype
from llave.terminal import quiet_libraries

__all__ = ["create_peer"]


class Body(BaseModel):
    """Texts, and pictures as ``{"image": "data:…"}``, or as strings of the modality ``image``."""

    input: str | list[str | dict[str, str]]
    modality: str = "text"
    model: str | None = None
    encoding_format: str = "float"


def create_peer(model: Any, *, in_loop: bool) -> FastAPI:
    """The application.

    Args:
        in_loop: an ``async def`` handler, which blocks the event loop; else FastAPI's threads, one at a time in encode.
    """
    app = FastAPI()
    lock = threading.Lock()

    @app.get("/health/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    def answer(body: Body) -> dict[str, Any]:
        items = [body.input] if isinstance(body.input, str) else body.input
        inputs = [_opened(item, body.modality) for item in items]
        with lock:
            vectors_ND = model.encode(inputs, normalize_embeddings=True, show_progress_bar=False)
        data = [
            {"object": "embedding", "index": index, "embedding": _form(vector_D, body.encoding_format)}
            for index, vector_D in enumerate(vectors_ND)
        ]
        return {"object": "list", "data": data, "model": body.model}

    if in_loop:

        @app.post("/v1/embeddings")
        async def embeddings_in_loop(body: Body) -> dict[str, Any]:
            return answer(body)
    else:

        @app.post("/v1/embeddings")
        def embeddings(body: Body) -> dict[str, Any]:
            return answer(body)

    return app


def _opened(item: str | dict[str, str], modality: str) -> str | Image.Image:
    if isinstance(item, str) and modality == "text":
        return item
    address = item if isinstance(item, str) else item["image"]
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")


def _form(vector_D: Any, encoding_format: str) -> Any:
    if encoding_format == "base64":
        return base64.b64encode(np.asarray(vector_D, "<f4").tobytes()).decode()
    return vector_D.tolist()


def main(name: str, port: int, threads: int, way: str) -> None:
    """Load and serve."""
    quiet_libraries()
    torch.set_num_threads(threads)
    model = load_model(name, dtype=eval_dtype(None, None)).eval()
    uvicorn.run(
        create_peer(model, in_loop=way == "loop"), host="127.0.0.1", port=port, log_level="error", access_log=False
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
