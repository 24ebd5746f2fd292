"""All classes of MMEB-V2's video classification, of which the rows need not name every one: lists within llave."""

from importlib.resources import files
from pathlib import Path

from llave.data.encodings import decode_text

__all__ = ["read_labels", "shipped_labels"]


def shipped_labels(name: str) -> Path | None:
    """The list of a data set that comes with llave; its first lines say where it is from."""
    path = Path(str(files(__package__) / "labels" / f"{name}.txt"))
    return path if path.is_file() else None


def read_labels(path: Path) -> list[str]:
    """One label a line, in the list's order; a line that begins with ``# `` is about the list."""
    lines = (line.strip() for line in decode_text(path.read_bytes(), str(path)).split("\n"))
    return [line for line in lines if line and not line.startswith("# ")]
