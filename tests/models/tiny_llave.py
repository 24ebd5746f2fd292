"""A tiny random checkpoint in the original LLaVE layout, with a byte-level tokenizer."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor

from tests.models.original_llave import VISION

FACTS: dict[str, Any] = {
    "layers": 2, "heads": 4, "kv_heads": 2, "eps": 1e-6, "theta": 1e6, "width": 32, "inner": 48, "rows": 260,
    "image_size": 56, "patch_size": 14, "vision_layers": 2, "vision_heads": 2, "vision_width": 24, "vision_inner": 40,
}  # fmt: skip


def write_tokenizer(directory: Path) -> None:
    """Qwen2's, without merges: one token per byte, then <|im_end|>, <|endoftext|>, <|im_start|> (259 in all)."""
    vocabulary = {character: number for number, character in enumerate(sorted(ByteLevel.alphabet()))}
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    (directory / "merges.txt").write_text("#version: 0.2\n")
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 4096,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


def random_state(*, tied: bool = True, rows: int = FACTS["rows"], seed: int = 0) -> dict[str, Tensor]:
    """Tensors by the original's names."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def matrix(name: str, out: int, into: int, *, bias: bool = True) -> None:
        state[name + ".weight"] = torch.randn(out, into, generator=generator) / into**0.5
        if bias:
            state[name + ".bias"] = 0.1 * torch.randn(out, generator=generator)

    def norm(name: str, width: int, *, bias: bool = False) -> None:
        state[name + ".weight"] = 1 + 0.2 * torch.randn(width, generator=generator)
        if bias:
            state[name + ".bias"] = 0.1 * torch.randn(width, generator=generator)

    width, vision_width, keys = (
        FACTS["width"],
        FACTS["vision_width"],
        FACTS["width"] * FACTS["kv_heads"] // FACTS["heads"],
    )
    state["model.embed_tokens.weight"] = torch.randn(rows, width, generator=generator)
    for number in range(FACTS["layers"]):
        name = f"model.layers.{number}."
        for part, out in (("q", width), ("k", keys), ("v", keys)):
            matrix(f"{name}self_attn.{part}_proj", out, width)
        matrix(name + "self_attn.o_proj", width, width, bias=False)
        matrix(name + "mlp.gate_proj", FACTS["inner"], width, bias=False)
        matrix(name + "mlp.up_proj", FACTS["inner"], width, bias=False)
        matrix(name + "mlp.down_proj", width, FACTS["inner"], bias=False)
        norm(name + "input_layernorm", width)
        norm(name + "post_attention_layernorm", width)
    norm("model.norm", width)
    if not tied:
        matrix("lm_head", rows, width, bias=False)
    state["model.image_newline"] = torch.randn(width, generator=generator)
    matrix("model.mm_projector.0", width, vision_width)
    matrix("model.mm_projector.2", width, width)
    patch = FACTS["patch_size"]
    state[VISION + "embeddings.patch_embedding.weight"] = 0.05 * torch.randn(
        vision_width, 3, patch, patch, generator=generator
    )
    state[VISION + "embeddings.patch_embedding.bias"] = 0.1 * torch.randn(vision_width, generator=generator)
    positions = (FACTS["image_size"] // patch) ** 2
    state[VISION + "embeddings.position_embedding.weight"] = torch.randn(positions, vision_width, generator=generator)
    for number in range(FACTS["vision_layers"]):
        name = f"{VISION}encoder.layers.{number}."
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            matrix(f"{name}self_attn.{part}", vision_width, vision_width)
        matrix(name + "mlp.fc1", FACTS["vision_inner"], vision_width)
        matrix(name + "mlp.fc2", vision_width, FACTS["vision_inner"])
        norm(name + "layer_norm1", vision_width, bias=True)
        norm(name + "layer_norm2", vision_width, bias=True)
    norm(VISION + "post_layernorm", vision_width, bias=True)
    return state


def write_checkpoint(directory: Path, state: dict[str, Tensor], *, form: str = "safetensors", shards: int = 3) -> None:
    """config.json, vision_config.json, tokenizer and weights, as the original code saves them."""
    directory.mkdir(parents=True, exist_ok=True)
    write_tokenizer(directory)
    config = {
        "architectures": ["LlavaQwenForCausalLM"],
        "model_type": "llava_qwen",
        "alpha": 9.0,
        "logit_scale": 50.0,
        "hidden_size": FACTS["width"],
        "num_attention_heads": FACTS["heads"],
        "num_key_value_heads": FACTS["kv_heads"],
        "rms_norm_eps": FACTS["eps"],
        "rope_theta": FACTS["theta"],
        "max_position_embeddings": 8192,
        "hidden_act": "silu",
        "mm_vision_tower": "tiny-siglip",
        "mm_vision_select_layer": -2,
        "image_aspect_ratio": "anyres_max_9",
    }
    (directory / "config.json").write_text(json.dumps(config))
    vision = {
        "num_attention_heads": FACTS["vision_heads"],
        "image_size": FACTS["image_size"],
        "patch_size": FACTS["patch_size"],
    }
    (directory / "vision_config.json").write_text(json.dumps(vision))
    names = list(state)
    parts = [names[number::shards] for number in range(shards)]
    if form == "safetensors":
        files = [f"model-{number + 1:05d}-of-{shards:05d}.safetensors" for number in range(shards)]
        index = directory / "model.safetensors.index.json"
    else:
        files = [f"pytorch_model-{number + 1:05d}-of-{shards:05d}.bin" for number in range(shards)]
        index = directory / "pytorch_model.bin.index.json"
    for file, part in zip(files, parts, strict=True):
        content = {name: state[name].contiguous() for name in part}
        save_file(content, directory / file) if form == "safetensors" else torch.save(content, directory / file)
    weight_map = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
