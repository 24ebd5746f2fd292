"""An index of a folder, a table or archives: made, or brought up to date."""

from pathlib import Path
from typing import TYPE_CHECKING

from llave.collection.collection import Columns
from llave.collection.open import open_collection
from llave.data.frames import NUM_FRAMES
from llave.errors import UserError
from llave.models.about import model_name
from llave.models.precision import eval_dtype
from llave.search.addresses import name_postgres, postgres_address
from llave.search.index import Index
from llave.search.info import index_info, open_model, read_info
from llave.search.options import BuildOptions, BuildReport
from llave.search.update import update_index
from llave.storage.location import Location, location

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["build_index"]


def build_index(
    path: str | Location,
    model: "SentenceTransformer | str | Path",
    source: str | Location,
    *,
    columns: Columns | None = None,
    options: BuildOptions | None = None,
) -> tuple[Index, BuildReport]:
    """Open or create the index at ``path``, and bring it up to date with what is at ``source``.

    Raises:
        UserError: no such model or source, an index of another model or with other settings, or nothing to embed.
    """
    from llave.models.open import load_model

    options = options or BuildOptions()
    there = Index.exists(path)
    if isinstance(model, str | Path):
        if there:
            model = open_model(location(path), read_info(location(path)), model, device=None, dtype=None)
        else:
            model = load_model(model, dtype=eval_dtype(None, None))
    collection = open_collection(source, columns, sounds=model.supports("audio"))
    if there:
        if options.postgres is not None:
            name_postgres(options.postgres)
        index = Index.open(path, qdrant=options.qdrant)
        index.use_model(model)
        _refuse_other_settings(index, options)
    else:
        info = index_info(
            model,
            model_name(model),
            item_prompt=options.item_prompt,
            query_prompt=options.query_prompt,
            num_frames=NUM_FRAMES if options.num_frames is None else options.num_frames,
            qdrant=options.qdrant,
            postgres=options.postgres,
            collection=options.collection,
            chunk_tokens=options.chunk_tokens,
            words=options.words,
        )
        index = Index.create(path, info)
    return index, update_index(index, model, collection, source, options, columns or Columns())


def _refuse_other_settings(index: Index, options: BuildOptions) -> None:
    """What an index was made with holds for all its items."""
    info = index.info
    asked = {
        "item_prompt": (options.item_prompt, info.prompts["item"]),
        "query_prompt": (options.query_prompt, info.prompts["query"]),
        "qdrant": (options.qdrant, info.store),
        "postgres": (options.postgres and postgres_address(options.postgres), info.store),
        "chunk_tokens": (options.chunk_tokens, info.chunk_tokens),
        "frames": (options.num_frames, info.num_frames),
    }
    for name, (value, kept) in asked.items():
        if value is not None and value != kept:
            raise UserError(
                f"{index.path}: was made with {name} {kept!r}, not {value!r}; leave --{name} out, or choose another "
                "--index"
            )
