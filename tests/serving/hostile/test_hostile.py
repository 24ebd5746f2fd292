"""Every attack beside honest clients: no answer of theirs is lost or wrong, and the server gets over it.

How long its health checks and its clients wait meanwhile is measured by ``python -m benchmarks.hostile``.
"""

import os
import signal
from collections.abc import Iterator

import pytest

from benchmarks.hostile.attacks import ATTACKS
from benchmarks.hostile.siege import INDEX_GOES, REST, Siege, besieged

pytestmark = pytest.mark.slow
SECONDS = float(os.environ.get("LLAVE_SIEGE_SECONDS", 2))


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    with besieged(tmp_path_factory.mktemp("siege")) as found:
        yield found


@pytest.mark.parametrize("name", [*ATTACKS, INDEX_GOES])
def test_nothing_is_lost_or_wrong(siege: Siege, name: str) -> None:
    outcome = siege.attack(name, SECONDS)
    assert outcome.lost == []
    assert outcome.wrong == []
    assert outcome.live_failed == 0
    assert outcome.requests > 0
    assert outcome.rest_mib <= REST * outcome.base_mib


def test_it_ends_when_told_to(siege: Siege) -> None:
    siege.server.send_signal(signal.SIGTERM)
    assert siege.server.wait(90) == 0
