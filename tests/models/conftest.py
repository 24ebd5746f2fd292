"""Small models of every family, opened once: the tests of this folder share them."""

from collections.abc import Callable

import pytest

from llave import load_model
from llave.models.model import EmbeddingModel
from tests.models.tiny_backbones import BACKBONES, build
from tests.models.tiny_encoders import bert

FAMILIES = [*sorted(BACKBONES), "nano"]
"""Those that take pictures."""


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], EmbeddingModel]:
    """A model by the name of its family, "nano", or "bert"."""
    kept: dict[str, EmbeddingModel] = {}

    def open_(name: str) -> EmbeddingModel:
        if name not in kept:
            folder = tmp_path_factory.mktemp(name)
            path = name if name == "nano" else bert(folder) if name == "bert" else build(name, folder)
            kept[name] = load_model(path, device="cpu").eval()
        return kept[name]

    return open_


@pytest.fixture(params=FAMILIES)
def any_model(request: pytest.FixtureRequest, opened: Callable[[str], EmbeddingModel]) -> EmbeddingModel:
    """Each family that takes pictures."""
    return opened(request.param)
