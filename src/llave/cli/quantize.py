"""``--quantize int8``: a model opened so, and one line that says what it costs."""

import sys
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from llave.collection.collection import Collection, Columns

if TYPE_CHECKING:
    from llave.encode.item import Item
    from llave.evaluation.benchmarks import Benchmark
    from llave.models.int8 import Quantize
    from llave.models.model import EmbeddingModel
    from llave.storage.location import Location

__all__ = ["of_benchmark", "of_collection", "open_quantized"]

ROWS = 8
"""Of a data set: a query and a candidate each."""


def open_quantized(
    name: str,
    *,
    device: str | None,
    dtype: str | None,
    quantize: "Quantize | None",
    sample: "Callable[[EmbeddingModel], Sequence[Item]]",
    prompt: str | None = None,
) -> "EmbeddingModel":
    """The model; in int8, its cosines to its own float32 vectors over a sample are a line on stderr.

    Args:
        sample: called with the open model.
        prompt: before every item; None is the model's own for documents.

    Raises:
        UserError: see :func:`llave.load_model`.
    """
    from llave.encode.quantized import quantize_measured
    from llave.models.int8 import quantized_dtype, require_int8
    from llave.models.open import load_model

    if quantize != "int8":
        return load_model(name, device=device, dtype=dtype)
    require_int8(device)
    model = load_model(name, device="cpu", dtype=quantized_dtype(dtype))
    prompt = model.prompts.get("document") if prompt is None else prompt
    sys.stderr.write(f"llave: {quantize_measured(model, sample(model), prompt=prompt or '')}\n")
    return model


def of_collection(path: "Location", columns: Columns) -> "Callable[[EmbeddingModel], Sequence[Item]]":
    """The first items of a folder, a table or archives."""

    opened: list[
        Collection
    ] = []  # as long as its items are used: files of a bucket are here as long as their collection is

    def sample(model: "EmbeddingModel") -> "Sequence[Item]":
        from llave.collection.entry import Entry
        from llave.collection.open import open_collection
        from llave.encode.quantized import SAMPLE

        collection = open_collection(path, columns, sounds=model.supports("audio"))
        opened.append(collection)
        return list(islice((entry.item for entry in collection if isinstance(entry, Entry)), SAMPLE))

    return sample


def of_benchmark(benchmark: "Benchmark") -> "Callable[[EmbeddingModel], Sequence[Item]]":
    """Queries and candidates of the first rows of its first data sets."""

    def sample(model: "EmbeddingModel") -> "Sequence[Item]":
        from llave.encode.quantized import SAMPLE
        from llave.encode.table import ItemTable
        from llave.errors import UserError

        table = ItemTable()
        for task in benchmark.tasks:
            try:
                rows = task.read().rows[:ROWS]
            except UserError:  # the evaluation says so
                continue
            for row in rows:
                for item in (row.query, *row.candidates[:1]):
                    table.add(task.folder, item)
            if len(table) >= SAMPLE:
                break
        return [table.item(number) for number in range(min(len(table), SAMPLE))]

    return sample
