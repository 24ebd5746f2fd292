"""``llave index MODEL FOLDER``, and what else is done with an index: ``llave index check | sources | …``."""

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from llave.cli import index_check, index_field, index_late, index_pipeline, index_sources, index_upgrade
from llave.cli.defaults import INDEX
from llave.cli.leftovers import CHUNKS, cut_lines, cut_sound_lines, error_lines, left_out_lines
from llave.cli.parsing import parse
from llave.cli.quantize import of_collection, open_quantized
from llave.collection.collection import Columns
from llave.errors import UserError
from llave.storage.location import Location

if TYPE_CHECKING:
    from llave.models.model import EmbeddingModel
    from llave.search.words import Words

__all__ = ["IndexConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """An index of what can be searched.

    Args:
        model: a model directory, a hub id, or "nano".
        input: a folder (pictures, videos, sounds, .txt and .md texts, PDF documents), a table (.parquet, .jsonl, .json,
            .csv, .tsv) or .tar archives; also in object storage, as s3://bucket/photos.
        index: folder of the index; made if it is not there, else brought up to date.
        columns: which column of a table holds what.
        item_prompt: before every item; null is the model's own for documents.
        query_prompt: before every query; null is the model's own for queries.
        frames: frames of a video; null is as when the index was made, 8 for a new one.
        max_pixels: of a picture; one with more is left out.
        qdrant: address of a Qdrant server that is to hold the vectors; null keeps them in the folder, with LanceDB.
            Its key is $QDRANT_API_KEY.
        postgres: address of a PostgreSQL database with pgvector that is to hold them, e.g.
            postgresql://me@db.example.org/photos. Its password is $PGPASSWORD, or of ~/.pgpass, or of the same address
            in $LLAVE_POSTGRES; one in this address is kept nowhere.
        collection: name of the collection on that server, or of the table in that database's schema llave.
        chunk_tokens: a text of more tokens becomes several items, and hits say which part; null leaves texts whole, of
            which the model may not read the end.
        batch_size: items per forward pass at most.
        tokens_per_batch: tokens per forward pass at most, padding included; null fits the device.
        words: what `llave search` finds by its words: any of "text", "path" and names of fields, comma-separated;
            "all" is every text there is, "none" switches it off. null is as before, "all" at first.
        words_language: whose endings are cut off, so that "dogs" finds "dog", e.g. English or German; "none" leaves
            words as they are. null is as before, English at first.
        weigh: find out how words and vectors are best weighed, by queries made of the index's own items.
        exact_below: with fewer items, a search compares all of them.
        map: compute the two-dimensional map.
        check_content: read files again whose size and time are as before, and those that could not be embedded.
        allow_empty: remove everything if the folder has nothing any more.
        strict: end with 1 for known errors, too.
        seed: of the map and of the queries that measure recall.
        device: e.g. cpu or cuda; null is the best there is.
        dtype: of the weights, e.g. bfloat16; null is as when the index was made; for a new one, bfloat16 where the
            device multiplies in it and as stored elsewhere.
        quantize: int8 puts linear layers into int8, on a processor; none does not. null is as when the index was made,
            none for a new one.
        json: print what was done as JSON.
    """

    model: str
    input: Location
    index: Location = INDEX
    columns: Columns = field(default_factory=Columns)
    item_prompt: str | None = None
    query_prompt: str | None = None
    frames: int | None = None
    max_pixels: int = 400_000_000
    qdrant: str | None = None
    postgres: str | None = None
    collection: str = "items"
    chunk_tokens: int | None = None
    batch_size: int = 64
    tokens_per_batch: int | None = None
    words: str | None = None
    words_language: str | None = None
    weigh: bool = True
    exact_below: int = 20_000
    map: bool = True
    check_content: bool = False
    allow_empty: bool = False
    strict: bool = False
    seed: int = 0
    device: str | None = None
    dtype: str | None = None
    quantize: Literal["none", "int8"] | None = None
    json: bool = False


def run(argv: list[str]) -> int:
    """Bring the index up to date; 1 if an item could not be embedded, unless that was known."""
    if argv and argv[0] in COMMANDS:
        return COMMANDS[argv[0]](argv[1:])
    config = parse(
        IndexConfig,
        argv,
        command="index",
        description="Make a folder or table searchable, or bring its index up to date: only what is new or has "
        "changed is embedded, and what is gone is removed. Example: llave index runs/quickstart/models/hardness photos "
        "--index photos.index. Killed, the same command goes on. `llave index check photos.index` measures recall "
        "and speed, and with --small what fewer bytes would find; `llave index pipeline` shows and sets the stages of "
        "a search; `llave index late` keeps token vectors; `llave index field` gives items a field of your own; `llave "
        "index sources`, `move`, `remove` and `upgrade` (each with --help) are about where its items come from and "
        "which model embeds them. A model directory of such a name is written ./sources.",
        positional=("model", "input"),
        existing={"input": ""},
    )
    if (config.frames is not None and config.frames < 1) or config.seed < 0:
        raise UserError(f"frames {config.frames}, seed {config.seed}: at least 1 and 0")
    from llave.search.build import build_index
    from llave.search.options import BuildOptions
    from llave.terminal import quiet_libraries

    quiet_libraries()
    options = BuildOptions(
        item_prompt=config.item_prompt,
        query_prompt=config.query_prompt,
        num_frames=config.frames,
        qdrant=config.qdrant,
        postgres=config.postgres,
        collection=config.collection,
        chunk_tokens=config.chunk_tokens,
        batch_size=config.batch_size,
        tokens_per_batch=config.tokens_per_batch,
        max_pixels=config.max_pixels,
        check_content=config.check_content,
        allow_empty=config.allow_empty,
        words=_words(config),
        weigh=config.weigh,
        exact_below=config.exact_below,
        make_map=config.map,
        seed=config.seed,
    )
    model = _opened(config)
    index, report = build_index(config.index, model, config.input, columns=config.columns, options=options)
    if config.json:
        sys.stdout.write(json.dumps(vars(report)) + "\n")
    else:
        sys.stdout.write(f"{config.index}: {index.count():,} items; {report}\n")
    for line in (
        *error_lines(report.errors, report.known, config.index / "errors.jsonl"),
        *report.notes,
        *left_out_lines(report.left_out),
        *cut_lines(report.cut, model.max_seq_length, way_out=CHUNKS),
        *cut_sound_lines(report.cut_sounds, model),
    ):
        sys.stderr.write(f"llave: {line}\n")
    return int(len(report.errors) > (0 if config.strict else len(report.known)))


def _opened(config: IndexConfig) -> "EmbeddingModel":
    """The model as the index remembers it; of a new index as it was asked for."""
    from llave.models.open import load_model
    from llave.models.precision import eval_dtype
    from llave.search.index import Index
    from llave.search.info import read_info

    if not Index.exists(config.index):
        return open_quantized(
            config.model,
            device=config.device,
            dtype=eval_dtype(config.dtype, config.device, config.quantize),
            quantize=config.quantize,
            sample=of_collection(config.input, config.columns),
            prompt=config.item_prompt,
        )
    info = read_info(config.index)
    quantize = config.quantize or info.quantize
    device = config.device or ("cpu" if info.quantize == "int8" else None)
    return load_model(config.model, device=device, dtype=config.dtype or info.dtype, quantize=quantize)


def _words(config: IndexConfig) -> "Words | None":
    """What was said of them; None of nothing."""
    from llave.search.index import Index
    from llave.search.info import read_info
    from llave.search.words import Words

    if config.words is None and config.words_language is None:
        return None
    before = read_info(config.index).words if Index.exists(config.index) else Words()
    sources = ", ".join(before.sources or ("none",)) if config.words is None else config.words
    return Words.parse(sources, config.words_language or before.language)


COMMANDS = {
    "check": index_check.check,
    "pipeline": index_pipeline.pipeline,
    "sources": index_sources.sources,
    "move": index_sources.move,
    "remove": index_sources.remove,
    "upgrade": index_upgrade.upgrade,
    "late": index_late.late,
    "field": index_field.field,
}
"""Words in the place of the model."""
