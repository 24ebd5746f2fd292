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
    tokens: Any = tokenizer(directory)
    if name == "Qwen3_5":
        tokens.save_pretrained(directory)
        tokens = transformers.Qwen3_5Tokenizer.from_pretrained(directory)
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
    qwen3 = name.startswith("Qwen3")
    shape = {"patch_size": vision["patch_size"], "merge_size": vision["spatial_merge_size"]}
    video_class = transformers.Qwen3VLVideoProcessor if qwen3 else transformers.Qwen2VLVideoProcessor
    processor = getattr(transformers, f"{'Qwen3VL' if qwen3 else name}Processor")(
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


def _qwen3_5(directory: Path) -> tuple[Any, Any]:
    """Linear attention in every layer but each second one."""
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2, "patch_size": 16,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32, "num_position_embeddings": 64,
    }  # fmt: skip
    rope = {
        "rope_type": "default", "rope_theta": 1e7, "mrope_section": [2, 1, 1], "mrope_interleaved": True,
        "partial_rotary_factor": 0.5,
    }  # fmt: skip
    linear = {"key_head_dim": 8, "value_head_dim": 8, "num_key_heads": 2, "num_value_heads": 4}
    text = {f"linear_{key}": value for key, value in linear.items()}
    layers = ["linear_attention", "full_attention"]
    return _qwen(directory, "Qwen3_5", vision, rope_parameters=rope, head_dim=16, layer_types=layers, **text)


GEMMA = {
    "image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>",
    "audio_token": "<audio_soft_token>", "boa_token": "<start_of_audio>", "eoa_token": "<end_of_audio>",
}  # fmt: skip
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}IMAGE{% elif part['type'] == 'video' %}<|video|>"
    "{% elif part['type'] == 'audio' %}<audio_soft_token>{% endif %}{% endfor %}<end_of_turn>\n{% endfor %}"
)


def _gemma_tokenizer(directory: Path) -> Qwen2Tokenizer:
    byte_tokenizer(directory, (*SPECIAL, "<bos>", "<|video|>")).save_pretrained(directory)
    made: Qwen2Tokenizer = Qwen2Tokenizer.from_pretrained(directory, bos_token="<bos>", extra_special_tokens=GEMMA)
    return made


def _gemma3(directory: Path) -> tuple[Any, Any]:
    tokens = _gemma_tokenizer(directory)
    config = transformers.Gemma3Config(
        text_config=_text(tokens, head_dim=8, sliding_window=64, sliding_window_pattern=2),
        vision_config={
            "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 56, "patch_size": 14, "vision_use_head": False,
        },
        mm_tokens_per_image=4,
        image_token_index=tokens.image_token_id,
        boi_token_index=tokens.boi_token_id,
        eoi_token_index=tokens.eoi_token_id,
    )  # fmt: skip
    processor = transformers.Gemma3Processor(
        image_processor=transformers.Gemma3ImageProcessor(size={"height": 56, "width": 56}),
        tokenizer=tokens,
        chat_template=GEMMA_TEMPLATE.replace("IMAGE", "<start_of_image>"),
        image_seq_length=4,
    )
    return transformers.Gemma3ForConditionalGeneration(config), processor


def _embedding_gemma2(directory: Path) -> tuple[Any, Any]:
    tokens = _gemma_tokenizer(directory)
    config = transformers.EmbeddingGemma2Config(
        text_config=_text(
            tokens, head_dim=8, global_head_dim=16, sliding_window=64, sliding_window_pattern=2,
            hidden_size_per_layer_input=8, embedding_dim=24,
        ),
        vision_config={
            "model_type": "gemma4_vision", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 12, "patch_size": 4,
            "pooling_kernel_size": 2, "position_embedding_size": 64,
        },
        audio_config={
            "model_type": "gemma4_audio", "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
            "subsampling_conv_channels": [128, 8], "output_proj_dims": 32,
        },
        image_token_id=tokens.image_token_id,
        video_token_id=tokens.convert_tokens_to_ids("<|video|>"),
        audio_token_id=tokens.audio_token_id,
        boi_token_id=tokens.boi_token_id, eoi_token_id=tokens.eoi_token_id,
        boa_token_id=tokens.boa_token_id, eoa_token_index=tokens.eoa_token_id,
    )  # fmt: skip
    sizes = {"patch_size": 4, "pooling_kernel_size": 2, "max_soft_tokens": 70}
    processor = transformers.EmbeddingGemma2Processor(
        feature_extractor=transformers.Gemma4AudioFeatureExtractor(),
        image_processor=transformers.Gemma4ImageProcessor(**sizes),
        tokenizer=tokens,
        video_processor=transformers.EmbeddingGemma2VideoProcessor(**sizes),
        chat_template=GEMMA_TEMPLATE.replace("IMAGE", "<image_soft_token>"),
        image_seq_length=70,
    )
    return transformers.EmbeddingGemma2Model(config), processor


def _idefics3(directory: Path) -> tuple[Any, Any]:
    return _smol(directory, "Idefics3", image_seq_len=4)


def _smolvlm(directory: Path) -> tuple[Any, Any]:
    video = transformers.SmolVLMVideoProcessor(**SMOL_SIZES)
    return _smol(directory, "SmolVLM", video_processor=video, image_seq_len=4)


SMOL_SIZES = {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}


def _smol(directory: Path, name: str, **options: Any) -> tuple[Any, Any]:
    tokens = tokenizer(directory)
    tokens.add_special_tokens(
        {"additional_special_tokens": [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]},
        replace_extra_special_tokens=False,
    )
    tokens.image_token, tokens.image_token_id = "<image>", tokens.convert_tokens_to_ids("<image>")
    tokens.fake_image_token, tokens.global_image_token = "<fake_token_around_image>", "<global-img>"
    tokens.end_of_utterance_token = "<end_of_utterance>"
    config = getattr(transformers, f"{name}Config")(
        text_config={"model_type": "llama", **_text(tokens)},
        vision_config={
            "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 56, "patch_size": 14,
        },
        image_token_id=tokens.image_token_id,
        scale_factor=2,
    )  # fmt: skip
    processor = getattr(transformers, f"{name}Processor")(
        image_processor=getattr(transformers, f"{name}ImageProcessor")(**SMOL_SIZES),
        tokenizer=tokens,
        chat_template=SMOL_TEMPLATE,
        **options,
    )
    return getattr(transformers, f"{name}ForConditionalGeneration")(config), processor


BACKBONES: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "llava_onevision": _llava_onevision,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "qwen3_5": _qwen3_5,
    "smolvlm": _smolvlm,
    "idefics3": _idefics3,
    "gemma3": _gemma3,
    "embedding_gemma2": _embedding_gemma2,
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
