"""float32, bfloat16 and int8 on a processor: ``python -m benchmarks.precision MODEL DATA --out FILE``.

Time is that of random stacks, of MiniLM's width and of Qwen2-0.5B's, on one thread and in CPU seconds, so that what
else runs on the machine counts little; variants take turns. Quality is that of a trained model: scores on an MMEB
folder, cosines to its own float32 vectors, and whether an item alone and the same item in a batch have one vector.
"""

import argparse
import copy
import importlib.util
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.provenance import provenance
from benchmarks.sheet import Sheet
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.compare import paired_difference
from llave.evaluation.runner import evaluate
from llave.evaluation.statistics import bootstrap_means
from llave.files import write_json
from llave.models.int8 import quantize_layers
from llave.models.model import EmbeddingModel
from llave.models.nano_features import use_feature_cache
from llave.models.open import load_model
from llave.models.precision import processor_multiplies_bfloat16
from llave.models.vision_reuse import FeatureCache

__all__ = ["answer", "quality_sheet", "speed_sheet"]

ROUNDS = 5
TOKENS = ((1, 16), (2, 32), (8, 32), (16, 32))
"""Texts and tokens of each."""
FEW = 64
"""Tokens up to which what is far slower takes part."""
TEXTS = 256
NAMES = {
    "float32": "float32",
    "bfloat16": "bfloat16",
    "int8": "int8 (llave)",
    "quantize_dynamic": "torch.ao `quantize_dynamic`",
    "torchao": "torchao int8, not compiled",
}


def dynamic(module: nn.Module) -> nn.Module:
    """torch's own: one scale for a whole activation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8)  # type: ignore[no-any-return, no-untyped-call]


def int8(module: nn.Module) -> nn.Module:
    """Ours."""
    quantize_layers(module)
    return module


def with_torchao(module: nn.Module) -> nn.Module:
    """torchao's, of a scale for each row."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    quantize_(module, Int8DynamicActivationInt8WeightConfig())
    return module


CHANGES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "float32": lambda module: module,
    "bfloat16": lambda module: module.to(torch.bfloat16),
    "int8": int8,
    "quantize_dynamic": dynamic,
    "torchao": with_torchao,
}


