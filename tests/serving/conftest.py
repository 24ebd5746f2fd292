"""One server for each module, with the untrained nano model."""

import copy
from collections.abc import Iterator

import pytest
import torch
from sentence_transformers import SentenceTransformer

from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from llave.serving.limits import Limits
from tests.serving.running import Running, running

PROMPTS = {"query": "find: ", "document": "about: "}


@pytest.fixture(scope="module")
def server(nano_untouched: SentenceTransformer) -> Iterator[Running]:
    before = dict(nano_untouched.prompts)
    nano_untouched.prompts.update(PROMPTS)
    engine = Engine(nano_untouched, name="nano", aliases=["also/nano"], dimensions=[64, 128])
    with running(engine, AppOptions(limits=Limits(items=64))) as found:
        yield found
    nano_untouched.prompts.clear()
    nano_untouched.prompts.update(before)


@pytest.fixture(scope="session")
def retrained(nano_untouched: SentenceTransformer) -> SentenceTransformer:
    """The nano model with other weights."""
    model = copy.deepcopy(nano_untouched)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=generator)
    return model
