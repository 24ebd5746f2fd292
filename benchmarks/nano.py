"""Speed of the nano model on this machine: pictures/s through the vision tower, and items/s end to end.

Variants are interleaved in one process; the figures are medians of five rounds. Run: make bench
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from llave import load_model
from llave.models.nano_features import use_feature_cache
from llave.terminal import quiet_libraries

ROUNDS = 5
PICTURES = 64


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    quiet_libraries()
    model = load_model("nano", device="cpu")
    processor, network = model[0].processor, model[0].model
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)) for _ in range(PICTURES)]
    pixel = processor.pixels(pictures)
    cached = load_model("nano", device="cpu")
    use_feature_cache(cached)

    def whole_batch() -> None:
        with torch.inference_mode():
            network.vision_tower(pixel)

    variants: dict[str, Callable[[], object]] = {
        "vision tower, channels-last, 8 at a time (used)": lambda: network.vision_features(pixel),
        "vision tower, channels-last, 64 at a time": whole_batch,
        "encode pictures": lambda: model.encode(pictures, show_progress_bar=False),
        "encode pictures, features cached": lambda: cached.encode(pictures, show_progress_bar=False),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for work in variants.values():
        work()  # warm-up
    for _ in range(ROUNDS):
        for name, work in variants.items():
            times[name].append(seconds(work))
    sys.stdout.write(f"{torch.get_num_threads()} threads, torch {torch.__version__}, median of {ROUNDS}\n")
    for name, measured in times.items():
        rates = [PICTURES / value for value in measured]
        sys.stdout.write(
            f"{name:<50}{statistics.median(rates):8.1f} pictures/s ({min(rates):.0f} to {max(rates):.0f})\n"
        )


if __name__ == "__main__":
    main()
