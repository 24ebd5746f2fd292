"""A CLIP at its real size, with random weights: the class and sizes of ``openai/clip-vit-base-patch32``.

The directory is as transformers 4 and 5 both read it, with the settings in files of the older form, as on the hub. Its
tokenizer knows the words of :data:`benchmarks.serve.WORDS` and single letters and digits. ``config.json`` says
``max_length``: without it transformers 4 takes it for 20, and infinity cuts a CLIP's texts there.
"""

import json
from itertools import chain
from pathlib import Path

import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

from benchmarks.photo_folder import tell_apart
from benchmarks.serve import WORDS

__all__ = ["BASE", "write_clip"]

TEXT = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
VISION = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
BASE = (TEXT, VISION)
VOCABULARY, LENGTH, PROJECTION = 49_408, 77, 512
START, END = "<|startoftext|>", "<|endoftext|>"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def write_clip(
    directory: Path, sizes: tuple[dict[str, int], dict[str, int]] = BASE, *, side: int = 224, patch: int = 32
) -> Path:
    """A random ``CLIPModel`` with its processor. Pictures and texts that differ have vectors that differ.

    Args:
        sizes: of the tower for texts, and of that for pictures.
        side: of a picture, in pixels.
    """
    torch.manual_seed(0)
    text, vision = sizes
    ids = {"bos_token_id": VOCABULARY - 2, "eos_token_id": VOCABULARY - 1, "pad_token_id": VOCABULARY - 1}
    config = transformers.CLIPConfig(
        text_config={**text, "vocab_size": VOCABULARY, "max_position_embeddings": LENGTH, **ids},
        vision_config={**vision, "image_size": side, "patch_size": patch},
        projection_dim=PROJECTION,
    )
    network = transformers.CLIPModel(config)
    tell_apart(network)
    network.save_pretrained(directory)
    said = json.loads((directory / "config.json").read_text("utf-8"))
    (directory / "config.json").write_text(json.dumps({**said, "max_length": LENGTH}), "utf-8")
    vocabulary, merges = _pieces()
    names = {f"{name}_token": END for name in ("eos", "unk", "pad")} | {"bos_token": START}
    for name, content in (
        ("vocab", vocabulary),
        ("tokenizer_config", {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, **names}),
        ("special_tokens_map", names),
        (
            "preprocessor_config",
            {
                "image_processor_type": "CLIPImageProcessor", "processor_class": "CLIPProcessor", "do_resize": True,
                "size": {"shortest_edge": side}, "resample": 3, "do_center_crop": True,
                "crop_size": {"height": side, "width": side}, "do_rescale": True, "rescale_factor": 1 / 255,
                "do_normalize": True, "image_mean": MEAN, "image_std": STD, "do_convert_rgb": True,
            },
        ),
    ):  # fmt: skip
        (directory / f"{name}.json").write_text(json.dumps(content))
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    return directory


def _pieces() -> tuple[dict[str, int], list[str]]:
    """Vocabulary and merges of CLIP's byte pairs: a piece that ends a word has a mark for it."""
    letters = sorted(ByteLevel.alphabet())
    merges: dict[str, None] = {}
    for word in dict.fromkeys(WORDS.split()):
        done, *rest = [*word[:-1], f"{word[-1]}</w>"]
        for letter in rest:
            merges[f"{done} {letter}"] = None
            done += letter
    joined = (merge.replace(" ", "") for merge in merges)
    pieces = list(dict.fromkeys(chain(letters, (f"{letter}</w>" for letter in letters), joined)))
    pieces += [f"<|unused {number}|>" for number in range(len(pieces), VOCABULARY - 2)]
    return {piece: number for number, piece in enumerate([*pieces, START, END])}, list(merges)
