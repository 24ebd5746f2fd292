"""The original LLaVE forward, transcribed for the tests from its description: torch and PIL, nothing of transformers.

Image tiles, SigLIP, projector, un-padding with a newline per row, Qwen2, the last position after the final norm.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

VISION = "model.vision_tower.vision_tower.vision_model."


def embed(
    state: dict[str, Tensor], facts: dict[str, Any], pieces: list[list[int]], image: Image.Image | None
) -> Tensor:
    """Embedding (D,) of token ids with a picture between the two pieces, or of one piece without a picture."""
    table = state["model.embed_tokens.weight"]
    parts = [table[torch.tensor(piece, dtype=torch.long)] for piece in pieces]
    if image is not None:
        parts.insert(1, visual_tokens(state, facts, image))
    hidden_TD = torch.cat(parts)
    for layer in range(facts["layers"]):
        hidden_TD = decoder_layer(state, f"model.layers.{layer}.", hidden_TD, facts)
    last_D = rms_norm(hidden_TD, state["model.norm.weight"], facts["eps"])[-1]
    return F.normalize(last_D, dim=0)


def visual_tokens(state: dict[str, Tensor], facts: dict[str, Any], image: Image.Image) -> Tensor:
    """(tokens, D): the whole picture, then its tiles without padding, each row ended by the newline vector."""
    side = facts["image_size"]
    pixels, (wide, high) = tiles(image, side)
    features = siglip(state, pixels, facts)
    features = F.linear(
        F.gelu(linear(state, "model.mm_projector.0", features)),
        state["model.mm_projector.2.weight"],
        state["model.mm_projector.2.bias"],
    )
    base, rest = features[0], features[1:]
    patches = side // facts["patch_size"]
    grid = rest.view(high, wide, patches, patches, -1).permute(4, 0, 2, 1, 3)
    grid = grid.reshape(grid.shape[0], high * patches, wide * patches)
    grid = unpad(grid, image.size)
    newline = state["model.image_newline"][:, None, None].expand(-1, grid.shape[1], 1)
    grid = torch.cat([grid, newline], dim=2).flatten(1).T
    return torch.cat([base, grid])


def tiles(image: Image.Image, side: int) -> tuple[Tensor, tuple[int, int]]:
    """Pixels (1 + tiles, 3, side, side) in [-1, 1], and the grid's width and height in tiles."""
    width, height = image.size
    best, best_key = (side, side), (-1, -math.inf)
    for wide in (1, 2):
        for high in (1, 2):
            scale = min(wide * side / width, high * side / height)
            effective = min(int(width * scale) * int(height * scale), width * height)
            key = (effective, -(wide * side * high * side - effective))
            if key > best_key:
                best, best_key = (wide * side, high * side), key
    scale_w, scale_h = best[0] / width, best[1] / height
    if scale_w < scale_h:
        size = (best[0], min(math.ceil(height * scale_w), best[1]))
    else:
        size = (min(math.ceil(width * scale_h), best[0]), best[1])
    padded = Image.new("RGB", best, (0, 0, 0))
    padded.paste(image.resize(size), ((best[0] - size[0]) // 2, (best[1] - size[1]) // 2))
    pictures = [image.resize((side, side))]
    for top in range(0, best[1], side):
        pictures += [padded.crop((left, top, left + side, top + side)) for left in range(0, best[0], side)]
    pixels = np.stack([np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) for picture in pictures])
    return torch.from_numpy((pixels / 255 - 0.5) / 0.5), (best[0] // side, best[1] // side)


def unpad(grid_DHW: Tensor, size: tuple[int, int]) -> Tensor:
    width, height = size
    rows, columns = grid_DHW.shape[1:]
    if width / height > columns / rows:
        padding = (rows - int(height * columns / width)) // 2
        return grid_DHW[:, padding : rows - padding]
    padding = (columns - int(width * rows / height)) // 2
    return grid_DHW[:, :, padding : columns - padding]


def siglip(state: dict[str, Tensor], pixels: Tensor, facts: dict[str, Any]) -> Tensor:
    """Output of the last layer, before any further norm: (pictures, patches, vision width)."""
    patch = F.conv2d(
        pixels,
        state[VISION + "embeddings.patch_embedding.weight"],
        state[VISION + "embeddings.patch_embedding.bias"],
        stride=facts["patch_size"],
    )
    hidden = patch.flatten(2).transpose(1, 2) + state[VISION + "embeddings.position_embedding.weight"]
    for number in range(facts["vision_layers"]):
        name = f"{VISION}encoder.layers.{number}."
        normed = layer_norm(state, name + "layer_norm1", hidden)
        query, key, value = (
            heads(linear(state, f"{name}self_attn.{part}_proj", normed), facts["vision_heads"]) for part in "qkv"
        )
        attention = F.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), dim=-1) @ value
        hidden = hidden + linear(state, name + "self_attn.out_proj", attention.transpose(1, 2).flatten(2))
        inner = F.gelu(
            linear(state, name + "mlp.fc1", layer_norm(state, name + "layer_norm2", hidden)), approximate="tanh"
        )
        hidden = hidden + linear(state, name + "mlp.fc2", inner)
    return hidden


