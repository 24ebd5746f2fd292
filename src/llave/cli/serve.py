"""``llave serve``."""

import contextlib
import dataclasses
import gc
import logging
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llave.cli.defaults import QUICKSTART, find_index
from llave.cli.parsing import parse
from llave.cli.serve_check import check, is_loopback
from llave.cli.serve_models import described, load, load_replica, openings, served
from llave.errors import UserError
from llave.storage.location import Location

if TYPE_CHECKING:
    from llave.search.index import Index
    from llave.search.served import IndexServer
    from llave.serving.app import AppOptions, Load
    from llave.serving.gates.auth import Keys
    from llave.serving.limits import Limits
    from llave.serving.profile import AnyProfile

__all__ = ["ServeConfig", "run", "with_defaults"]

DESCRIPTION = """Embeddings, rerankers and search over HTTP: OpenAI's /v1/embeddings with pictures, videos and sounds,
Cohere's /v2/embed, with --rerank /v1/rerank and /v2/rerank, and with an index a search page. Only this machine can
reach it unless --host says otherwise; addresses of pictures are not fetched unless --allow_remote_from names their
host. Ctrl-C or SIGTERM ends it once all requests have been answered.

Try, after `llave quickstart`: llave serve, then
curl http://127.0.0.1:8000/v1/embeddings -H 'content-type: application/json' -d '{"input": "a red umbrella"}'
Keys: export LLAVE_API_KEY=$(openssl rand -hex 32). More: docs/serving.md."""


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """A server of one model, or of several.

    Args:
        model: a model directory, a hub id, or "nano"; null is the one that made the index. Several: llave serve A B, or
            NAME=A OTHER=B; requests name theirs, and those that name none go to the first.
        index: an index that `llave index` made with one of these models; it brings search and the page's gallery.
            Without a model, a reranker and an index, it is "index" here, else the quickstart's.
        beside: another index of the same items, which another one of these models has made; the page shows beside each
            other what both find.
        rerank: a reranker's directory or hub id, or NAME=PATH, which scores a query with each of many documents; give
            it again for another one. Without a model and an index, the server has rerankers alone.
        gallery: the HTML file of `llave analyze`, shown at /gallery; null with the quickstart's index is its report.
        host: address to listen on; 0.0.0.0 is all of this machine's, and asks for a key.
        port: to listen on; 0 chooses a free one.
        name: of the (first) model in requests; null is the directory's.
        dimensions: lengths that vectors may be cut to, besides those of the model's own record (Matryoshka training).
        frames: of a video.
        device: e.g. cpu or cuda; null is the best there is.
        dtype: of the weights, e.g. bfloat16; null is as when the index was made; without one, bfloat16 where the
            device multiplies in it and as stored elsewhere.
        quantize: int8 puts linear layers into int8, on a processor, not those of a reranker; none does not. null is as
            when the index was made; without one, none.
        replicas: processes that have the model, each on a GPU of its own where there are several; one that ends is
            started again. 1 has it in the server's own process.
        threads: of torch on a CPU, shared among the replicas; null is torch's choice.
        api_keys_file: keys, one a line; requests need one of them, or that of LLAVE_API_KEY.
        no_key: listen on other addresses than this machine's without a key.
        allowed_hosts: names that the server goes by, besides localhost; needed behind a proxy.
        root_path: under which a proxy shows the server, e.g. /llave; the proxy may take it off or leave it on.
        cors_origins: pages of other servers whose scripts may read answers, e.g. https://example.org.
        allow_sources: folders whose files are given out, beside those that you indexed here yourself.
        allow_remote_from: hosts whose pictures, videos and sounds are fetched by address, https only.
        timeout: seconds for a request, from its head to its answer.
        max_items: of one request.
        max_body_mb: of one request, in MiB.
        max_megapixels: of one picture.
        queue_items: items waiting or in work, after which requests are refused with 429.
        batch_items: items per forward pass at most.
        batch_tokens: tokens per forward pass at most, padding included; null fits the device.
        drain_seconds: between SIGTERM and the end at least, so that a load balancer notices.
        access_log: a line of JSON on stderr for each request, without its content.
    """

    model: str | list[str] | None = None
    index: Location | None = None
    beside: Location | None = None
    rerank: str | list[str] | None = None
    gallery: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    name: str | None = None
    dimensions: list[int] = field(default_factory=list)
    frames: int = 8
    device: str | None = None
    dtype: str | None = None
    quantize: Literal["none", "int8"] | None = None
    replicas: int = 1
    threads: int | None = None
    api_keys_file: Path | None = None
    no_key: bool = False
    allowed_hosts: list[str] = field(default_factory=list)
    root_path: str = ""
    cors_origins: list[str] = field(default_factory=list)
    allow_sources: list[str] = field(default_factory=list)
    allow_remote_from: list[str] = field(default_factory=list)
    timeout: float = 60.0
    max_items: int = 2048
    max_body_mb: int = 32
    max_megapixels: float = 100.0
    queue_items: int = 4096
    batch_items: int = 64
    batch_tokens: int | None = None
    drain_seconds: float = 2.0
    access_log: bool = True


