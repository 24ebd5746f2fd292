"""What a user with a laptop has: a folder of photos, and SigLIP 2 at its real size, with random weights.

The model's directory is as transformers 4 and 5 both read it: the tensors of ``SiglipModel``, and the settings in files
of the older form, as on the hub.
"""

import json
import random
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from benchmarks.serve import WORDS

__all__ = ["BASE", "captions", "tell_apart", "write_model", "write_photos"]

BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
"""Each tower of ``siglip2-base-patch16-224``."""
VOCABULARY = 256_000
SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>")
QUALITY = 92
"""Of a JPEG, as cameras save it, with half the resolution of colour."""
CONTRAST, GRAIN = 60.0, 5.0
"""Of the coarsest noise and of the finest, in levels of 256."""


def write_model(
    directory: Path, sizes: dict[str, int] = BASE, *, vocabulary: int = VOCABULARY, side: int = 224
) -> Path:
    """A random ``SiglipModel`` with its processor. Pictures and texts that differ have vectors that differ.

    Args:
        side: of a picture, in pixels; in patches of 16.
    """
    torch.manual_seed(0)
    ids = {f"{name.strip('<>')}_token_id": number for number, name in enumerate(SPECIAL[:3])}
    config = transformers.SiglipConfig(
        text_config={**sizes, "vocab_size": vocabulary, "projection_size": sizes["hidden_size"], **ids},
        vision_config={**sizes, "image_size": side, "patch_size": 16},
    )
    network = transformers.SiglipModel(config)
    tell_apart(network)
    network.save_pretrained(directory)
    _tokenizer().save(str(directory / "tokenizer.json"))
    size = {"height": side, "width": side}
    half = [0.5, 0.5, 0.5]
    for name, content in (
        ("tokenizer_config", {"tokenizer_class": "PreTrainedTokenizerFast", "padding_side": "right", **_names()}),
        ("special_tokens_map", _names()),
        (
            "preprocessor_config",
            {
                "image_processor_type": "SiglipImageProcessor", "processor_class": "SiglipProcessor", "size": size,
                "do_resize": True, "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255,
                "do_normalize": True, "image_mean": half, "image_std": half,
            },
        ),
    ):  # fmt: skip
        (directory / f"{name}.json").write_text(json.dumps(content))
    return directory


def tell_apart(network: torch.nn.Module) -> None:
    """As random weights are drawn, every picture's vector is nearly the same one; with biases it is not."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias") or "position_embedding" in name:
                parameter.normal_(std=0.1)


def write_photos(folder: Path, sizes: list[tuple[int, int]], *, seed: int = 0) -> list[Path]:
    """JPEGs of noise as photos have it, fainter at every halving of the scale, with a sensor's grain. They are about as
    large, and as slow to decode, as a camera's.

    Args:
        sizes: width and height of each.
    """
    folder.mkdir(parents=True)
    paths = []
    for number, size in enumerate(sizes):
        path = folder / f"photo{number:03}.jpg"
        _photo(np.random.default_rng((seed, number)), *size).save(path, quality=QUALITY, subsampling="4:2:0")
        paths.append(path)
    return paths


def captions(number: int, *, seed: int = 0) -> list[str]:
    """Different texts of 4 to 16 words."""
    draw, words = random.Random(seed), WORDS.split()
    found: dict[str, None] = {}
    while len(found) < number:
        found[" ".join(draw.choices(words, k=draw.randint(4, 16)))] = None
    return list(found)


def _photo(draw: np.random.Generator, width: int, height: int) -> Image.Image:
    """Noise, finer by half at every step and fainter, mostly grey."""
    steps = (width // 2).bit_length()
    pixels_HWC = np.zeros((1, 1, 3), np.float32) + draw.uniform(60, 190, 3).astype(np.float32)
    for step in range(steps):
        columns, rows = -(-width >> (steps - 1 - step)), -(-height >> (steps - 1 - step))
        planes = [
            Image.fromarray(plane).resize((columns, rows), Image.Resampling.BILINEAR)
            for plane in pixels_HWC.transpose(2, 0, 1)
        ]
        contrast = GRAIN + CONTRAST * 0.6**step
        pixels_HWC = np.stack([np.asarray(plane) for plane in planes], axis=-1)
        pixels_HWC += contrast * draw.standard_normal((rows, columns, 1), np.float32)
        if step < steps - 2:  # a sensor's colours are coarser than its grey
            pixels_HWC += 0.3 * contrast * draw.standard_normal((rows, columns, 3), np.float32)
    return Image.fromarray(np.clip(pixels_HWC, 0, 255).astype(np.uint8))


def _names() -> dict[str, str]:
    return {f"{name.strip('<>')}_token": name for name in SPECIAL}


def _tokenizer() -> Tokenizer:
    """A token for each word, lower case, and the end; as in SigLIP 2 nothing of the file says how long a text is."""
    words = [*SPECIAL, *dict.fromkeys(WORDS.split())]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    return made
