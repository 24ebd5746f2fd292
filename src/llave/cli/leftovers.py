"""What a command did not use, in words: never silence."""

from collections.abc import Mapping

from llave.terminal import printable

__all__ = ["CHUNKS", "cut_lines", "left_out_lines"]

CHUNKS = "--chunk_tokens makes several items of a text"


def left_out_lines(left_out: Mapping[str, int]) -> list[str]:
    """One line of all that no item was made of, the most frequent first."""
    if not left_out:
        return []
    parts = sorted(left_out.items(), key=lambda part: (-part[1], part[0]))
    return ["left out: " + ", ".join(f"{number:,} {printable(what)}" for what, number in parts)]


def cut_lines(cut: int, longest: int | None, *, way_out: str = "") -> list[str]:
    """One line of texts of which the model does not read the end."""
    if not cut:
        return []
    texts = "1 text is" if cut == 1 else f"{cut:,} texts are"
    return [
        f"{texts} longer than the {longest} tokens that the model reads, and what comes after them does not count"
        f"{way_out and '; '}{way_out}"
    ]