def decoder_layer(state: dict[str, Tensor], name: str, hidden_TD: Tensor, facts: dict[str, Any]) -> Tensor:
    """Qwen2: RMSNorm, causal attention with rotary positions and shared keys, SwiGLU."""
    normed = rms_norm(hidden_TD, state[name + "input_layernorm.weight"], facts["eps"])
    query = rotate(heads(linear(state, name + "self_attn.q_proj", normed), facts["heads"]), facts["theta"])
    key = rotate(heads(linear(state, name + "self_attn.k_proj", normed), facts["kv_heads"]), facts["theta"])
    value = heads(linear(state, name + "self_attn.v_proj", normed), facts["kv_heads"])
    repeat = facts["heads"] // facts["kv_heads"]
    key, value = key.repeat_interleave(repeat, 0), value.repeat_interleave(repeat, 0)
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    length = hidden_TD.shape[0]
    scores = scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), -torch.inf)
    attention = (F.softmax(scores, dim=-1) @ value).transpose(0, 1).flatten(1)
    hidden_TD = hidden_TD + attention @ state[name + "self_attn.o_proj.weight"].T
    normed = rms_norm(hidden_TD, state[name + "post_attention_layernorm.weight"], facts["eps"])
    gate = F.silu(normed @ state[name + "mlp.gate_proj.weight"].T) * (normed @ state[name + "mlp.up_proj.weight"].T)
    return hidden_TD + gate @ state[name + "mlp.down_proj.weight"].T


def rotate(value_HTE: Tensor, theta: float) -> Tensor:
    half = value_HTE.shape[-1] // 2
    frequency = theta ** (-torch.arange(half, dtype=torch.float32) / half)
    angle = torch.arange(value_HTE.shape[1], dtype=torch.float32)[:, None] * frequency
    cosine, sine = angle.cos(), angle.sin()
    first, second = value_HTE[..., :half], value_HTE[..., half:]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


def heads(value: Tensor, number: int) -> Tensor:
    """(…, tokens, width) to (…, heads, tokens, width / heads)."""
    return value.unflatten(-1, (number, -1)).transpose(-2, -3)


def rms_norm(value: Tensor, weight: Tensor, eps: float) -> Tensor:
    return value * torch.rsqrt(value.square().mean(-1, keepdim=True) + eps) * weight


def layer_norm(state: dict[str, Tensor], name: str, value: Tensor) -> Tensor:
    return F.layer_norm(value, value.shape[-1:], state[name + ".weight"], state[name + ".bias"], 1e-6)


def linear(state: dict[str, Tensor], name: str, value: Tensor) -> Tensor:
    return F.linear(value, state[name + ".weight"], state[name + ".bias"])