def run(argv: list[str]) -> int:
    """Serve until told to stop."""
    config = parse(
        ServeConfig, argv, command="serve", description=DESCRIPTION, positional=("model+",), repeated=("rerank",)
    )
    from llave.search.info import read_info

    for index in (config.index, config.beside):
        if index is not None:
            read_info(index)  # a wrong name is told before all that serves it is imported
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(f"llave serve needs {error.name}: pip install 'llave[serve]'") from None
    from llave.serving.allocator import keep_freed_memory
    from llave.serving.gates.auth import others_may, read_keys
    from llave.serving.run import listen

    check(config)
    keep_freed_memory()  # before LanceDB and torch start threads
    sys.setswitchinterval(0.0005)  # the model takes Python's lock anew after each operation, from whoever reads a body
    config = with_defaults(config)
    served(config)
    keys = read_keys(config.api_keys_file)
    if config.api_keys_file is not None and (allowed := others_may(config.api_keys_file)):
        _say(f"warning: others may {allowed} {config.api_keys_file}; chmod 600 {config.api_keys_file}")
    if not is_loopback(config.host) and not keys and not config.no_key:
        raise UserError(
            f"{config.host} is open to others: set LLAVE_API_KEY or --api_keys_file, or say --no_key if that is meant"
        )
    limits = _limits(config)
    with contextlib.closing(listen(config.host, config.port)) as port:
        options = _options(config, keys, limits)
        with _logging(config):
            return _serve(config, options, port)


