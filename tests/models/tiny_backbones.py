"""Small random models of the real classes, with the real processors and a byte-level tokenizer, as raw directories."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import Qwen2Tokenizer

from benchmarks.shaped_model import byte_tokenizer
from llave.models.convert import CHAT_TEMPLATE

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
    "<image>", "<video>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>",
]  # fmt: skip
QWEN_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""As the Qwen-VL models ship it, without the default system turn."""
SMOL_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}: "
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}<image>{% elif part['type'] == 'video' %}<video>{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}"
)
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def tokenizer(directory: Path) -> Qwen2Tokenizer:
    """One token per byte and the special ones."""
    return byte_tokenizer(directory, tuple(SPECIAL))


def _text(tokens: Qwen2Tokenizer, **more: Any) -> dict[str, Any]:
    ids = {"bos_token_id": None, "eos_token_id": tokens.eos_token_id, "pad_token_id": tokens.pad_token_id}
    return {**TEXT, "num_key_value_heads": 2, "vocab_size": len(tokens), **ids, **more}


def _llava_onevision(directory: Path) -> tuple[Any, Any]:
    tokens = tokenizer(directory)
    config = transformers.LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **_text(tokens)},
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 56, "patch_size": 14, "vision_use_head": False,
        },
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        video_token_index=tokens.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[56, 56], [56, 112], [112, 56], [112, 112]],
    )  # fmt: skip
    size = {"height": 56, "width": 56}
    processor = transformers.LlavaOnevisionProcessor(
        image_processor=transformers.LlavaOnevisionImageProcessor(
            size=size, image_grid_pinpoints=config.image_grid_pinpoints
        ),
        video_processor=transformers.LlavaOnevisionVideoProcessor(size=size),
        tokenizer=tokens,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
    )
    return transformers.LlavaOnevisionForConditionalGeneration(config), processor


def _qwen(directory: Path, name: str, vision: dict[str, Any], **text: Any) -> tuple[Any, Any]:
    tokens = tokenizer(directory)
    ids = {
        "image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }  # fmt: skip
    config = getattr(transformers, f"{name}Config")(
        text_config=_text(tokens, **text),
        vision_config=vision,
        **{key: tokens.convert_tokens_to_ids(token) for key, token in ids.items()},
    )
    side = vision["patch_size"] * vision["spatial_merge_size"]
    limits = {"shortest_edge": side * side, "longest_edge": 16 * side * side}
    qwen3 = name == "Qwen3VL"
    shape = {"patch_size": vision["patch_size"], "merge_size": vision["spatial_merge_size"]}
    video_class = transformers.Qwen3VLVideoProcessor if qwen3 else transformers.Qwen2VLVideoProcessor
    processor = getattr(transformers, f"{name}Processor")(
        image_processor=transformers.Qwen2VLImageProcessor(size=limits, **shape),
        video_processor=video_class(size=limits, **shape),
        tokenizer=tokens,
        chat_template=QWEN_TEMPLATE,
    )
    return getattr(transformers, f"{name}ForConditionalGeneration")(config), processor


def _qwen2_vl(directory: Path) -> tuple[Any, Any]:
    vision = {
        "depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14,
        "spatial_merge_size": 2, "temporal_patch_size": 2,
    }  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}
    return _qwen(directory, "Qwen2VL", vision, rope_parameters=rope)


def _qwen2_5_vl(directory: Path) -> tuple[Any, Any]:
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2, "patch_size": 14,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 56, "out_hidden_size": 32,
        "fullatt_block_indexes": [1],
    }  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}
    return _qwen(directory, "Qwen2_5_VL", vision, rope_parameters=rope)


def _qwen3_vl(directory: Path) -> tuple[Any, Any]:
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2, "patch_size": 16,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32, "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [2, 1, 1], "mrope_interleaved": True}
    return _qwen(directory, "Qwen3VL", vision, rope_parameters=rope, head_dim=8)


def _smolvlm(directory: Path) -> tuple[Any, Any]:
    tokens = tokenizer(directory)
    tokens.add_special_tokens(
        {"additional_special_tokens": [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]},
        replace_extra_special_tokens=False,
    )
    tokens.image_token, tokens.image_token_id = "<image>", tokens.convert_tokens_to_ids("<image>")
    tokens.fake_image_token, tokens.global_image_token = "<fake_token_around_image>", "<global-img>"
    tokens.end_of_utterance_token = "<end_of_utterance>"
    config = transformers.SmolVLMConfig(
        text_config={"model_type": "llama", **_text(tokens)},
        vision_config={
            "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 56, "patch_size": 14,
        },
        image_token_id=tokens.image_token_id,
        scale_factor=2,
    )  # fmt: skip
    sizes = {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}
    processor = transformers.SmolVLMProcessor(
        image_processor=transformers.SmolVLMImageProcessor(**sizes),
        video_processor=transformers.SmolVLMVideoProcessor(**sizes),
        tokenizer=tokens,
        image_seq_len=4,
        chat_template=SMOL_TEMPLATE,
    )
    return transformers.SmolVLMForConditionalGeneration(config), processor


BACKBONES: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "llava_onevision": _llava_onevision,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "smolvlm": _smolvlm,
}


def build(name: str, directory: Path) -> Path:
    """A raw directory: weights, processor, no files of sentence-transformers."""
    torch.manual_seed(0)
    model, processor = BACKBONES[name](directory / "parts")
    with torch.no_grad():  # random norms and larger weights: mistakes of order or position must show
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(directory / name)
    processor.save_pretrained(directory / name)
    return directory / name
