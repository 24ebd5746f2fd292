"""One way from photos and texts to vectors, in a process of its own.

``python -P benchmarks/photos_peer.py WAY MODEL THREADS`` says what it runs on in a line of JSON, and answers each line
``{"kind": "pictures" | "texts", "inputs": […], "vectors": FILE}`` by one with its time, once the vectors are in the
file. infinity has an environment of its own, so that a way imports nothing but what it measures.
"""

import asyncio
import importlib.metadata
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["BATCH", "WAYS"]

BATCH = 32
"""The default of sentence-transformers' ``encode`` and of infinity."""
PACKAGES = ("torch", "transformers", "sentence-transformers", "pillow", "infinity-emb")
Embed = Callable[[str, Sequence[str]], Any]
"""Vectors (N, D) of a kind of inputs: paths of pictures, or texts."""


def llave(model: str) -> Embed:
    """Our ``Encoder``, from files."""
    from llave import Encoder, Item, load_model

    encoder = Encoder(load_model(model, device="cpu"))

    def embed(kind: str, inputs: Sequence[str]) -> Any:
        found = encoder([Item(image=Path(each)) if kind == "pictures" else Item(each) for each in inputs])
        return np.stack([np.asarray(vector_D) for vector_D in found])

    return embed


def sentence_transformers(model: str) -> Embed:
    """The loop that one writes: a batch of pictures is opened by Pillow, and encoded.

    It opens a raw SigLIP without padding its texts as the model was trained, and gets other vectors; here it is told.
    """
    from PIL import Image
    from sentence_transformers import SentenceTransformer

    opened: Any = SentenceTransformer(model, device="cpu")
    opened[0].processing_kwargs["text"] = {"padding": "max_length", "max_length": 64}

    def encode(batch: Sequence[Any]) -> Any:
        return opened.encode(batch, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)

    def embed(kind: str, inputs: Sequence[str]) -> Any:
        if kind == "texts":
            return encode(list(inputs))
        batches = [inputs[start : start + BATCH] for start in range(0, len(inputs), BATCH)]
        return np.concatenate([encode([Image.open(path).convert("RGB") for path in batch]) for batch in batches])

    return embed


def infinity(model: str) -> Embed:
    """infinity's engine, given the bytes of the files."""
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs  # type: ignore[import-not-found]

    runner = asyncio.Runner()
    engine: Any = AsyncEmbeddingEngine.from_args(
        EngineArgs(model_name_or_path=model, engine="torch", device="cpu", batch_size=BATCH, model_warmup=False)
    )
    runner.run(engine.astart())

    async def embed_all(kind: str, inputs: Sequence[str]) -> Any:
        if kind == "texts":
            found, _ = await engine.embed(list(inputs))
        else:
            found, _ = await engine.image_embed(images=[Path(path).read_bytes() for path in inputs])
        return np.stack(found)

    return lambda kind, inputs: runner.run(embed_all(kind, inputs))


WAYS: dict[str, Callable[[str], Embed]] = {
    "llave": llave,
    "sentence-transformers": sentence_transformers,
    "infinity-emb": infinity,
}


def main(way: str, model: str, threads: int) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    torch.set_num_threads(threads)
    embed = WAYS[way](model)
    installed = {each.name.lower(): each.version for each in importlib.metadata.distributions()}
    print(json.dumps({name: installed[name] for name in PACKAGES if name in installed}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak of memory begins anew
        begin, before = time.perf_counter(), _cpu_seconds()
        vector_ND = embed(asked["kind"], asked["inputs"])
        answer = {"seconds": time.perf_counter() - begin, "cpu_seconds": _cpu_seconds() - before}
        if asked["vectors"]:
            np.save(asked["vectors"], np.asarray(vector_ND, np.float32))
        answer["peak_bytes"] = _peak_bytes()
        print(json.dumps(answer), file=answers, flush=True)


def _peak_bytes() -> int:
    """Resident at most since it began anew."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def _cpu_seconds() -> float:
    """Of all threads, and of processes that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # infinity's threads would keep the process alive
    os._exit(0)
