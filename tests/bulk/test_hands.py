"""Actors and the parts that they have in hand, on a Ray of this machine; no model is needed for that."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from llave.bulk.ray import Hands
from llave.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class Actor:
    """Makes of a part its number, and ends with one that is 13; the file counts how often."""

    def __init__(self, folder: str, model: str) -> None:
        if model == "bad":
            raise UserError("bad: no such directory")
        self.folder = folder

    def ready(self) -> None: ...

    def write(self, number: int) -> tuple[int, int, int, int]:
        with open(f"{self.folder}/{number}", "a") as file:
            file.write(".")
        if number == 13 or (number == 5 and os.path.getsize(f"{self.folder}/5") == 1):
            os._exit(1)
        if number == 8:
            raise UserError("part 8: the model takes no item at all")
        return number, 0, 0, 0


@pytest.fixture(scope="module")
def actors() -> Iterator[Any]:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray.remote(num_cpus=1, max_restarts=0)(Actor)
    ray.shutdown()


def test_a_part_whose_actor_died_goes_to_another(actors: Any, tmp_path: Any) -> None:
    """Also where the cluster has room for fewer actors than were asked for."""
    hands = Hands(lambda: actors.remote(str(tmp_path), "good"), 4)
    assert sorted(counts.vectors for counts in hands.write(range(7))) == list(range(7))
    assert (tmp_path / "5").read_text() == ".."


def test_a_part_that_actors_die_of_ends_the_run(actors: Any, tmp_path: Any) -> None:
    hands = Hands(lambda: actors.remote(str(tmp_path), "good"), 2)
    with pytest.raises(UserError, match=r"part 13: 3 Ray actors died of it"):
        list(hands.write([0, 1, 13, 2]))
    assert (tmp_path / "13").read_text() == "..."


def test_what_an_actor_says_is_one_line(actors: Any, tmp_path: Any) -> None:
    with pytest.raises(UserError, match=r"^a Ray actor failed: .*part 8: the model takes no item at all"):
        list(Hands(lambda: actors.remote(str(tmp_path), "good"), 1).write([8]))
    with pytest.raises(UserError, match=r"^a Ray actor cannot open the model: .*bad: no such directory"):
        list(Hands(lambda: actors.remote(str(tmp_path), "bad"), 1).write([0]))
