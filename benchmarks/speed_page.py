"""One table of ratios: each job beside what users would pick instead, from the committed measurements."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.sheet import Sheet

__all__ = ["ratios_table", "three_ratios"]

Results = Mapping[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast as a peer.

    Args:
        source: file of results.
        read: from its content to the ratio.
        aim: as the issue of it said; empty for none.
    """

    job: str
    peer: str
    source: str
    read: Callable[[dict[str, Any]], float]
    aim: str = ""


def _seconds(found: dict[str, Any], variant: str, **where: Any) -> float:
    value: float = _of(found, variant, **where)["seconds"]
    return value


def _of(found: dict[str, Any], variant: str, **where: Any) -> dict[str, Any]:
    """The one measurement of a variant.

    Raises:
        LookupError: none, or several.
    """
    wanted = {"variant": variant, **where}
    matching: list[dict[str, Any]] = [
        each for each in found["measurements"] if wanted.items() <= {name: each.get(name) for name in wanted}.items()
    ]
    if len(matching) != 1:
        raise LookupError(f"{len(matching)} measurements of {wanted}")
    return matching[0]


def _times(ours: str, peer: str, **where: Any) -> Callable[[dict[str, Any]], float]:
    """By seconds of a variant."""
    return lambda found: _seconds(found, peer, **where) / _seconds(found, ours, **where)


def _rates(ours: str, peer: str, **where: Any) -> Callable[[dict[str, Any]], float]:
    """By things a second."""
    return lambda found: float(_of(found, ours, **where)["rate"] / _of(found, peer, **where)["rate"])


def _served(kind: str, clients: int) -> Callable[[dict[str, Any]], float]:
    """The median of the rounds' ratios to the fastest peer."""
    return lambda found: float(_of(found, "llave serve", kind=kind, clients=clients)["ratio"])


def _ways(ours: str, peer: str) -> Callable[[dict[str, Any]], float]:
    """By CPU seconds of a way."""
    return lambda found: float(found["ways"][peer]["cpu_seconds"] / found["ways"][ours]["cpu_seconds"])


def _searches(engine: str, setting: str) -> Callable[[dict[str, Any]], float]:
    """By the processor's time of a query among the most vectors."""

    def read(found: dict[str, Any]) -> float:
        engines = found["sizes"]["300000"]["engines"]
        (ours, _), peer = engines["llave"]["settings"].values(), engines[engine]["settings"][setting]
        return float(peer["all"]["cpu_ms"] / ours["all"]["cpu_ms"])

    return read


LOSS = {"size": 4096, "dim": 896}
STEP, REPAIRED = "train_step_cpu", "CachedMNRL, slicing repaired"
RATIOS = (
    Ratio("loss of 4,096 pairs of 896, forward and backward", "the original's arithmetic", "loss_cpu",
          _times("llave auto", "original arithmetic", **LOSS)),
    Ratio("", "one matmul in eager PyTorch", "loss_cpu", _times("llave auto", "eager, one matmul", **LOSS)),
    Ratio("", "the same under torch.compile", "loss_cpu", _times("llave auto", "eager, compiled", **LOSS)),
    Ratio("loss of 64 pairs", "one matmul in eager PyTorch", "loss_cpu",
          _times("llave auto", "eager, one matmul", size=64, dim=896), "0.98"),
    Ratio("training step, pictures and texts mixed, equal memory", "sentence-transformers' CachedMNRL, by tokens", STEP,
          _times("llave, by tokens", "CachedMNRL, by tokens", rows="mixed"), "1.5"),
    Ratio("", "CachedMNRL by rows (its slicing repaired: as it is, it fails)", STEP,
          _times("llave", REPAIRED, rows="mixed"), "1.5"),
    Ratio("the same with the memory that is there", "CachedMNRL by rows", STEP,
          _times("llave, all graphs", REPAIRED, rows="mixed"), "2"),
    Ratio("evaluation, float32", "SentenceTransformer.encode for each data set", "eval_cpu",
          _times("llave", "encode, each data set"), "2"),
    Ratio("", "mteb", "eval_cpu", _times("llave", "mteb")),
    Ratio("", "VLM2Vec's way", "eval_cpu", _times("llave", "VLM2Vec's way")),
    Ratio("serving texts, 1 client", "FastAPI around encode, the faster of two", "serve_cpu", _served("texts", 1), "1"),
    Ratio("", "infinity's server, CLIP base", "serve_infinity", _served("texts", 1)),
    Ratio("serving texts, 64 clients", "FastAPI around encode", "serve_cpu", _served("texts", 64), "3"),
    Ratio("", "infinity's server, CLIP base", "serve_infinity", _served("texts", 64)),
    Ratio("serving pictures, 1 client", "FastAPI around encode", "serve_cpu", _served("pictures", 1), "1"),
    Ratio("", "infinity's server, CLIP base", "serve_infinity", _served("pictures", 1)),
    Ratio("serving pictures, 64 clients", "FastAPI around encode", "serve_cpu", _served("pictures", 64), "1.7"),
    Ratio("", "infinity's server, CLIP base", "serve_infinity", _served("pictures", 64)),
    Ratio("embedding photos, SigLIP 2 base", "sentence-transformers' encode", "photos_cpu",
          _rates("llave", "sentence-transformers", kind="pictures")),
    Ratio("", "infinity's engine", "photos_cpu", _rates("llave", "infinity-emb", kind="pictures")),
    Ratio("search among 300,000 vectors, CPU time", "FAISS in memory, exact", "million",
          _searches("FAISS exact", "exact")),
    Ratio("", "FAISS in memory, IVF", "million", _searches("FAISS IVF", "probes 64")),
    Ratio("`llave search` beside a server, CPU time", "`llave search` by itself", "start",
          _ways("llave search, beside a server", "llave search")),
)  # fmt: skip


def ratios_table(results: Results) -> str:
    """All of them, as Markdown; what is slower than its peer stands out.

    Args:
        results: every file of results by its name.
    """
    rows = []
    for ratio in RATIOS:
        value = ratio.read(results[ratio.source])
        shown = f"{value:.2f}" if value < 10 else f"{value:.0f}"
        source = f"[{ratio.source}](../benchmarks/results/{ratio.source}.json)"
        commit = results[ratio.source].get("commit", "none")[:7]
        rows.append((ratio.job, ratio.peer, shown if value >= 1 else f"**{shown}**", ratio.aim, source, commit))
    columns = ("job", "beside", "times as fast", "aim", "measured in", "commit")
    title = (
        "Above 1 is faster than the peer; slower in bold. A file without a commit is of a time before files had one, "
        "and so of older code."
    )
    words = frozenset({"job", "beside", "measured in", "commit"})
    return Sheet(title=title, caption="", columns=columns, rows=rows, words=words).markdown()


def three_ratios(results: Results) -> str:
    """The README's sentence: an evaluation, a server under load, and where we lose."""
    loss, mteb = (
        ratio.read(results[ratio.source])
        for ratio in RATIOS
        if (ratio.source, ratio.peer) in {("loss_cpu", "the original's arithmetic"), ("eval_cpu", "mteb")}
    )
    texts = _served("texts", 64)(results["serve_infinity"])
    return (
        f"On two CPU cores, the loss takes {1 / loss:.2f} of the time of the original's arithmetic, an evaluation runs "
        f"{mteb:.1f} times as fast as mteb's, and the server answers 64 clients {texts:.1f} times as fast as "
        "infinity's with texts. An approximate search by vector is far slower than FAISS's in memory: "
        "[docs/speed.md](docs/speed.md) has every ratio, and where we lose.\n"
    )
