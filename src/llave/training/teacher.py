"""The vectors of a teacher, before training: every item of the rows once, from the cache where it is known.

It runs in a process of its own, which leaves neither a second model in memory nor threads that the workers, forked from
this one, would wait for. Vectors are kept in ``~/.cache/llave/embeddings`` by content, as ``llave data mine`` keeps
them: another run with the same teacher, or another process of this one, encodes nothing.
"""

import multiprocessing
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from llave.data.cache import cache_directory
from llave.data.row_ids import OWN_SPACE
from llave.data.train_table import TrainTable
from llave.encode.cache import EmbeddingCache, model_fingerprint
from llave.encode.encoder import Encoder
from llave.encode.table import ItemTable, encode_table
from llave.errors import UserError
from llave.losses.teacher import TeacherVectors
from llave.models.nano_features import use_feature_cache
from llave.models.open import load_model
from llave.training.config import DataSetConfig, TrainConfig

__all__ = ["teacher_vectors"]

VECTORS, ERROR = "vectors.safetensors", "error.txt"


def teacher_vectors(
    path: str,
    config: TrainConfig,
    tables: Mapping[str, TrainTable],
    settings: Mapping[str, DataSetConfig],
    *,
    device: str | None,
) -> TeacherVectors:
    """Of every query, positive and, where they are used, hard negative.

    Args:
        path: the teacher, as ``model``.
        settings: of the data sets: their prompts go before the items; where there is none, the teacher's default.
        device: of the teacher; None is the best there is.

    Raises:
        UserError: a teacher that cannot be opened or refuses one item after the other.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = (path, config, dict(tables), dict(settings), device, folder)
        process = multiprocessing.get_context("spawn").Process(target=_embed, args=arguments)
        process.start()
        process.join()
        if not (folder / VECTORS).is_file():
            error = folder / ERROR
            reason = error.read_text("utf-8") if error.is_file() else f"its process ended with {process.exitcode}"
            raise UserError(f"teacher: {reason}")
        found = load_file(folder / VECTORS)
    return TeacherVectors(found["query_ids"], found["query_QE"], found["target_ids"], found["target_TE"])


def _embed(
    path: str,
    config: TrainConfig,
    tables: dict[str, TrainTable],
    settings: dict[str, DataSetConfig],
    device: str | None,
    folder: Path,
) -> None:
    """In the process of the teacher."""
    try:
        model = load_model(path, device=device)
        use_feature_cache(model)
        items = ItemTable(verbatim=config.verbatim, blank=config.blank)
        queries, targets = _numbers(items, tables, settings)
        cache = EmbeddingCache(cache_directory() / "embeddings", model_fingerprint(model))
        embedding_UE = torch.from_numpy(encode_table(Encoder(model), items, cache=cache).embedding_UD)
    except UserError as error:
        (folder / ERROR).write_text(str(error), "utf-8")
        return
    state = {
        "query_ids": torch.tensor(list(queries)),
        "query_QE": embedding_UE[list(queries.values())],
        "target_ids": torch.tensor(list(targets)),
        "target_TE": embedding_UE[list(targets.values())],
    }
    save_file(state, folder / VECTORS)


def _numbers(
    items: ItemTable, tables: dict[str, TrainTable], settings: dict[str, DataSetConfig]
) -> tuple[dict[int, int], dict[int, int]]:
    """Items of the ids of queries and of targets. An id of two data sets has the prompt of the first one."""
    queries: dict[int, int] = {}
    targets: dict[int, int] = {}
    for name, table in tables.items():
        setting = settings[name]
        ids = table.ids()
        for query_id, row in zip(*(part.tolist() for part in np.unique(ids[:, 0], return_index=True)), strict=True):
            key = query_id if setting.mask_own_targets else query_id ^ OWN_SPACE  # as the rows' labels have it
            if key not in queries:
                queries[key] = items.add(table, table[row].query, setting.query_prompt)
        for target_id, row in zip(*(part.tolist() for part in np.unique(ids[:, 1], return_index=True)), strict=True):
            if target_id not in targets:
                targets[target_id] = items.add(table, table[row].positive, setting.target_prompt)
        for row in range(len(table)) if setting.hard_negatives else ():
            negative_id = table.row_ids(row)[2]
            if negative_id and negative_id not in targets:
                targets[negative_id] = items.add(table, table[row].negative, setting.target_prompt)
    return queries, targets
