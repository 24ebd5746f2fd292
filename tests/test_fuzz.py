"""A little of the mutation fuzz: no file of any format ends in anything but a result or one line of error.

The whole of it is ``python -m benchmarks.fuzz``, its results benchmarks/results/fuzz.json.
"""

import logging

import pytest

from benchmarks.fuzz import fuzz
from benchmarks.fuzz_formats import FORMATS


@pytest.mark.parametrize("name", FORMATS)
def test_broken_files(name: str) -> None:
    """A fiftieth of a whole run, and other ones."""
    number = FORMATS[name].mutations // 50
    logging.disable(logging.CRITICAL)  # guesses of an encoding, in thousands
    try:
        outcomes = list(fuzz(name, 0, number, seed=20_000))
    finally:
        logging.disable(logging.NOTSET)
    kinds = [kind for kind, _ in outcomes]
    assert [said for kind, said in outcomes if kind == "finding"] == []
    assert {"taken", "refused"} <= set(kinds)
    assert len(kinds) == number
