"""Every attack was measured."""

from benchmarks.hostile.attacks import ATTACKS
from benchmarks.hostile.siege import INDEX_GOES
from benchmarks.pages import content


def test_every_attack_was_measured() -> None:
    assert [outcome["attack"] for outcome in content("hostile.json")["attacks"]] == [*ATTACKS, INDEX_GOES]