def stacks() -> dict[str, nn.Module]:
    """Random weights; of Qwen2, 2 of its 24 layers."""
    from transformers import BertConfig, BertModel, Qwen2Config, Qwen2Model

    torch.manual_seed(0)
    small = BertConfig(
        vocab_size=1000, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    wide = Qwen2Config(
        vocab_size=1000,
        hidden_size=896,
        num_hidden_layers=2,
        num_attention_heads=14,
        num_key_value_heads=2,
        intermediate_size=4864,
    )
    return {
        "MiniLM, 6 layers of 384": BertModel(small, add_pooling_layer=False).eval(),
        "Qwen2-0.5B, 2 layers of 896": Qwen2Model(wide).eval(),
    }


@torch.inference_mode()
def speed(stack: nn.Module) -> list[dict[str, Any]]:
    """CPU seconds of every variant, by number of tokens: the median of rounds in turns."""
    variants = {}
    for name, change in CHANGES.items():
        if name != "torchao" or importlib.util.find_spec("torchao") is not None:
            variants[name] = change(copy.deepcopy(stack))
    cells = []
    quick = processor_multiplies_bfloat16()
    for texts, length in TOKENS:
        slow = () if texts * length <= FEW else ("torchao",) if quick else ("torchao", "bfloat16")
        used = {name: module for name, module in variants.items() if name not in slow}
        embeds_BTD = torch.randn(texts, length, stack.config.hidden_size)  # type: ignore[union-attr, arg-type]
        seconds: dict[str, list[float]] = {name: [] for name in used}
        for round_ in range(ROUNDS + 1):
            for name, module in used.items():
                taken = _seconds(module, embeds_BTD.bfloat16() if name == "bfloat16" else embeds_BTD)
                if round_:  # the first one warms up
                    seconds[name].append(taken)
        cells.append(
            {"texts": texts, "tokens": texts * length, "seconds": {n: statistics.median(s) for n, s in seconds.items()}}
        )
        sys.stderr.write(f"{cells[-1]}\n")
    return cells


def _seconds(module: nn.Module, embeds_BTD: Tensor) -> float:
    start = time.process_time()
    module(inputs_embeds=embeds_BTD)
    return time.process_time() - start


def quality(model: str, data: str, tasks: str, limit: int, features: Path) -> dict[str, Any]:
    """Scores and cosines of every precision, and CPU seconds for texts.

    The nano model's picture tower, convolutions alone, is in float32 for all of them, and its features are kept.
    """
    benchmark = get_benchmark(data, tasks=tasks)
    texts = _texts(benchmark, TEXTS)
    found: dict[str, Any] = {}
    vectors: dict[str, NDArray[np.float32]] = {}
    hits: dict[str, NDArray[np.float64]] = {}
    cache: FeatureCache | None = None
    for name in ("float32", "bfloat16", "int8", "quantize_dynamic"):
        network = _opened(model, name)
        vectors[name], seconds = _vectors(network, texts, 64)
        alone, _ = _vectors(network, texts[:FEW], 1)
        about = {
            "text_ms": 1000 * seconds / len(texts),
            **_cosines("float32", vectors[name], vectors["float32"]),
            **_cosines("alone", alone, vectors[name][:FEW]),
        }
        if name == "bfloat16" and not processor_multiplies_bfloat16():  # emulated: its scores take too long
            found[name] = about
            continue
        if name == "float32":
            cache = use_feature_cache(network, features)
        elif cache is not None:
            processor: Any = network[0].processor
            processor.feature_cache = cache
        result = evaluate(network, benchmark, limit=limit, progress=False)
        if cache is not None:
            cache.save()
        hits[name] = np.concatenate([task.correct for task in result.tasks.values()]).astype(np.float64)
        about |= {"p_at_1": float(hits[name].mean()), "queries": len(hits[name])}
        draws = bootstrap_means(hits[name] - hits["float32"])
        change = paired_difference("all", hits["float32"], hits[name], draws)
        kept = {"value": change.difference, "won": change.won, "lost": change.lost}
        found[name] = {**about, "difference": {**kept, "ci95": list(change.ci95)}}
        sys.stderr.write(f"{name} {found[name]}\n")
    return found


def _opened(path: str, precision: str) -> EmbeddingModel:
    if precision == "bfloat16":
        return load_model(path, device="cpu", dtype="bfloat16").eval()
    if precision == "int8":
        return load_model(path, device="cpu", quantize="int8").eval()
    model = load_model(path, device="cpu", dtype="float32").eval()
    if precision == "quantize_dynamic":
        model[0] = dynamic(model[0])
    return model


def _texts(benchmark: Any, most: int) -> list[str]:
    """Of the first data sets' rows, different ones."""
    seen: dict[str, None] = {}
    for task in benchmark.tasks:
        for row in task.read().rows:
            for item in (row.query, *row.candidates):
                if item.text and not item.image:
                    seen[item.text] = None
    return list(seen)[:most]


def _vectors(model: EmbeddingModel, texts: list[str], batch: int) -> tuple[NDArray[np.float32], float]:
    """Unit vectors (N, D), and CPU seconds."""
    start = time.process_time()
    found = np.asarray(model.encode(texts, batch_size=batch, show_progress_bar=False), np.float32)
    seconds = time.process_time() - start
    return found / np.linalg.norm(found, axis=1, keepdims=True), seconds


def _cosines(name: str, one: NDArray[np.float32], other: NDArray[np.float32]) -> dict[str, float]:
    cosines = (one * other).sum(1, dtype=np.float64)
    return {f"{name}_least": float(cosines.min()), f"{name}_mean": float(cosines.mean())}


def speed_sheet(found: Mapping[str, Any]) -> Sheet:
    """Milliseconds of float32, and the others as times as fast."""
    rows = []
    for stack, cells in found["speed"].items():
        for cell in cells:
            base = cell["seconds"]["float32"]
            others = [cell["seconds"].get(name) for name in NAMES if name != "float32"]
            times = ["" if taken is None else f"{base / taken:.2f}" for taken in others]
            rows.append([stack, f"{cell['texts']} × {cell['tokens'] // cell['texts']}", f"{1000 * base:,.1f}", *times])
    return Sheet(
        title="Forward passes of random weights: float32 in milliseconds of CPU time, the others as times as fast "
        f"(below 1 is slower); median of {found['rounds']} rounds in turns, {_machine(found)}:",
        caption="",
        columns=("stack", "texts × tokens", "float32, ms", *(NAMES[name] for name in NAMES if name != "float32")),
        rows=rows,
        words=frozenset({"stack"}),
        apart=1,
    )


def quality_sheet(found: Mapping[str, Any]) -> Sheet:
    """What each precision costs a trained model."""
    rows = []
    for name, each in found["quality"].items():
        cosines = [f"{each[f'{of}_{which}']:.4f}" for of in ("float32", "alone") for which in ("least", "mean")]
        rows.append([NAMES[name], *_scores(name, each), *cosines, f"{each['text_ms']:.2f}"])
    queries = found["quality"]["float32"]["queries"]
    return Sheet(
        title=f"A trained nano model on {queries:,} queries of the sample ({found['tasks'].replace(',', ', ')}); "
        f"cosines of {found['texts']} of its texts to float32, and of {FEW} encoded alone to the same in a batch; CPU "
        f"milliseconds a text; {_machine(found)}:",
        caption="",
        columns=(
            "precision", "P@1", "to float32 (95%)", "cosine, least", "mean", "alone and in a batch, least", "mean ",
            "ms a text",
        ),
        rows=rows,
        words=frozenset({"precision"}),
    )  # fmt: skip


def _scores(name: str, each: Mapping[str, Any]) -> tuple[str, str]:
    """Of a precision that was evaluated, and its difference to float32's."""
    if "p_at_1" not in each:
        return "", ""
    low, high = each["difference"]["ci95"]
    change = f"{100 * each['difference']['value']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{100 * each['p_at_1']:.1f}", "" if name == "float32" else change


def answer(found: Mapping[str, Any]) -> str:
    """int8 in a sentence."""
    parts = []
    for stack, cells in found["speed"].items():
        gains = [cell["seconds"]["float32"] / cell["seconds"]["int8"] for cell in cells]
        parts.append(f"{min(gains):.1f} to {max(gains):.1f} times as fast as float32 on {stack}")
    each = found["quality"]["int8"]
    low, high = (100 * end for end in each["difference"]["ci95"])
    return (
        f"int8 was {' and '.join(parts)}. A trained nano model's texts kept a cosine of {each['float32_mean']:.3f} to "
        f"their float32 vectors ({each['float32_least']:.3f} at least), and its P@1 changed by "
        f"{100 * each['difference']['value']:+.1f} points (95% interval {low:+.1f} to {high:+.1f}, {each['queries']:,} "
        f"queries; commit {found['commit'][:7]})."
    )


def _machine(found: Mapping[str, Any]) -> str:
    bfloat16 = "with" if found["bfloat16_instructions"] else "without"
    where = f"one thread of {found['machine']} ({found['capability']}, {bfloat16} bfloat16)"
    return f"{where}, torch {found['torch']}, commit {found['commit'][:7]}"


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--tasks", default="t2i,t2i_ood,i2t,i2t_ood")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--features", type=Path, required=True, help="a file for the features of pictures")
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    torch.set_num_threads(1)
    found = {
        **provenance(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16_instructions": processor_multiplies_bfloat16(),
        "rounds": ROUNDS,
        "tasks": told.tasks,
        "texts": TEXTS,
        "quality": quality(told.model, told.data, told.tasks, told.limit, told.features),
        "speed": {name: speed(stack) for name, stack in stacks().items()},
    }
    write_json(told.out, found)
    sys.stdout.write(f"{answer(found)}\n")


if __name__ == "__main__":
    main()
