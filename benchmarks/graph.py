"""Whether a compiled graph beats eager PyTorch on a processor: torch.compile, OpenVINO and ONNX Runtime.

Towers with random weights, in their real sizes, as they embed one item and many; one thread each, the ways interleaved.
A way whose vectors are not eager's to 1e-3 is not quicker but wrong.

OpenVINO and ONNX Runtime are no dependencies of ours: ``pip install openvino onnxruntime onnxscript`` for this.
Run: python -m benchmarks.graph --out benchmarks/results/graph_cpu.json
"""

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    Qwen2Config,
    Qwen2Model,
    SiglipTextConfig,
    SiglipTextModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from benchmarks.provenance import provenance
from benchmarks.sheet import Sheet

__all__ = ["graph_sheet"]

EAGER = "eager"
PACKAGES = {"torch.compile": "torch", "OpenVINO": "openvino", "ONNX Runtime": "onnxruntime"}
NEAR = 1e-3
Run = Callable[[Tensor], Tensor]


class Pooled(nn.Module):
    """A tower whose output is one unit vector an item: the mean of its hidden states."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.tower(x).last_hidden_state.mean(1), dim=-1)


def towers() -> dict[str, tuple[nn.Module, list[tuple[int, ...]]]]:
    """Each tower, and the shapes that it is given: of pictures, or items and tokens."""
    torch.manual_seed(0)
    base: dict[str, Any] = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    qwen: dict[str, Any] = {"hidden_size": 896, "intermediate_size": 4864, "num_attention_heads": 14}
    qwen |= {"num_hidden_layers": 6, "num_key_value_heads": 2, "vocab_size": 4096}
    vision = SiglipVisionModel(SiglipVisionConfig(**base, num_attention_heads=12, image_size=224, patch_size=16))
    text = SiglipTextModel(SiglipTextConfig(**base, num_attention_heads=12, vocab_size=4096))
    bert = BertModel(
        BertConfig(hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=12),
        add_pooling_layer=False,
    )
    return {
        "SigLIP base, pictures of 224 px": (vision, [(1, 3, 224, 224), (8, 3, 224, 224)]),
        "SigLIP base, texts": (text, [(1, 64), (16, 64)]),
        "MiniLM-L6": (bert, [(1, 16), (32, 64)]),
        "Qwen2-0.5B, 6 of its layers": (Qwen2Model(Qwen2Config(**qwen)), [(1, 16), (16, 64)]),
    }


def example(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape) if len(shape) == 4 else torch.randint(5, 4000, shape)


def compiled(module: nn.Module, _: Tensor) -> Run:
    return torch.compile(module, dynamic=True)


def openvino(module: nn.Module, given: Tensor) -> Run:
    import openvino as ov  # type: ignore[import-not-found]

    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    graph = ov.Core().compile_model(ov.convert_model(module, example_input=given), "CPU", settings)
    return lambda x: torch.from_numpy(graph(x.numpy())[0])


def onnxruntime(module: nn.Module, given: Tensor) -> Run:
    import onnxruntime as ort  # type: ignore[import-not-found]

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        items = torch.export.Dim("items", min=1, max=4096)
        lengths = {0: items} if given.ndim == 4 else {0: items, 1: torch.export.Dim("tokens", min=2, max=512)}
        torch.onnx.export(module, (given,), file, dynamo=True, dynamic_shapes=(lengths,), verbose=False)
        session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


WAYS: dict[str, Callable[[nn.Module, Tensor], Run]] = {
    "torch.compile": compiled,
    "OpenVINO": openvino,
    "ONNX Runtime": onnxruntime,
}


@torch.inference_mode()
def measure(module: nn.Module, shapes: list[tuple[int, ...]], rounds: int) -> list[dict[str, Any]]:
    """Of each way: seconds until its first answers, and milliseconds and the farthest number from eager's by shape."""
    inputs = [example(shape) for shape in shapes]
    runs: dict[str, Run] = {EAGER: module}
    ready, failed = {EAGER: 0.0}, {}
    for name, make in WAYS.items():
        start = time.process_time()
        try:
            with torch.inference_mode(mode=False), torch.no_grad():
                run = make(module, example((2, *shapes[-1][1:])))
            for given in inputs:
                run(given)
        except Exception as error:  # whatever a converter raises at a model that it does not take is its result
            failed[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
            continue
        runs[name], ready[name] = run, time.process_time() - start
    found = []
    for shape, given in zip(shapes, inputs, strict=True):
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                start = time.process_time()
                run(given)
                times[name].append(time.process_time() - start)
        expected = module(given)
        for name, run in runs.items():
            far = float((run(given) - expected).abs().max())
            found.append({"shape": shape, "way": name, "ms": median(times[name]) * 1e3, "farthest": far})
            found[-1] |= {"ready_s": ready[name]}
    return [*found, *({"way": name, "failed": why} for name, why in failed.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="towers whose name contains this")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name, (tower, shapes) in towers().items():
        if args.only in name:
            found[name] = measure(Pooled(tower.eval()), shapes, args.rounds)
            sys.stderr.write(f"{name}: {json.dumps(found[name])}\n")
    versions = {way: importlib.metadata.version(package) for way, package in PACKAGES.items()}
    result = {**provenance(), "rounds": args.rounds, "load": round(os.getloadavg()[0], 1)}
    result |= {"capability": torch.backends.cpu.get_cpu_capability(), "versions": versions, "towers": found}
    sys.stdout.write(graph_sheet(result))
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


def graph_sheet(found: dict[str, Any]) -> str:
    """The table, as Markdown."""
    ways = [EAGER, *found["versions"]]
    rows = []
    for tower, measured in found["towers"].items():
        shapes = list(dict.fromkeys(tuple(each["shape"]) for each in measured if "shape" in each))
        for shape in shapes:
            by_way = {each["way"]: each for each in measured if tuple(each.get("shape", ())) == shape}
            eager = by_way[EAGER]["ms"]
            cells = [_cell(by_way.get(way), eager) for way in ways[1:]]
            size = f"{shape[0]}" if len(shape) == 4 else f"{shape[0]} of {shape[1]} tokens"
            rows.append((tower, size, f"{eager:.0f} ms", *cells))
    versions = ", ".join(f"{way} {version}" for way, version in found["versions"].items())
    title = (
        f"How many times as fast as eager, and CPU seconds until the first answers; one thread, median of "
        f"{found['rounds']} ({versions}; {found['capability']}; {found['machine']}; load {found['load']}; commit "
        f"{found['commit'][:7]}{'+' * found['commit'].endswith('+')}):"
    )
    columns = ("tower", "items", "eager", *ways[1:])
    return Sheet(title=title, caption="", columns=columns, rows=rows, words=frozenset({"tower", "items"})).markdown()


def _cell(measured: dict[str, Any] | None, eager: float) -> str:
    if measured is None:
        return "does not take it"
    wrong = f", off by {measured['farthest']:.0e}" if measured["farthest"] > NEAR else ""
    return f"{eager / measured['ms']:.2f}, {measured['ready_s']:.0f} s{wrong}"


if __name__ == "__main__":
    main()
