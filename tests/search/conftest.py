"""Another model than the untrained nano."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from llave import load_model
from llave.models.nano_build import build_nano
from tests.search.postgres_server import stop_server


@pytest.fixture(scope="session", autouse=True)
def no_server_stays(own_temporary_folder: Path) -> Iterator[None]:
    """It goes before the folder that it is in does."""
    yield
    stop_server()


@pytest.fixture(scope="session")
def other_nano(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    """Of other weights, and of shorter vectors."""
    folder: Path = tmp_path_factory.mktemp("other") / "model"
    build_nano(device="cpu", seed=1).save_pretrained(str(folder))
    model = load_model(folder, device="cpu")
    model.truncate_dim = 128
    return model
