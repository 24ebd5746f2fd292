"""``llave index late``: tokens of an index's items, for late interaction."""

import dataclasses
import json
import sys
from dataclasses import dataclass, field

from llave.cli.defaults import find_index
from llave.cli.leftovers import cut_lines
from llave.cli.parsing import parse
from llave.storage.location import Location

__all__ = ["LateIndexConfig", "late"]


@dataclass(frozen=True, kw_only=True)
class LateIndexConfig:
    """Tokens of an index's items.

    Args:
        model: a late-interaction model's directory or hub id.
        index: folder of the index; null is "index" here, else the quickstart's.
        token_pooling: an item keeps one in so many of its tokens.
        allow_sources: folders that may be read, beside those that you indexed on this machine.
        max_pixels: of a picture; one with more is left out.
        batch_size: items per forward pass at most.
        exact_below: with fewer items, a search compares all tokens.
        device: e.g. cpu or cuda; null is the best there is.
        dtype: of the weights, e.g. bfloat16; null is bfloat16 where the device multiplies in it and as stored
            elsewhere.
        json: print what was done as JSON.
    """

    model: str
    index: Location | None = None
    token_pooling: float = 1.0
    allow_sources: list[str] = field(default_factory=list)
    max_pixels: int = 400_000_000
    batch_size: int = 64
    exact_below: int = 20_000
    device: str | None = None
    dtype: str | None = None
    json: bool = False


def late(argv: list[str]) -> int:
    """Bring the tokens up to date; 1 if an item could not be encoded."""
    config = parse(
        LateIndexConfig,
        argv,
        command="index late",
        description="Keep the token vectors of an index's items beside it, in a table of multivectors: only what is "
        "new or has changed is encoded. Example: llave index late runs/late --index photos.index --token_pooling 2. "
        "Killed, the same command goes on.",
        positional=("model",),
    )
    from llave.models.open import load_late
    from llave.models.precision import eval_dtype
    from llave.rerank.late_index import index_late
    from llave.search.index import Index
    from llave.terminal import printable, quiet_libraries

    quiet_libraries()
    index = Index.open(find_index(config.index))
    model = load_late(config.model, device=config.device, dtype=eval_dtype(config.dtype, config.device))
    report = index_late(
        index,
        model,
        factor=config.token_pooling,
        allow_sources=config.allow_sources,
        exact_below=config.exact_below,
        batch_size=config.batch_size,
        max_pixels=config.max_pixels,
    )
    if config.json:
        sys.stdout.write(json.dumps(dataclasses.asdict(report)) + "\n")
    else:
        sys.stdout.write(
            f"{index.path}: tokens of {report.items:,} of {report.wanted:,} items, {report.embedded:,} encoded, "
            f"{report.removed:,} removed; {report.tokens:,.1f} vectors and {report.bytes:,.0f} bytes each\n"
        )
    if report.replaced:
        sys.stderr.write(f"llave: the tokens of {report.replaced} (another model or token pooling) were dropped\n")
    if report.gone:
        sys.stderr.write(
            f"llave: {report.gone:,} items are not there as they were indexed; llave index MODEL FOLDER brings the "
            "index up to date\n"
        )
    left_out = [f"left out {printable(key)}: {printable(why)}" for key, why in report.errors.items()]
    for line in (*left_out, *cut_lines(report.cut, model.max_seq_length)):
        sys.stderr.write(f"llave: {line}\n")
    return int(bool(report.errors))
