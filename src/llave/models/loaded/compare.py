"""What was loaded beside what the checkpoint's own files say. Reads those files alone, never the network.

``load_model`` warns of what changes vectors; ``llave doctor MODEL`` shows all of it.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sentence_transformers.sentence_transformer.modules import Transformer

from llave.data.door import named
from llave.data.fetched import local
from llave.errors import DataError
from llave.models.loaded.difference import Difference
from llave.models.loaded.modules import module_differences, opening_options, transformer_folder
from llave.models.loaded.processors import processor_differences
from llave.models.loaded.template import template_differences
from llave.models.loaded.tokenizer import tokenizer_differences
from llave.models.loaded.weights import weight_differences

if TYPE_CHECKING:
    from llave.models.model import Prepared

__all__ = ["compare", "folder_of", "warn_of_differences"]

log = logging.getLogger(__name__)


def compare(model: "Prepared", *, thorough: bool = False) -> list[Difference]:
    """Every difference, those that change vectors first; none for a model that was not opened from files.

    Args:
        thorough: read the tokenizer's vocabulary too, and tokenize a few texts with it.

    Raises:
        DataError: a file of the checkpoint that cannot be read.
    """
    directory = folder_of(model)
    if directory is None:
        return []
    order = ("vectors", "perhaps", "none")
    with named(str(directory), "cannot be compared with the open model"):  # its files may hold anything
        return sorted(_all(model, directory, thorough), key=lambda one: order.index(one.effect))


def folder_of(model: "Prepared") -> Path | None:
    """The directory that a model was opened from, or its snapshot in the hub's cache; None without either."""
    if not model.source:
        return None
    if (folder := local(Path(model.source))).is_dir():
        return folder
    if "/" not in model.source or not isinstance(model[0], Transformer):
        return None
    from huggingface_hub import try_to_load_from_cache

    revision = getattr(model[0].config, "_commit_hash", None)
    found = try_to_load_from_cache(model.source, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def warn_of_differences(model: "Prepared") -> None:
    """One line about what changes vectors, through the logger of this module; nothing where all is as the files say."""
    try:
        found = [one for one in compare(model) if one.effect == "vectors"]
    except DataError as error:
        log.warning("%s: not compared with its checkpoint: %s", model.source, error)
        return
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        log.warning(
            "%s: what was loaded is not what its files say, and changes vectors: %s%s; see llave doctor %s",
            model.source, found[0], more, model.source,
        )  # fmt: skip


def _all(model: "Prepared", directory: Path, thorough: bool) -> Iterator[Difference]:
    yield from module_differences(model, directory)
    transformer = model[0]
    if not isinstance(transformer, Transformer):
        return
    folder = transformer_folder(directory)
    tokenizer, processor, options = transformer.tokenizer, transformer.processor, opening_options(folder)
    if tokenizer is not None:
        yield from tokenizer_differences(
            tokenizer,
            folder,
            options,
            longest=model.max_seq_length,
            lowered=transformer.do_lower_case,
            thorough=thorough,
        )
    yield from template_differences(processor, transformer.config, tokenizer, folder, options)
    yield from processor_differences(processor, folder, options)
    yield from weight_differences(transformer, folder)
