"""Small random BERT and CLIP as transformers saves them: raw directories without files of sentence-transformers."""

from pathlib import Path
from typing import Any

import torch
import transformers

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def word_tokenizer(directory: Path) -> transformers.BertTokenizer:
    """WordPiece over letters."""
    directory.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), "the"]
    (directory / "vocab.txt").write_text("\n".join(words) + "\n")
    made: transformers.BertTokenizer = transformers.BertTokenizer.from_pretrained(directory)
    return made


def bert(directory: Path) -> Path:
    """A text encoder."""
    tokens = word_tokenizer(directory / "words")
    torch.manual_seed(0)
    return _saved(transformers.BertModel(transformers.BertConfig(**SIZES, vocab_size=len(tokens))), tokens, directory)


def clip(directory: Path) -> Path:
    """Two towers whose vectors are in one space."""
    tokens = word_tokenizer(directory / "words")
    ids = {
        "bos_token_id": tokens.cls_token_id,
        "eos_token_id": tokens.sep_token_id,
        "pad_token_id": tokens.pad_token_id,
    }
    config = transformers.CLIPConfig(
        text_config={**SIZES, "vocab_size": len(tokens), "max_position_embeddings": 77, **ids},
        vision_config={**SIZES, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    pictures = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    torch.manual_seed(0)
    return _saved(transformers.CLIPModel(config), transformers.CLIPProcessor(pictures, tokens), directory)


def siglip(directory: Path) -> Path:
    """Its texts are padded to eight tokens, and the last place is the text's vector."""
    return _siglip(directory, "Siglip", {"image_size": 32}, {"size": {"height": 32, "width": 32}})


def siglip2(directory: Path) -> Path:
    """The one that takes pictures of any shape, as a list of patches."""
    return _siglip(directory, "Siglip2", {"num_patches": 256, "patch_size": 16}, {})


def _siglip(directory: Path, name: str, vision: dict[str, Any], pictures: dict[str, Any]) -> Path:
    tokens = word_tokenizer(directory / "words")
    tokens.model_max_length = 8
    config = getattr(transformers, f"{name}Config")(
        text_config={
            **SIZES, "vocab_size": len(tokens), "max_position_embeddings": 8, "projection_size": 32,
            "bos_token_id": tokens.cls_token_id, "eos_token_id": tokens.sep_token_id,
            "pad_token_id": tokens.pad_token_id,
        },
        vision_config={**SIZES, "patch_size": 8, **vision},
    )  # fmt: skip
    processor = getattr(transformers, f"{name}Processor")(
        getattr(transformers, f"{name}ImageProcessor")(**pictures), tokens
    )
    torch.manual_seed(0)
    return _saved(getattr(transformers, f"{name}Model")(config), processor, directory)


DUAL = {"clip": clip, "siglip": siglip, "siglip2": siglip2}


def _saved(model: Any, processor: Any, directory: Path) -> Path:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(directory / "model")
    processor.save_pretrained(directory / "model")
    return directory / "model"
