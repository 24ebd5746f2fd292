"""A nano model's vision features: computed once per picture, and brought to one scale before it is trained."""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from sentence_transformers.base import BaseModel

from llave.data.training_pictures import load_picture
from llave.errors import DataError
from llave.models import nano, nano_pair
from llave.models.vision_reuse import FeatureCache
from llave.progress import show_progress
from llave.storage.location import Location

__all__ = ["standardise_features", "use_feature_cache"]

CALIBRATION_PICTURES = 4096


def use_feature_cache(model: BaseModel, path: Path | None = None) -> FeatureCache | None:
    """Let a nano model compute each picture's vision features once; None for other models.

    Args:
        path: a safetensors file that keeps the features between processes.
    """
    processor = model[0].processor
    network = model[0].model
    if not isinstance(processor, nano.NanoProcessor) or not isinstance(
        network, (nano.NanoModel, nano_pair.NanoPairModel)
    ):
        return None
    network.vision_tower.requires_grad_(False)

    def compute(pictures: list[Any]) -> torch.Tensor:
        pixel = processor.pixels(pictures).to(network.device)
        return network.vision_features(pixel).cpu()

    processor.feature_cache = FeatureCache(compute, path=path, fingerprint=_vision_fingerprint(processor, network))
    return processor.feature_cache


def standardise_features(
    model: BaseModel,
    cache: FeatureCache,
    pictures: Sequence[Location],
    seed: int,
    *,
    console: Console | None = None,
) -> None:
    """Fit an untrained nano model's feature statistics to pictures; a trained model keeps its own.

    Args:
        pictures: files; at most ``CALIBRATION_PICTURES`` of them, drawn by ``seed``, are used. One that does not
            open is left out.
        console: where progress is shown; None is stderr.
    """
    network = model[0].model
    if not isinstance(network, nano.NanoModel) or network.is_standardised or not pictures:
        return
    chosen = random.Random(seed).sample(pictures, min(len(pictures), CALIBRATION_PICTURES))
    features = []
    with show_progress(console=console) as work:
        work.stage("vision features", len(chosen), unit="pictures")
        for start in range(0, len(chosen), cache.batch_size):
            paths = chosen[start : start + cache.batch_size]
            if opened := _that_open(paths):
                features.append(cache.features(opened))
            work.advance(len(paths))
    if features:
        network.standardise(torch.cat(features))


def _that_open(paths: Sequence[Location]) -> list[Any]:
    """The pictures, without those that cannot be decoded: training notes them when it meets them."""
    opened = []
    for path in paths:
        try:
            opened.append(load_picture(path))
        except DataError:
            continue
    return opened


def _vision_fingerprint(processor: nano.NanoProcessor, network: nano.NanoModel | nano_pair.NanoPairModel) -> str:
    digest = hashlib.sha256(processor.image_processor.to_json_string().encode())
    if isinstance(network, nano_pair.NanoPairModel):
        digest.update(b"depths")
    digest.update(str(network.config.grid).encode())
    for name, value in sorted(network.vision_tower.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()
