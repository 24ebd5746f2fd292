"""What ``results.json`` keeps of how an evaluation was run, so that it can be repeated bit for bit."""

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llave._version import __version__
from llave.encode.cache import LIBRARIES, settings_fingerprint, weights_fingerprint
from llave.encode.encoder import TOKENS_PER_BATCH
from llave.errors import DataError
from llave.models.about import dtype_of, quantize_of

if TYPE_CHECKING:
    from sentence_transformers.base import BaseModel

__all__ = ["RunRecord", "code", "differences", "run_record", "versions"]

PACKAGES = (*LIBRARIES, "tokenizers", "numpy", "av", "pypdfium2")
"""Whose versions may change a vector or the decoding of what it is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run.

    Args:
        options: of ``llave eval``, all of them.
        versions: of llave, Python and the libraries that decide a vector.
        code: llave's git commit, and whether its files differ from it; empty where it is not run from a checkout.
        machine: device, its name, threads and what else decides the last bits.
        model: where it came from, and hashes of its weights and of its settings as loaded.
        batches: what decides which items stand in a batch together.
        preset: the preset's settings beside those that were used; empty without one.
    """

    options: dict[str, Any]
    versions: dict[str, Any]
    code: dict[str, Any]
    machine: dict[str, Any]
    model: dict[str, Any]
    batches: dict[str, Any]
    preset: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``results.json``, under ``run``."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Any, where: str) -> "RunRecord":
        """The record of a file.

        Raises:
            DataError: it is none; the message names what is missing.
        """
        if not isinstance(content, Mapping):
            raise DataError(f"{where}: no `run` in it: written before llave kept how a run was made; evaluate again")
        for field in fields(cls):
            if not isinstance(content.get(field.name), dict):
                raise DataError(f"{where}: run: {field.name}: expected an object, not {content.get(field.name)!r:.80}")
        if not all(isinstance(content["options"].get(key), str) for key in ("model", "benchmark")):
            raise DataError(f"{where}: run: options: no model and benchmark")
        return cls(**{field.name: content[field.name] for field in fields(cls)})


def run_record(model: "BaseModel", options: Mapping[str, Any], preset: Mapping[str, Any] | None = None) -> RunRecord:
    """The record of a run with an open model.

    Args:
        options: as JSON, ``batch_size``, ``tokens_per_batch`` and ``processes`` among them.
    """
    import torch

    cuda = model.device.type == "cuda"
    config: Any = getattr(getattr(model[0], "model", None), "config", None)
    budget = options.get("tokens_per_batch") or TOKENS_PER_BATCH["cuda" if cuda else "cpu"]
    return RunRecord(
        options=dict(options),
        versions=versions(),
        code=code(),
        machine={
            "device": model.device.type,
            "name": torch.cuda.get_device_name(model.device) if cuda else torch.backends.cpu.get_cpu_capability(),
            "platform": f"{platform.system()} {platform.machine()}",
            "threads": torch.get_num_threads(),
            "tf32": bool(torch.backends.cuda.matmul.allow_tf32),
        },
        model={
            "source": str(getattr(model, "source", "")),
            "revision": getattr(config, "_commit_hash", None),
            "dtype": dtype_of(model),
            **({"quantize": quantized} if (quantized := quantize_of(model)) else {}),
            "weights": weights_fingerprint(model),
            "settings": settings_fingerprint(model),
        },
        batches={
            "items": options.get("batch_size"),
            "tokens": budget,
            "processes": options.get("processes") or (torch.cuda.device_count() if cuda else 1),
        },
        preset=dict(preset or {}),
    )


def differences(then: RunRecord, now: RunRecord) -> list[str]:
    """What is not as it was, one line each: versions, code, machine, model, batches."""
    lines = []
    for part in ("versions", "code", "machine", "model", "batches"):
        before, after = getattr(then, part), getattr(now, part)
        for key in dict.fromkeys([*before, *after]):
            old, new = before.get(key), after.get(key)
            if old != new:
                lines.append(f"{part}: {key}: {_shown(old)} then, {_shown(new)} now")
    return lines


def _shown(value: Any) -> str:
    text = "none" if value is None else str(value)
    return f"{text[:12]}…" if len(text) == 64 and " " not in text else text  # of a hash its beginning


def versions() -> dict[str, Any]:
    """Of llave, Python and the libraries that decide a vector."""
    found: dict[str, Any] = {"llave": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def code() -> dict[str, Any]:
    """The commit of the checkout that llave is run from."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # the environment may lie in another project's checkout
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--", "../.."))}
    except (OSError, subprocess.SubprocessError):  # installed as a package, or there is no git
        return {}
