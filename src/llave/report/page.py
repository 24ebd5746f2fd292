"""Reports as pages: one HTML file each, self-contained, for any browser, offline. One script runs, which sorts and
filters; the page's policy names its hash, so that no other does. Without it the page shows the same."""

import base64
import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from llave.files import write_text
from llave.report.titles import group_title, metric_title

__all__ = ["cosine", "percent", "signed", "versions", "write_page"]

TEMPLATES = Path(__file__).parent / "templates"
PACKAGES = ("llave", "torch", "transformers", "sentence-transformers")


def write_page(path: Path, template: str, **values: Any) -> None:
    """Fill in a template of ``templates/``; what comes from data is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "cosine": cosine, "signed": signed, "interval": _interval}
    environment.globals |= {"group_title": group_title, "metric_title": metric_title}
    script = (TEMPLATES / "page.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {"script": Markup(script), "script_hash": Markup(f"sha256-{digest}")}
    html = environment.get_template(template).render(**values)
    write_text(path, html)


def versions() -> dict[str, str]:
    """Versions for a table of settings."""
    lines = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            lines[package] = version(package)
        except PackageNotFoundError:  # llave run from its source tree
            lines[package] = "not installed as a package"
    return lines


def percent(fraction: float | None) -> str:
    """``0.5`` is ``"50.0"``."""
    return "none" if fraction is None else f"{100 * fraction:.1f}"


def cosine(value: float | None) -> str:
    """Two decimals."""
    return "none" if value is None else f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


def signed(fraction: float) -> str:
    """A difference in points, with its sign."""
    return f"{100 * fraction:+.1f}".replace("-", "\N{MINUS SIGN}")


def _interval(ends: tuple[float, float]) -> str:
    return f"{percent(ends[0])} to {percent(ends[1])}"
