"""Shared fixtures: the untrained nano model, a small one that hears, and a few real pictures drawn by the test."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from sentence_transformers import SentenceTransformer

from llave import load_model
from llave.data.cache import cache_directory
from llave.models.model import EmbeddingModel
from tests.models.tiny_backbones import build


@pytest.fixture(scope="session")
def nano_untouched() -> SentenceTransformer:
    """One nano model for tests that only read it."""
    return load_model("nano", device="cpu")


@pytest.fixture(scope="session")
def hearing_model(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingModel:
    """A small random EmbeddingGemma 2, for tests that only read it."""
    return load_model(build("embedding_gemma2", tmp_path_factory.mktemp("hearing")), device="cpu")


@pytest.fixture
def picture() -> Callable[[int], Image.Image]:
    """Pictures that differ: coloured shapes of different sizes."""

    def draw(number: int) -> Image.Image:
        image = Image.new("RGB", (48 + 8 * (number % 5), 64), (40 * number % 255, 90, 200 - 30 * number % 200))
        ImageDraw.Draw(image).ellipse((4, 4, 20 + 5 * number, 40), fill=(255, 255 - 20 * number % 255, 10))
        return image

    return draw


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder() -> Iterator[Path]:
    """Of this process and of what it starts, so that a look into it finds what the tests made and nobody else."""
    with tempfile.TemporaryDirectory(prefix="t-") as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", name)  # short: Ray's sockets have room for 107 letters
        patch.setattr(tempfile, "tempdir", name)
        yield Path(name)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Converted rows of the tests stay out of the user's cache; the sample's packages are shared with it."""
    packages = cache_directory() / "sample"
    packages.mkdir(parents=True, exist_ok=True)
    cache = tmp_path_factory.mktemp("cache")
    (cache / "sample").symlink_to(packages)
    before = os.environ.get("LLAVE_CACHE")
    os.environ["LLAVE_CACHE"] = str(cache)
    yield
    del os.environ["LLAVE_CACHE"]
    if before is not None:
        os.environ["LLAVE_CACHE"] = before


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests index is not what the user has indexed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLAVE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session", autouse=True)
def same_arithmetic() -> Iterator[None]:
    """The tests compute in the same type whatever the machine is quick in; those of the choice say what they want."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLAVE_BFLOAT16", "never")  # in their subprocesses, too
        yield
