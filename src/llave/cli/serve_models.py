"""The models of ``llave serve``: their names on the command line, and how they are opened."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llave.errors import UserError

if TYPE_CHECKING:
    from llave.cli.serve import ServeConfig
    from llave.models.int8 import Quantize
    from llave.serving.app import AnyEngine
    from llave.serving.engine import Engine
    from llave.serving.profile import AnyProfile
    from llave.serving.rerank_engine import RerankEngine

__all__ = ["Opening", "described", "load", "load_replica", "models", "openings", "served"]

NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def described(engine: "AnyProfile") -> str:
    """A served model in the line that says that all is ready."""
    from llave.serving.profile import EmbedProfile

    what = f"{engine.dimension} dimensions, " if isinstance(engine, EmbedProfile) else ""
    kind = "model" if isinstance(engine, EmbedProfile) else "reranker"
    return f"{kind} {engine.name} on {engine.device}, {what}" + ", ".join(engine.modalities)


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


@dataclass(frozen=True, slots=True)
class Opening:
    """How a model is opened, as was asked or as its index says."""

    name: str
    path: str
    dtype: str | None
    quantize: "Quantize | None"


def openings(config: "ServeConfig") -> list[Opening]:
    """How the models that embed are opened, while the index is as it is now.

    Raises:
        UserError: no index there.
    """
    from llave.search.info import read_info

    infos = [read_info(each) for each in (config.beside, config.index) if each is not None]
    found = []
    for name, path in models(config):
        infos.sort(key=lambda info: info.model == path)  # of the index that it made, else of the first one
        quantize = config.quantize or (infos[-1].quantize if infos else None)
        found.append(Opening(name, path, config.dtype or (infos[-1].dtype if infos else None), quantize))
    return found


def load(config: "ServeConfig") -> "list[AnyEngine]":
    """The models and rerankers, once the server listens."""
    return _load(config, openings(config), config.threads)


def load_replica(config: "ServeConfig", openings: list[Opening], number: int) -> "list[AnyEngine]":
    """The same in one of several processes: it has its share of the machine, and a GPU of its own, where there are
    several.

    Args:
        openings: as they were when the server was started, whatever has become of the index.
        number: of the process, from 0.
    """
    import torch

    gpus = torch.cuda.device_count()
    gpu = f"cuda:{number % gpus}" if gpus > 1 and config.device in (None, "cuda") else None
    return _load(config, openings, max(1, (config.threads or torch.get_num_threads()) // config.replicas), gpu)


def _load(
    config: "ServeConfig", openings: list[Opening], threads: int | None, gpu: str | None = None
) -> "list[AnyEngine]":
    import torch

    from llave.terminal import quiet_libraries

    quiet_libraries()
    if threads is not None:
        torch.set_num_threads(threads)
    rerankers = [_load_reranker(config, *one, gpu or config.device) for one in _named(config.rerank)]
    return [*(_load_model(config, one, gpu) for one in openings), *rerankers]


def _load_reranker(config: "ServeConfig", name: str, path: str, device: str | None) -> "RerankEngine":
    from llave.encode.item import Reading
    from llave.models.precision import eval_dtype
    from llave.rerank.reranker import Reranker
    from llave.serving.rerank_engine import RerankEngine

    dtype = eval_dtype(config.dtype, device)
    reading = Reading(num_frames=config.frames)
    reranker = Reranker.open(path, device=device, dtype=dtype, reading=reading, batch_size=config.batch_items)
    engine = RerankEngine(reranker, name=name, aliases=[path])
    engine.warm_up()
    return engine


def _load_model(config: "ServeConfig", opening: Opening, gpu: str | None) -> "Engine":
    from llave.models.open import load_model
    from llave.models.precision import eval_dtype
    from llave.serving.engine import Engine, trained_dimensions

    of_index = opening.quantize == "int8" and config.quantize is None
    device = config.device or "cpu" if of_index else gpu or config.device
    dtype = eval_dtype(opening.dtype, device, opening.quantize)
    model = load_model(opening.path, device=device, dtype=dtype, quantize=opening.quantize)
    engine = Engine(
        model,
        name=opening.name,
        aliases=[opening.path],
        dimensions=[*config.dimensions, *trained_dimensions(opening.path)],
        num_frames=config.frames,
    )
    engine.warm_up()
    return engine
