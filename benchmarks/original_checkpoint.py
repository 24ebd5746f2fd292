"""A checkpoint of random weights as the original LLaVE code saves one, of any size, written a shard at a time."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, product
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel

__all__ = ["SIZES", "Sizes", "write_checkpoint"]

SHARD_BYTES = 500_000_000
VISION = "model.vision_tower.vision_tower.vision_model."


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of a Qwen2 language model and the SigLIP tower before it. ``vocabulary``: tokens without the special ones."""

    width: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int
    rows: int
    vocabulary: int = 151_643
    vision_width: int = 1152
    vision_inner: int = 4304
    vision_layers: int = 26
    vision_heads: int = 16
    image_size: int = 384
    patch_size: int = 14


SIZES = {
    "0.5b": Sizes(width=896, inner=4864, layers=24, heads=14, key_value_heads=2, rows=151_936),
    "2b": Sizes(width=1536, inner=8960, layers=28, heads=12, key_value_heads=2, rows=151_936),
}
"""Qwen2-0.5B and Qwen2.5-1.5B behind so400m-patch14-384 without its last layer: LLaVE-0.5B and LLaVE-2B."""


def write_checkpoint(directory: Path, sizes: Sizes, *, dtype: torch.dtype = torch.bfloat16) -> int:
    """Configuration, a tokenizer of the vocabulary's size and weights; returns the number of parameters.

    The memory in use stays below two shards.
    """
    directory.mkdir(parents=True)
    _write_configuration(directory, sizes)
    _write_tokenizer(directory, sizes.vocabulary)
    generator = torch.Generator().manual_seed(0)
    weight_map: dict[str, str] = {}
    state: dict[str, torch.Tensor] = {}
    parameters = 0

    def flush() -> None:
        file = f"model-{len(set(weight_map.values())) + 1:05d}.safetensors"
        save_file(state, directory / file)
        weight_map.update(dict.fromkeys(state, file))
        state.clear()

    for name, shape in _tensors(sizes):
        if sum(value.nbytes for value in state.values()) > SHARD_BYTES:
            flush()
        value = torch.empty(shape, dtype=dtype)
        if "norm" in name and name.endswith("weight"):
            value.fill_(1.0)
        else:
            value.normal_(0.0, 0.02, generator=generator)
        state[name] = value
        parameters += value.numel()
    flush()
    index = {"metadata": {}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return parameters


def _tensors(sizes: Sizes) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes; the language model's head is its embedding."""
    yield "model.embed_tokens.weight", (sizes.rows, sizes.width)
    keys = sizes.width * sizes.key_value_heads // sizes.heads
    for number in range(sizes.layers):
        layer = f"model.layers.{number}."
        for part, out in (("q", sizes.width), ("k", keys), ("v", keys)):
            yield f"{layer}self_attn.{part}_proj.weight", (out, sizes.width)
            yield f"{layer}self_attn.{part}_proj.bias", (out,)
        yield f"{layer}self_attn.o_proj.weight", (sizes.width, sizes.width)
        yield f"{layer}mlp.gate_proj.weight", (sizes.inner, sizes.width)
        yield f"{layer}mlp.up_proj.weight", (sizes.inner, sizes.width)
        yield f"{layer}mlp.down_proj.weight", (sizes.width, sizes.inner)
        yield f"{layer}input_layernorm.weight", (sizes.width,)
        yield f"{layer}post_attention_layernorm.weight", (sizes.width,)
    yield "model.norm.weight", (sizes.width,)
    yield "model.image_newline", (sizes.width,)
    for part, into in (("0", sizes.vision_width), ("2", sizes.width)):
        yield f"model.mm_projector.{part}.weight", (sizes.width, into)
        yield f"model.mm_projector.{part}.bias", (sizes.width,)
    wide = sizes.vision_width
    yield f"{VISION}embeddings.patch_embedding.weight", (wide, 3, sizes.patch_size, sizes.patch_size)
    yield f"{VISION}embeddings.patch_embedding.bias", (wide,)
    yield f"{VISION}embeddings.position_embedding.weight", ((sizes.image_size // sizes.patch_size) ** 2, wide)
    for number in range(sizes.vision_layers):
        layer = f"{VISION}encoder.layers.{number}."
        shapes = {f"self_attn.{part}": (wide, wide) for part in ("q_proj", "k_proj", "v_proj", "out_proj")}
        shapes |= {"mlp.fc1": (sizes.vision_inner, wide), "mlp.fc2": (wide, sizes.vision_inner)}
        for name, shape in shapes.items():
            yield f"{layer}{name}.weight", shape
            yield f"{layer}{name}.bias", shape[:1]
        for name in ("layer_norm1", "layer_norm2"):
            yield f"{layer}{name}.weight", (wide,)
            yield f"{layer}{name}.bias", (wide,)
    yield f"{VISION}post_layernorm.weight", (wide,)
    yield f"{VISION}post_layernorm.bias", (wide,)


def _write_configuration(directory: Path, sizes: Sizes) -> None:
    config = {
        "architectures": ["LlavaQwenForCausalLM"],
        "model_type": "llava_qwen",
        "alpha": 9.0,
        "hidden_size": sizes.width,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.key_value_heads,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "max_position_embeddings": 32768,
        "hidden_act": "silu",
        "mm_vision_tower": "google/siglip-so400m-patch14-384",
        "image_aspect_ratio": "anyres_max_9",
    }
    (directory / "config.json").write_text(json.dumps(config))
    vision = {
        "num_attention_heads": sizes.vision_heads,
        "image_size": sizes.image_size,
        "patch_size": sizes.patch_size,
    }
    (directory / "vision_config.json").write_text(json.dumps(vision))


def _write_tokenizer(directory: Path, vocabulary: int) -> None:
    """Bytes, then pairs of bytes, then pairs and a byte, as many as the vocabulary has room for."""
    letters = sorted(ByteLevel.alphabet())
    longer = ((first + second, third) for first, second, third in product(letters, repeat=3))
    merges = list(islice(chain(product(letters, letters), longer), max(vocabulary - len(letters), 0)))
    tokens = [*letters, *(left + right for left, right in merges)]
    (directory / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges))
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 4096,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
