"""What a command did not use, in words: never silence."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from llave.models.sounds import hearing_of
from llave.storage.location import Location
from llave.terminal import printable

if TYPE_CHECKING:
    from sentence_transformers.base import BaseModel

    from llave.evaluation.result import Failure

__all__ = ["CHUNKS", "cut_lines", "cut_sound_lines", "error_lines", "failure_lines", "left_out_lines"]

FIRST = 10
CHUNKS = "--chunk_tokens makes several items of a text"


def error_lines(errors: Mapping[str, str], known: Collection[str], file: Location) -> list[str]:
    """The first new ones, and how many there are.

    Args:
        errors: by key.
        known: keys of those that are no news.
        file: where all of them stand.
    """
    if not errors:
        return []
    fresh = [f"left out {printable(key)}: {printable(why)}" for key, why in errors.items() if key not in set(known)]
    among = f", {len(known):,} of them known" if known else ""
    return [*fresh[:FIRST], f"all {len(errors):,} errors{among}: {file}"]


def left_out_lines(left_out: Mapping[str, int]) -> list[str]:
    """One line of all that no item was made of, the most frequent first."""
    if not left_out:
        return []
    parts = sorted(left_out.items(), key=lambda part: (-part[1], part[0]))
    return ["left out: " + ", ".join(f"{number:,} {printable(what)}" for what, number in parts)]


def failure_lines(failed: "Mapping[str, Failure]") -> list[str]:
    """A line for each data set that failed; one for all that are not there, one for each reason not to take them."""
    lines = [f"no score for {name}: {why.reason}" for name, why in failed.items() if why.kind == "failed"]
    alike: dict[str, list[str]] = {}
    for name, why in failed.items():
        if why.kind != "failed":
            alike.setdefault("not there" if why.kind == "absent" else why.reason, []).append(name)
    for reason, names in alike.items():
        more = f" and {len(names) - FIRST:,} more" if len(names) > FIRST else ""
        first = next(why.reason for name, why in failed.items() if name == names[0])
        example = f"; the first: {first}" if reason == "not there" else ""
        lines.append(f"no score for {len(names):,} data sets ({reason}): {', '.join(names[:FIRST])}{more}{example}")
    return lines


def cut_lines(cut: int, longest: int | None, *, way_out: str = "") -> list[str]:
    """One line of texts of which the model does not read the end."""
    if not cut:
        return []
    texts = "1 text is" if cut == 1 else f"{cut:,} texts are"
    return [
        f"{texts} longer than the {longest} tokens that the model reads, and what comes after them does not count"
        f"{way_out and '; '}{way_out}"
    ]


def cut_sound_lines(cut: int, model: "BaseModel") -> list[str]:
    """One line of sounds of which the model does not hear the end."""
    if not cut:
        return []
    sounds = "1 sound is" if cut == 1 else f"{cut:,} sounds are"
    heard = hearing_of(model).seconds
    return [f"{sounds} longer than the {heard:g} s that the model hears, and what comes after them does not count"]