def _serve(config: ServeConfig, options: "AppOptions", port: socket.socket) -> int:
    from llave.search.served import announced
    from llave.serving.app import create_app
    from llave.serving.replicas import Replicas
    from llave.serving.run import make_server

    host, number = port.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{number}"
    _say(f"{url} answers its health checks; loading {', '.join(path for _, path in served(config))} …")
    failures: list[BaseException] = []
    searched = "no index" if options.index is None else f"index {config.index} ({options.index.count()} items)"

    def failed(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    def ready(engines: "Sequence[AnyProfile]") -> None:
        gc.collect()
        gc.freeze()  # the model and the libraries stay: no later collection has to look through them
        key = "API key needed" if options.keys else "no API key"
        _say(" · ".join([f"ready: {url}", *map(described, engines), searched, key]))

    models: Load | Replicas = partial(load, config)
    if config.replicas > 1:
        models = Replicas(partial(load_replica, config, openings(config)), config.replicas, seconds=config.timeout)
    app = create_app(models, options, on_ready=ready, on_failure=failed)
    server = make_server(app, options.limits, grace=config.drain_seconds)
    with contextlib.ExitStack() as known:
        for place, path in enumerate((config.index, config.beside), start=1):
            if path is not None:
                known.enter_context(announced(path, _searches(config, path, number, place)))
        server.run(sockets=[port])
    gc.unfreeze()  # or libraries count what the end of the process does not free, and say so
    if failures:
        raise failures[0]
    _say("stopped; all requests were answered")
    return 0


def _searches(config: ServeConfig, index: Location, port: int, place: int) -> "IndexServer":
    """Where this machine's own processes search one of the indexes."""
    from llave.search.info import read_info
    from llave.search.served import IndexServer

    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    named = read_info(index).pipeline.rerank
    return IndexServer(
        f"http://{f'[{host}]' if ':' in host else host}:{port}/v1/search?index={place}",
        named if named and config.rerank in (named, [named]) else "",
    )


def with_defaults(config: ServeConfig) -> ServeConfig:
    """The model, index and gallery that are meant where none is named."""
    from llave.search.index import Index
    from llave.search.trust import allowed_model

    if config.index is not None and config.rerank is None:  # the index's own, so that its searches are as it says
        config = dataclasses.replace(config, rerank=_reranker_of(config.index))
    if config.model or (config.rerank and config.index is None):
        return config
    index = find_index(config.index)
    report = QUICKSTART / "report.html"
    own = index == QUICKSTART / "index" and report.is_file()
    gallery = config.gallery or (report if own else None)
    searched = [each for each in (index, config.beside) if each is not None]
    model, *more = dict.fromkeys(allowed_model(each, Index.open(each).info.model) for each in searched)
    return dataclasses.replace(config, model=[model, *more] if more else model, index=index, gallery=gallery)


def _reranker_of(index: Location) -> str | None:
    """The reranker that an index's pipeline names."""
    from llave.models.open import is_late
    from llave.search.index import Index
    from llave.search.trust import allowed_model

    named = allowed_model(index, Index.open(index).info.pipeline.rerank)
    if named and is_late(named):
        _say(f"warning: {named}: a late-interaction model, which the server does not run; searches are not reranked")
        return None
    return named or None


def _limits(config: ServeConfig) -> "Limits":
    from llave.serving.limits import MIB, Limits

    body = config.max_body_mb * MIB
    return Limits(
        body_bytes=body,
        bodies_bytes=max(Limits().bodies_bytes, 2 * body),
        request_seconds=config.timeout,
        items=config.max_items,
        pixels=int(config.max_megapixels * 1e6),
        queue_items=max(config.queue_items, config.max_items),
        batch_items=config.batch_items,
        batch_tokens=config.batch_tokens,
    )


def _options(config: ServeConfig, keys: "Keys", limits: "Limits") -> "AppOptions":
    from llave.serving.app import AppOptions
    from llave.serving.gates.host import LOOPBACK
    from llave.serving.gates.root import clean_root
    from llave.serving.remote import Remote, parse_allowed

    index, beside = (_opened(config, path) for path in (config.index, config.beside))
    allowed = parse_allowed(config.allow_remote_from)
    guarded = is_loopback(config.host) or bool(config.allowed_hosts)
    return AppOptions(
        limits=limits,
        num_frames=config.frames,
        index=index,
        beside=beside,
        gallery=config.gallery,
        keys=keys,
        hosts=[*LOOPBACK, config.host, *config.allowed_hosts] if guarded else None,
        root_path=clean_root(config.root_path),
        cors_origins=config.cors_origins,
        remote=Remote(allowed, seconds=limits.remote_seconds) if allowed else None,
    )


def _opened(config: ServeConfig, path: Location | None) -> "Index | None":
    from llave.search.index import Index

    if path is None:
        return None
    index = Index.open(path, allow_sources=config.allow_sources)
    for source in index.withheld():
        _say(f"warning: {source}: not indexed by you here, so that its files are not given out; --allow_sources does")
    return index


@contextlib.contextmanager
def _logging(config: ServeConfig) -> Iterator[None]:
    """Our own loggers on stderr: plain words, and a line of JSON for each request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("llave: %(levelname)s %(message)s"))
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(logging.Formatter("%(message)s"))
    loggers: list[tuple[logging.Logger, logging.Handler]] = []
    for name, own, level in (
        ("llave.serving", handler, logging.WARNING),
        ("llave.serving.access", lines, logging.INFO if config.access_log else logging.CRITICAL),
        ("uvicorn.error", handler, logging.ERROR),
    ):
        logger = logging.getLogger(name)
        logger.addHandler(own)
        logger.setLevel(level)
        logger.propagate = False
        loggers.append((logger, own))
    try:
        yield
    finally:
        for logger, added in loggers:
            logger.removeHandler(added)
            logger.setLevel(logging.NOTSET)
            logger.propagate = True


def _say(text: str) -> None:
    sys.stderr.write(f"llave serve: {text}\n")
    sys.stderr.flush()
