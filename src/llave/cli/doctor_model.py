"""``llave doctor MODEL``: a model on one screen: what it is, what differs from its files, how it embeds."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from llave.terminal import printable, quiet_libraries

if TYPE_CHECKING:
    from llave.models.loaded.difference import Difference
    from llave.models.overview import Overview
    from llave.models.self_test import Probe

__all__ = ["examine_model"]

_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_EFFECT = {"vectors": "DIFFERS", "perhaps": "differs", "none": "-"}
_STYLE = {"ok": "green", "FAILED": "bold red", "DIFFERS": "bold red", "differs": "yellow"}
Row = tuple[str, str, str]
"""A mark ("" without one), a name, and what is said of it."""


def examine_model(name: str, *, device: str | None, dtype: str | None, as_json: bool) -> int:
    """Open a model, print its picture and the self-test; 1 if a probe fails or a difference changes vectors.

    Raises:
        UserError: it cannot be opened.
    """
    quiet_libraries()
    from llave.models.loaded.compare import compare
    from llave.models.open import load_model
    from llave.models.overview import overview
    from llave.models.self_test import self_test

    with _said_below():
        model = load_model(name, device=device, dtype=dtype).eval()
    about, differences, probes = overview(model, name), compare(model, thorough=True), list(self_test(model))
    ok = all(probe.ok for probe in probes) and not any(one.effect == "vectors" for one in differences)
    if as_json:
        report = {
            "model": asdict(about),
            "differences": [asdict(one) for one in differences],
            "self_test": [asdict(probe) for probe in probes],
            "ok": ok,
        }
        sys.stdout.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    else:
        _show([*_about(about), *_files(about, differences), *_probes(probes)])
    return 0 if ok else 1


@contextmanager
def _said_below() -> Iterator[None]:
    """The warning of ``load_model`` is part of the screen."""
    logger = logging.getLogger("llave.models.loaded.compare")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _about(about: "Overview") -> Iterator[Row]:
    yield "", "model", about.name
    yield "", "network", f"{about.network} ({about.family})"
    yield "", "parameters", f"{about.parameters:,}, {about.dtype} on {about.device}"
    cut = f", may be cut to {', '.join(map(str, about.matryoshka))}" if about.matryoshka else ""
    yield "", "vector", f"{about.dimension} numbers, {'length 1' if about.normalised else 'any length'}{cut}"
    yield "", "pooling", about.pooling
    yield "", "takes", ", ".join(about.takes)
    yield "", "reads", "texts of any length" if about.max_tokens is None else f"{about.max_tokens} tokens"
    yield "", "a text", _literal(about.text)
    if about.picture is not None:
        from llave.models.overview import FRAMES, SIZE

        size = "x".join(map(str, SIZE))
        yield "", "with a picture", _literal(about.fused)
        yield "", f"picture {size}", about.picture
        if about.film is not None:
            yield "", f"{FRAMES} such frames", about.film
    yield "", "prompts", ", ".join(f"{key} {_literal(value)}" for key, value in about.prompts.items()) or "none"
    weights, training = _size(about.weights_bytes), _size(about.training_bytes)
    yield "", "memory", f"{weights} of weights; to train all of them {training}, activations aside"


def _size(size: int) -> str:
    unit, one = next((unit for unit in _UNITS if size >= unit[1]), _UNITS[-1])
    return f"{size / one:.1f} {unit}"


def _files(about: "Overview", differences: list["Difference"]) -> Iterator[Row]:
    if about.directory is None:
        yield "", "files", "not opened from files: nothing to compare"
    elif not differences:
        yield "ok", "files", f"loaded as {about.directory} says"
    for one in differences:
        remedy = f"; {one.remedy}" if one.remedy else ""
        yield _EFFECT[one.effect], one.part, f"{one.name}: {one.where} says {one.file}, loaded is {one.loaded}{remedy}"


def _probes(probes: list["Probe"]) -> Iterator[Row]:
    for probe in probes:
        yield "ok" if probe.ok else "FAILED", probe.name, f"{probe.measured} ({probe.wanted})"


def _literal(words: str | None) -> str:
    """In quotes, with newlines as ``\\n``: the last one may be the token that is pooled."""
    return "-" if words is None else json.dumps(words, ensure_ascii=False)


def _show(rows: list[Row]) -> None:
    rows = [(mark, printable(name), printable(said)) for mark, name, said in rows]
    if not sys.stdout.isatty():
        sys.stdout.write("".join(f"{mark:<9}{name:<27}{said}\n" for mark, name, said in rows))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    for mark, name, said in rows:
        style = _STYLE.get(mark, "")
        table.add_row(Text(mark, style), Text(name, "bold"), Text(said, overflow="fold"))
    Console(highlight=False).print(table)
