"""Slices of a preprocessed batch that mixes texts, pictures and videos in any way.

sentence-transformers slices what it preprocessed, but some things that it takes for one per sample are not:
LLaVA-OneVision's counts of pictures (samples without one have none) and its videos, Qwen2.5-VL's seconds per frame (one
per video), EmbeddingGemma 2's frames and sounds, and SmolVLM's rows of padding where a sample has no picture.
"""

from typing import Any

import torch
from sentence_transformers.base.losses.gradcache import _create_minibatch
from torch import Tensor

from llave.models.model import SOUND_COUNTS
from llave.models.towers import MIXED, slice_mixed

__all__ = ["by_length", "create_minibatch", "like_lengths"]

TEXT = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
CUTS = 8
PIECE_COST = 128
"""Tokens that one more pass costs: of 64 to 512 the best, with 64, for the nano model's captions on a CPU."""


def by_length(
    features: dict[str, Any], *, video_token_id: int | None, fixed_length: bool = False
) -> tuple[dict[str, Any], Tensor | None]:
    """The column's samples from the shortest to the longest, so that mini-batches hold samples of like lengths.

    Args:
        features: what ``SentenceTransformer.preprocess`` returned, padded.
        video_token_id, fixed_length: see :func:`create_minibatch`.

    Returns:
        The column, and the place of each of its old samples in it; None where it is in order already.
    """
    mask = features.get("attention_mask")
    if fixed_length or not isinstance(mask, Tensor) or mask.ndim != 2 or "cu_seq_lens_q" in features:
        return features, None
    length_B = mask.sum(1)
    if bool((length_B[1:] >= length_B[:-1]).all()):
        return features, None
    order_B = length_B.argsort(stable=True)
    samples = [
        create_minibatch(features, int(row), int(row) + 1, video_token_id=video_token_id) for row in order_B.tolist()
    ]
    sorted_features: dict[str, Any] = {}
    for key, value in features.items():
        parts = [sample[key] for sample in samples if isinstance(sample.get(key), Tensor)]
        if not isinstance(value, Tensor):
            sorted_features[key] = value
        elif len(value) == len(samples) and all(len(part) <= 1 for part in parts):
            sorted_features[key] = value[order_B]
        else:  # pictures, patches: any number of them per sample
            sorted_features[key] = torch.cat(parts)
    return sorted_features, order_B.argsort()


def like_lengths(length_B: Tensor) -> list[tuple[int, int]]:
    """Pieces, from where to where, of samples sorted by their tokens, whose padding and number cost least together.

    Cuts stand at eighths of the samples.
    """
    number = len(length_B)
    ends = sorted({number * eighth // CUTS for eighth in range(CUTS + 1)})
    best: dict[int, tuple[float, list[tuple[int, int]]]] = {0: (0.0, [])}
    for end in ends[1:]:
        longest = int(length_B[end - 1])
        costs = (
            (best[begin][0] + longest * (end - begin) + PIECE_COST, [*best[begin][1], (begin, end)])
            for begin in ends
            if begin < end
        )
        best[end] = min(costs)
    return best[number][1]


def create_minibatch(
    features: dict[str, Any], begin: int, end: int, *, video_token_id: int | None, fixed_length: bool = False
) -> dict[str, Any]:
    """Samples ``begin`` to ``end`` of a column.

    Args:
        features: what ``SentenceTransformer.preprocess`` returned.
        video_token_id: placeholder of a video in ``input_ids``, for models that do not say how many a sample has.
        fixed_length: the model reads every text at the same length (SigLIP: what stands last is its vector), so that
            padding is no waste to be dropped.
    """
    if features.get("modality") == MIXED:
        return slice_mixed(features, begin, end)
    part = _create_minibatch(features, begin, end)
    if fixed_length:
        part |= {name: features[name][begin:end] for name in TEXT if isinstance(features.get(name), Tensor)}
    images = features.get("num_images_per_sample")
    if images is not None and "batch_num_images" in features:
        of_samples = images[begin:end]
        part["batch_num_images"] = of_samples[of_samples > 0]
    videos = features.get("pixel_values_videos")
    if videos is not None:
        counts = features.get("num_videos_per_sample")
        if counts is not None:
            first, last = _span(counts, begin, end)
        elif video_token_id is not None:
            first, last = _video_range(features["input_ids"], video_token_id, len(videos), begin, end)
        else:
            first, last = begin, end
        frames = features.get("num_frames_per_video")
        if frames is not None:  # the frames of all videos on one axis
            part["num_frames_per_video"] = frames[first:last]
            start, stop = _span(frames, first, last)
            part |= {name: features[name][start:stop] for name in ("pixel_values_videos", "video_position_ids")}
        elif "video_grid_thw" not in features:
            part["pixel_values_videos"] = videos[first:last]
        seconds = features.get("second_per_grid_ts")
        if seconds is not None:
            part["second_per_grid_ts"] = torch.as_tensor(seconds)[first:last]
    sounds = features.get(SOUND_COUNTS)
    if sounds is not None:
        start, stop = _span(sounds, begin, end)
        part |= {name: features[name][start:stop] for name in ("input_features", "input_features_mask")}
    mask = part.get("pixel_attention_mask")
    if isinstance(mask, Tensor) and not mask.any():
        part["pixel_values"] = part["pixel_values"][:0]
        part["pixel_attention_mask"] = mask[:0]
    return {key: value for key, value in part.items() if not (isinstance(value, Tensor) and value.numel() == 0)}


def _span(count_N: Tensor, begin: int, end: int) -> tuple[int, int]:
    """First and last of what the entries from ``begin`` to ``end`` count."""
    return int(count_N[:begin].sum()), int(count_N[:end].sum())


def _video_range(input_ids_BT: Tensor, token: int, num_videos: int, begin: int, end: int) -> tuple[int, int]:
    """Which videos belong to the samples: each takes the same number of placeholders."""
    tokens_B = (input_ids_BT == token).sum(1)
    before_B = torch.cat([tokens_B.new_zeros(1), tokens_B.cumsum(0)])
    per_video = max(int(before_B[-1]) // max(num_videos, 1), 1)
    return int(before_B[begin]) // per_video, int(before_B[min(end, len(tokens_B))]) // per_video
