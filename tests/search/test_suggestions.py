"""Suggested queries are words of the index that several items have."""

import dataclasses
from pathlib import Path

import numpy as np

from llave.search.lance import LanceStore
from llave.search.store import Row
from llave.search.suggestions import suggestions
from tests.search.test_schema import D, row


def made(tmp_path: Path, rows: list[Row]) -> LanceStore:
    store = LanceStore(tmp_path / "db", D)
    store.upsert(rows)
    return store


def test_values_that_several_items_have(tmp_path: Path) -> None:
    kinds = ["wild cat", "old boat", "paper lamp", "green door", "stone bridge", "tall tower", "red kite", "blue jar"]
    rows = [
        row(f"{number:03}", what=kinds[number % 8], split="train" if number % 2 else "held out", name=f"n{number}")
        for number in range(80)
    ]
    found = suggestions(made(tmp_path, rows))
    assert len(found) == 7
    assert set(found) <= set(kinds)  # neither names of single items, nor a field of two values


def test_tags_are_taken_apart(tmp_path: Path) -> None:
    tags = ["harbour, sunset", "harbour, fog", "market, rain", "market, fruit", "forest, fog", "forest, deer", "", ""]
    rows = [row(f"{number:03}", tags=tags[number % 8]) for number in range(64)]
    found = suggestions(made(tmp_path, rows), count=3)
    assert len(set(found) & {"harbour", "market", "forest", "fog", "sunset", "rain", "fruit", "deer"}) == 3


def test_of_sentences_words_that_stand_together(tmp_path: Path) -> None:
    things = ["old lighthouse", "wooden bridge", "snowy mountain", "crowded station", "quiet garden", "yellow tram"]
    rng = np.random.default_rng(0)
    rows = []
    for number in range(120):
        text = f"this is the {things[number % 6]} that was seen at {rng.integers(1000, 9999)} by me"
        rows.append(dataclasses.replace(row(f"{number:03}"), text=text))
    found = suggestions(made(tmp_path, rows), count=6)
    assert set(found) == set(things)


def test_nothing_in_common_suggests_nothing(tmp_path: Path) -> None:
    assert suggestions(made(tmp_path, [row(f"{number}", code=f"{number:08}") for number in range(30)])) == []
