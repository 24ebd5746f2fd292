"""The models of ``llave serve``: their names on the command line, and how they are opened."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from llave.errors import UserError

if TYPE_CHECKING:
    from llave.cli.serve import ServeConfig
    from llave.serving.app import AnyEngine
    from llave.serving.engine import Engine
    from llave.serving.rerank_engine import RerankEngine

__all__ = ["described", "load", "models", "served"]

NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def described(engine: "AnyEngine") -> str:
    """A served model in the line that says that all is ready."""
    from llave.serving.engine import Engine

    what = f"{engine.dimension} dimensions, " if isinstance(engine, Engine) else ""
    kind = "model" if isinstance(engine, Engine) else "reranker"
    return f"{kind} {engine.name} on {engine.model.device}, {what}" + ", ".join(engine.modalities)


def models(config: "ServeConfig") -> list[tuple[str, str]]:
    """Names and paths or hub ids of the models that embed."""
    found = _named(config.model)
    return [(config.name, found[0][1]), *found[1:]] if config.name and found else found


def served(config: "ServeConfig") -> list[tuple[str, str]]:
    """The same of all models and rerankers.

    Raises:
        UserError: two are called the same.
    """
    found = [*models(config), *_named(config.rerank)]
    names = [name for name, _ in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"two models are called {twice!r}; name them: llave serve red=MODEL blue=MODEL")
    return found


def _named(given: str | list[str] | None) -> list[tuple[str, str]]:
    """Names and paths, of ``PATH`` or ``NAME=PATH``."""
    found = []
    for word in [given] if isinstance(given, str) else given or []:
        name, equals, path = word.partition("=")
        if not equals or not NAME.fullmatch(name) or Path(word).exists():
            name, path = Path(word).name, word
        found.append((name, path))
    return found


def load(config: "ServeConfig") -> "list[AnyEngine]":
    """The models and rerankers, once the server listens."""
    import torch

    from llave.terminal import quiet_libraries

    quiet_libraries()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    rerankers = [_load_reranker(config, *one) for one in _named(config.rerank)]
    return [*(_load_model(config, *one) for one in models(config)), *rerankers]


def _load_reranker(config: "ServeConfig", name: str, path: str) -> "RerankEngine":
    from llave.encode.item import Reading
    from llave.models.precision import eval_dtype
    from llave.rerank.reranker import Reranker
    from llave.serving.rerank_engine import RerankEngine

    dtype = eval_dtype(config.dtype, config.device)
    reading = Reading(num_frames=config.frames)
    reranker = Reranker.open(path, device=config.device, dtype=dtype, reading=reading, batch_size=config.batch_items)
    engine = RerankEngine(reranker, name=name, aliases=[path])
    engine.warm_up()
    return engine


def _load_model(config: "ServeConfig", name: str, path: str) -> "Engine":
    from llave.models.open import load_model
    from llave.models.precision import eval_dtype
    from llave.search.info import read_info
    from llave.serving.engine import Engine, trained_dimensions

    infos = [read_info(each) for each in (config.beside, config.index) if each is not None]
    infos.sort(key=lambda info: info.model == path)  # of the index that it made, else of the first one
    quantize = config.quantize or (infos[-1].quantize if infos else None)
    device = config.device or ("cpu" if quantize == "int8" and config.quantize is None else None)
    dtype = eval_dtype(config.dtype or (infos[-1].dtype if infos else None), device, quantize)
    model = load_model(path, device=device, dtype=dtype, quantize=quantize)
    engine = Engine(
        model,
        name=name,
        aliases=[path],
        dimensions=[*config.dimensions, *trained_dimensions(path)],
        num_frames=config.frames,
    )
    engine.warm_up()
    return engine
