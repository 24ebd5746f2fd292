"""A random LLaVA-OneVision of any size: real classes and processors, a byte-level tokenizer made on the spot."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from sentence_transformers import SentenceTransformer
from tokenizers.pre_tokenizers import ByteLevel

from llave.models.open import load_model

__all__ = ["SHAPES", "Shape", "byte_tokenizer", "shaped_model"]

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>{% endfor %}"
)
"""Short: a byte-level tokenizer would make a long system turn longer than the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a SigLIP tower and a Qwen2 language model. ``side``: of a tile, in pixels of 14 x 14 patches."""

    side: int
    vision_width: int
    vision_hidden: int
    vision_layers: int
    vision_heads: int
    text_width: int
    text_hidden: int
    text_layers: int
    text_heads: int
    text_key_value_heads: int


SHAPES = {
    # LLaVE-0.5B's share of work between vision and language, for two CPU cores.
    "tiny": Shape(
        side=112, vision_width=256, vision_hidden=1024, vision_layers=6, vision_heads=4,
        text_width=256, text_hidden=784, text_layers=4, text_heads=4, text_key_value_heads=4,
    ),
    "0.5b": Shape(
        side=384, vision_width=1152, vision_hidden=4304, vision_layers=26, vision_heads=16,
        text_width=896, text_hidden=4864, text_layers=24, text_heads=14, text_key_value_heads=2,
    ),
}  # fmt: skip


def byte_tokenizer(directory: Path, special: tuple[str, ...] = SPECIAL) -> transformers.Qwen2Tokenizer:
    """One token per byte, and the special ones."""
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = {character: number for number, character in enumerate(sorted(ByteLevel.alphabet()))}
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    (directory / "merges.txt").write_text("#version: 0.2\n")
    made = transformers.Qwen2Tokenizer.from_pretrained(
        directory, pad_token="<|endoftext|>", eos_token="<|im_end|>", model_max_length=8192
    )
    made.add_special_tokens({"additional_special_tokens": list(special)})
    return made


def shaped_model(
    shape: Shape, directory: Path, *, device: torch.device, dtype: torch.dtype = torch.float32, tiles: int = 1
) -> SentenceTransformer:
    """The model in training mode with a frozen vision tower; written to ``directory`` on the way.

    A picture becomes two tiles, itself and itself again, as every small picture does in LLaVE.

    Args:
        tiles: at most so many in a row and in a column, beside the whole picture.
    """
    torch.manual_seed(0)
    tokens: Any = byte_tokenizer(directory / "tokenizer")
    size = {"height": shape.side, "width": shape.side}
    sides = [shape.side * number for number in range(1, tiles + 1)]
    pinpoints = [[height, width] for height in sides for width in sides]
    config = transformers.LlavaOnevisionConfig(
        text_config={
            "model_type": "qwen2", "hidden_size": shape.text_width, "intermediate_size": shape.text_hidden,
            "num_hidden_layers": shape.text_layers, "num_attention_heads": shape.text_heads,
            "num_key_value_heads": shape.text_key_value_heads, "vocab_size": len(tokens), "bos_token_id": None,
            "eos_token_id": tokens.eos_token_id, "pad_token_id": tokens.pad_token_id,
        },
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": shape.vision_width,
            "intermediate_size": shape.vision_hidden, "num_hidden_layers": shape.vision_layers,
            "num_attention_heads": shape.vision_heads, "image_size": shape.side, "patch_size": 14,
            "vision_use_head": False,
        },
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        video_token_index=tokens.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=pinpoints,
    )  # fmt: skip
    processor = transformers.LlavaOnevisionProcessor(
        image_processor=transformers.LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints),
        video_processor=transformers.LlavaOnevisionVideoProcessor(size=size),
        tokenizer=tokens,
        num_image_tokens=(shape.side // 14) ** 2,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
    )
    network: Any = transformers.LlavaOnevisionForConditionalGeneration(config)
    network.to(dtype).save_pretrained(directory / "model")
    processor.save_pretrained(directory / "model")
    model = load_model(directory / "model", device=str(device), dtype=dtype).train()
    opened: Any = model[0].model
    opened.vision_tower.requires_grad_(False)
    return model
