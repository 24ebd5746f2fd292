"""Original LLaVE checkpoints (``llava_qwen``) as sentence-transformers directories of stock transformers classes.

The names on the left are the original code's (LLaVA-NeXT with a SigLIP tower and Qwen2), those on the right those of
transformers' ``LlavaOnevisionForConditionalGeneration``. Nothing is computed: the tensors are the same numbers.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sentence_transformers
import torch
import transformers
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from torch import Tensor
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2Tokenizer,
    SiglipVisionConfig,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

from llave.errors import DataError, UserError
from llave.files import holds_nothing, whole_folder, write_json
from llave.models.checkpoint_files import StoredTensor, stored_tensors, write_shards
from llave.models.open import PIL

__all__ = ["CHAT_TEMPLATE", "ORIGINAL", "PROMPTS", "VISION_TOWERS", "convert"]

VISION_TOWERS: dict[str, dict[str, Any]] = {
    "google/siglip-so400m-patch14-384": {"num_attention_heads": 16, "image_size": 384, "patch_size": 14},
}
"""What tensors cannot tell of the towers that checkpoints name."""

RENAMES = (
    (r"model\.embed_tokens\.(.*)", r"model.language_model.embed_tokens.\1"),
    (r"model\.layers\.(.*)", r"model.language_model.layers.\1"),
    (r"model\.norm\.(.*)", r"model.language_model.norm.\1"),
    (r"lm_head\.(.*)", r"lm_head.\1"),
    (r"model\.image_newline", r"model.image_newline"),
    (r"model\.mm_projector\.0\.(.*)", r"model.multi_modal_projector.linear_1.\1"),
    (r"model\.mm_projector\.2\.(.*)", r"model.multi_modal_projector.linear_2.\1"),
    (r"model\.vision_tower\.vision_tower\.vision_model\.(.*)", r"model.vision_tower.\1"),
)
DROPPED = re.compile(r".*\.(inv_freq|position_ids)")
"""Constants, which some versions of the original code saved."""
Config = Any
"""A LlavaOnevisionConfig; its parts are typed as dictionaries or None, which they never are once it is made."""
ORIGINAL = ("llava_qwen", "llava")
SOURCE = {"embedding": "model.embed_tokens.weight", "vision": "model.vision_tower.vision_tower.vision_model."}
VOCABULARY_MULTIPLE = 64

CHAT_TEMPLATE = (
    "{%- set instruction = namespace(text='') -%}"
    "{%- for message in messages if message['role'] == 'system' -%}"
    "{%- if message['content'] is string -%}"
    "{%- set instruction.text = instruction.text + message['content'] -%}"
    "{%- else -%}{%- for part in message['content'] if part['type'] == 'text' -%}"
    "{%- set instruction.text = instruction.text + part['text'] -%}{%- endfor -%}{%- endif -%}"
    "{%- endfor -%}"
    "{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}"
    "{%- for message in messages if message['role'] != 'system' -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] is string -%}{{- instruction.text + message['content'] -}}"
    "{%- else -%}"
    "{%- for part in message['content'] if part['type'] == 'image' -%}{{- '<image>\\n' -}}{%- endfor -%}"
    "{%- for part in message['content'] if part['type'] == 'video' -%}{{- '<video>\\n' -}}{%- endfor -%}"
    "{{- instruction.text -}}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{{- '<|im_start|>assistant\\n\\n<|im_end|>\\n' -}}"
)
"""The original's one template, pictures first. A prompt (a system message, to sentence-transformers) is an instruction
in the user's turn, as in training; the system turn is fixed, and so is the assistant's, whose end is pooled."""

PROMPTS = {
    "text-to-image": "Find me an everyday image that matches the given caption: ",
    "image": "Represent the given image.",
    "image-to-text": "Find an image caption describing the given everyday image.",
    "classification": "Represent the given image for classification",
    "question": "Represent the given image with the following question: ",
}
"""Instructions of MMEB that training used, by name: ``model.encode(items, prompt_name=...)``."""


def convert(source: Path, target: Path, *, vision_config: Path | None = None, console: Console | None = None) -> Path:
    """Convert an original checkpoint; returns ``target``, which ``SentenceTransformer`` opens.

    The memory in use stays below the largest source file. ``target`` appears when everything is written.

    Args:
        source: directory with config.json, tokenizer files and weights (safetensors or .bin).
        target: directory to make.
        vision_config: JSON with num_attention_heads, image_size and patch_size of the vision tower; default is
            ``vision_config.json`` in the source, or what is known of the tower that its configuration names.

    Raises:
        UserError: not such a checkpoint; tensors that are missing, unexpected or of another shape, by name.
    """
    console = console or Console(stderr=True)
    if not holds_nothing(target):
        raise UserError(f"{target} is not empty; name another directory")
    original = _original_config(source)
    found = {tensor.name: tensor for tensor in stored_tensors(source) if not DROPPED.fullmatch(tensor.name)}
    tokenizer = _tokenizer(source)
    config = _config(original, found, tokenizer, _vision_facts(source, original, vision_config))
    renamed = _renamed(found)
    _check(renamed, found, config, source)

    with whole_folder(target) as partial:
        _write_configuration(partial, config, _processor(config, tokenizer))
        rows = config.text_config.vocab_size

        def padded(name: str, tensor: Tensor) -> Tensor:
            if name in {"model.language_model.embed_tokens.weight", "lm_head.weight"} and tensor.shape[0] < rows:
                return torch.nn.functional.pad(tensor, (0, 0, 0, rows - tensor.shape[0]))
            return tensor

        with Progress(
            TextColumn("weights"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
            console=console, transient=True, disable=not console.is_terminal,
        ) as progress:  # fmt: skip
            task = progress.add_task("weights", total=sum(tensor.num_bytes for tensor in renamed.values()))
            write_shards(partial, renamed, change=padded, advance=lambda done: progress.advance(task, done))
    return target


def _original_config(source: Path) -> dict[str, Any]:
    path = source / "config.json"
    if not path.is_file():
        raise DataError(f"{source}: no config.json; SRC is a directory with an original LLaVE checkpoint")
    try:
        config: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from None
    if config.get("model_type") not in ORIGINAL:
        raise DataError(
            f"{path}: model_type is {config.get('model_type')!r}, expected 'llava_qwen'; "
            "a directory that transformers opens needs no conversion"
        )
    return config


def _vision_facts(source: Path, original: Mapping[str, Any], file: Path | None) -> dict[str, Any]:
    """Heads, picture and patch size of the vision tower."""
    file = file or source / "vision_config.json"
    if file.is_file():
        facts: dict[str, Any] = json.loads(file.read_text("utf-8"))
        facts = facts.get("vision_config", facts)
        missing = [key for key in ("num_attention_heads", "image_size", "patch_size") if key not in facts]
        if missing:
            raise DataError(f"{file}: lacks {', '.join(missing)}")
        return facts
    name = str(original.get("mm_vision_tower") or original.get("vision_tower"))
    known = next((facts for tower, facts in VISION_TOWERS.items() if name.endswith(tower.split("/")[-1])), None)
    if known is None:
        raise DataError(
            f"{source}: nothing is known of its vision tower {name!r}; put its configuration beside it as "
            "vision_config.json, or name it with --vision-config FILE"
        )
    return known


def _tokenizer(source: Path) -> PreTrainedTokenizerBase:
    try:
        tokenizer = Qwen2Tokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{source}: no tokenizer (tokenizer.json, or vocab.json and merges.txt): {error}") from None
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<image>", "<video>"]}, replace_extra_special_tokens=False
    )
    tokenizer.padding_side = "right"
    tokenizer.pad_token = "<|endoftext|>"
    return tokenizer


def _config(
    original: Mapping[str, Any],
    found: Mapping[str, StoredTensor],
    tokenizer: PreTrainedTokenizerBase,
    vision: Mapping[str, Any],
) -> Config:
    """Sizes from the tensors; the rest from the original configuration and the vision tower's."""

    def shape(name: str) -> tuple[int, ...]:
        if name not in found:
            raise DataError(f"the checkpoint has no tensor {name}: is it an original LLaVE checkpoint?")
        return found[name].shape

    def layers(prefix: str) -> int:
        numbers = [int(name[len(prefix) :].split(".")[0]) for name in found if name.startswith(prefix)]
        return max(numbers, default=-1) + 1

    image_token, video_token = (int(number) for number in tokenizer.encode("<image><video>"))
    rows, width = shape(SOURCE["embedding"])
    if len(tokenizer) > rows:
        rows = -(-len(tokenizer) // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
    text_fields = (
        "num_attention_heads", "num_key_value_heads", "rms_norm_eps", "max_position_embeddings", "hidden_act",
        "rope_theta", "bos_token_id", "eos_token_id", "attention_dropout",
    )  # fmt: skip
    text: Any = Qwen2Config(
        **{key: original[key] for key in text_fields if key in original},
        vocab_size=rows,
        hidden_size=width,
        intermediate_size=shape("model.layers.0.mlp.gate_proj.weight")[0],
        num_hidden_layers=layers("model.layers."),
        tie_word_embeddings="lm_head.weight" not in found,
        use_sliding_window=False,
        use_cache=False,
    )
    vision_width, _, patch, _ = shape(SOURCE["vision"] + "embeddings.patch_embedding.weight")
    positions = shape(SOURCE["vision"] + "embeddings.position_embedding.weight")[0]
    size = int(vision["image_size"])
    if patch != vision["patch_size"] or positions != (size // patch) ** 2:
        raise DataError(
            f"the vision tower has patches of {patch} and {positions} positions; its configuration says patches of "
            f"{vision['patch_size']} and pictures of {size} pixels"
        )
    tower = SiglipVisionConfig(
        hidden_size=vision_width,
        intermediate_size=shape(SOURCE["vision"] + "encoder.layers.0.mlp.fc1.weight")[0],
        num_hidden_layers=layers(SOURCE["vision"] + "encoder.layers."),
        num_attention_heads=vision["num_attention_heads"],
        image_size=size,
        patch_size=patch,
        hidden_act=vision.get("hidden_act", "gelu_pytorch_tanh"),
        layer_norm_eps=vision.get("layer_norm_eps", 1e-6),
        vision_use_head=False,
    )
    return LlavaOnevisionConfig(
        text_config=text,
        vision_config=tower,
        image_token_index=image_token,
        video_token_index=video_token,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
        image_grid_pinpoints=[[high * size, wide * size] for high in (1, 2) for wide in (1, 2)],
        tie_word_embeddings=text.tie_word_embeddings,
        dtype=str(found[SOURCE["embedding"]].dtype).removeprefix("torch."),
        architectures=["LlavaOnevisionForConditionalGeneration"],
    )


def _renamed(found: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """By transformers' names; what has none keeps its own, and is unexpected later."""
    renamed: dict[str, StoredTensor] = {}
    for name, tensor in found.items():
        matches = (re.sub(pattern, new, name) for pattern, new in RENAMES if re.fullmatch(pattern, name))
        renamed[next(matches, name)] = tensor
    return renamed


def _check(
    renamed: Mapping[str, StoredTensor], found: Mapping[str, StoredTensor], config: Config, source: Path
) -> None:
    """Names and shapes against the model that the configuration describes."""
    with torch.device("meta"):
        expected = {
            name: tuple(value.shape)
            for name, value in LlavaOnevisionForConditionalGeneration(config).state_dict().items()
        }
    if config.tie_word_embeddings:
        expected.pop("lm_head.weight", None)
    problems = [f"missing {name}" for name in sorted(expected.keys() - renamed.keys())]
    problems += [f"unexpected {renamed[name].name}" for name in sorted(renamed.keys() - expected.keys())]
    rows = {found[SOURCE["embedding"]].shape[0], config.text_config.vocab_size}
    for name in sorted(expected.keys() & renamed.keys()):
        shape = renamed[name].shape
        if shape != expected[name] and not (shape[1:] == expected[name][1:] and {shape[0], expected[name][0]} <= rows):
            problems.append(f"{renamed[name].name} is {shape}, expected {expected[name]}")
    if problems:
        raise DataError(f"{source}: {len(problems)} tensors do not fit: {'; '.join(problems)}")


def _processor(config: Config, tokenizer: PreTrainedTokenizerBase) -> LlavaOnevisionProcessor:
    size = config.vision_config.image_size
    half = [0.5, 0.5, 0.5]
    square = {"height": size, "width": size}
    return LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessorPil(
            size=square, image_grid_pinpoints=config.image_grid_pinpoints, image_mean=half, image_std=half
        ),
        video_processor=LlavaOnevisionVideoProcessor(size=square, image_mean=half, image_std=half),
        tokenizer=tokenizer,
        num_image_tokens=(size // config.vision_config.patch_size) ** 2,
        vision_feature_select_strategy="full",
        vision_aspect_ratio=config.vision_aspect_ratio,
        chat_template=CHAT_TEMPLATE,
    )


def _write_configuration(directory: Path, config: Config, processor: LlavaOnevisionProcessor) -> None:
    """Everything but the weights: transformers' files, and the ones that make it a sentence-transformers model."""
    config.save_pretrained(directory)
    processor.save_pretrained(directory)
    forward = {"method": "forward", "method_output_name": "last_hidden_state"}
    modules = (("", Transformer), ("1_Pooling", Pooling), ("2_Normalize", Normalize))
    files: dict[str, Any] = {
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"{module.__module__}.{module.__name__}"}
            for number, (path, module) in enumerate(modules)
        ],
        "sentence_bert_config.json": {
            "transformer_task": "feature-extraction",
            "modality_config": {
                **dict.fromkeys(("text", "image", "video"), forward),
                "message": {**forward, "format": "structured"},
            },
            "module_output_name": "token_embeddings",
            # As in the original: torchvision's resizing is off by one level of 256 in places.
            "processor_kwargs": PIL,
        },
        "1_Pooling/config.json": {
            "embedding_dimension": config.text_config.hidden_size,
            "pooling_mode": "lasttoken",
            "include_prompt": True,
        },
        "config_sentence_transformers.json": {
            "__version__": {
                "sentence_transformers": sentence_transformers.__version__,
                "transformers": transformers.__version__,
                "pytorch": torch.__version__,
            },
            "model_type": "SentenceTransformer",
            "prompts": PROMPTS,
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }
    (directory / "2_Normalize").mkdir()
    (directory / "1_Pooling").mkdir()
    for name, content in files.items():
        write_json(directory / name, content)
