"""How others evaluate the same rows: VLM2Vec's way, ``SentenceTransformer.encode`` per data set, and mteb.

All read rows with our reader, decode pictures with our decoder and use the same model; they differ in what they encode,
in which batches, and in how they rank. What VLM2Vec does is written from how it behaves (arXiv 2410.05160): each data
set by itself, its distinct queries and targets in small batches as they come, a dict of vectors, per query a stack of
its candidates, a full sort and a line with the whole ranking.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch.nn import functional

from llave.data.mmeb import EvalRow, MMEBFolder, PictureFolder, RowItem
from llave.encode.item import Item, Reading
from llave.evaluation.benchmarks import get_benchmark
from llave.models.prompts import ModelInput

__all__ = ["Outcome", "encode_each", "run_mteb", "vlm2vec"]

Vectors = NDArray[np.float32]
PHASES = ("reading", "encoding", "scoring")


def loaded(item: RowItem, folder: PictureFolder) -> ModelInput:
    """An item of a row as the model takes it, for who goes without our encoder."""
    return Item(item.text, folder.image(item), folder.video(item)).load(Reading())


@dataclass(slots=True)
class Outcome:
    """What an evaluation found, and where its time went.

    Args:
        hits: hit@1 per data set.
        cosines: per data set (R, 2): of the best relevant and of the best other candidate; none where it is not told.
        phases: seconds of :data:`PHASES`.
    """

    hits: dict[str, float] = field(default_factory=dict)
    cosines: dict[str, Vectors] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of what is inside."""
        start = time.perf_counter()
        yield
        self.phases[name] += time.perf_counter() - start


def vlm2vec(model: SentenceTransformer, root: Path, *, out: Path, batch_size: int = 4) -> Outcome:
    """Batches in the order of the data set, padded to their longest; rankings are written to ``out``."""

    def encode(items: Sequence[RowItem], folder: MMEBFolder) -> Vectors:
        found = []
        for start in range(0, len(items), batch_size):
            features = model.preprocess([loaded(item, folder) for item in items[start : start + batch_size]])
            on_device = {key: value.to(model.device) if isinstance(value, torch.Tensor) else value
                         for key, value in features.items()}  # fmt: skip
            with torch.no_grad():
                embedding = functional.normalize(model(on_device)["sentence_embedding"], dim=-1)
            found.append(embedding.cpu().float().numpy())
        return np.concatenate(found)

    def rank(row: EvalRow, query: Vectors, target: dict[RowItem, Vectors], lines: Any) -> tuple[int, Vectors]:
        cosine = np.dot(np.stack([target[candidate] for candidate in row.candidates]), query)
        ranking = np.argsort(-cosine)
        lines.write(json.dumps({"prediction": ranking.tolist(), "scores": cosine[ranking].tolist()}) + "\n")
        return int(ranking[0]), cosine

    return _per_data_set(root, encode, rank, out)


def encode_each(model: SentenceTransformer, root: Path, *, out: Path, batch_size: int) -> Outcome:
    """One call of ``encode`` per side of a data set, which sorts by length and puts pictures in batches of any size."""

    def encode(items: Sequence[RowItem], folder: MMEBFolder) -> Vectors:
        inputs = [loaded(item, folder) for item in items]
        found: Vectors = model.encode(inputs, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False)
        return found

    def rank(row: EvalRow, query: Vectors, target: dict[RowItem, Vectors], lines: Any) -> tuple[int, Vectors]:
        cosine = np.stack([target[candidate] for candidate in row.candidates]) @ query
        return int(cosine.argmax()), cosine

    return _per_data_set(root, encode, rank, out)


def run_mteb(model: SentenceTransformer, root: Path, *, batch_size: int) -> Outcome:
    """``mteb.evaluate`` on our data sets with mteb's own wrapper of the model, told that the model sees pictures."""
    import mteb

    from llave.evaluation.mteb import MMEBTask

    wrapper = mteb.models.SentenceTransformerEncoderWrapper(model)
    wrapper.mteb_model_meta = wrapper.mteb_model_meta.model_copy(update={"modalities": ["text", "image"]})
    outcome = Outcome()
    with outcome.phase("reading"):
        benchmark = get_benchmark(root)
        tasks = {task.name: MMEBTask(benchmark.name, task) for task in benchmark.tasks}
    start = time.perf_counter()
    found = mteb.evaluate(
        wrapper,
        list(tasks.values()),
        cache=None,
        co2_tracker=False,
        show_progress_bar=False,
        encode_kwargs={"batch_size": batch_size, "show_progress_bar": False},
    )
    total = time.perf_counter() - start
    by_name = {result.task_name: result for result in found.task_results}
    for name, task in tasks.items():
        result = by_name[task.metadata.name]
        ((scores,),) = result.scores.values()
        outcome.hits[name] = scores["hit_rate_at_1"]
        outcome.phases["encoding"] += sum(
            phase["end"] - phase["start"] for phase in result.evaluation_phases or () if "Encoding" in phase["name"]
        )
    outcome.phases["scoring"] = total - outcome.phases["encoding"]
    return outcome


def _per_data_set(
    root: Path,
    encode: Callable[[Sequence[RowItem], MMEBFolder], Vectors],
    rank: Callable[[EvalRow, Vectors, dict[RowItem, Vectors], Any], tuple[int, Vectors]],
    out: Path,
) -> Outcome:
    folder, outcome = MMEBFolder(root), Outcome()
    for name in folder.names("eval"):
        with outcome.phase("reading"):
            rows = folder.eval(name)
            queries = list(dict.fromkeys(row.query for row in rows))
            targets = list(dict.fromkeys(candidate for row in rows for candidate in row.candidates))
        with outcome.phase("encoding"):
            query = dict(zip(queries, encode(queries, folder), strict=True))
            target = dict(zip(targets, encode(targets, folder), strict=True))
        with outcome.phase("scoring"), (out / f"{name}.jsonl").open("w") as lines:
            hits, cosines = [], []
            for row in rows:
                first, cosine = rank(row, query[row.query], target, lines)
                relevant = set(row.candidates[: len(row.gains)])
                is_relevant = np.array([candidate in relevant for candidate in row.candidates])
                hits.append(is_relevant[first])
                cosines.append((cosine[is_relevant].max(), cosine[~is_relevant].max(initial=-1.0)))
            outcome.hits[name] = float(np.mean(hits))
            outcome.cosines[name] = np.array(cosines, dtype=np.float32)
    return outcome
