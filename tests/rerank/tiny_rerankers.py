"""Small random rerankers of the real classes, as raw directories."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

from tests.models.tiny_backbones import build


def qwen3_vl_reranker(directory: Path) -> Path:
    """A Qwen3-VL whose tokenizer has "yes" and "no", with its chat template and no files of sentence-transformers."""
    path = build("qwen3_vl", directory)
    processor: Any = AutoProcessor.from_pretrained(path)
    model: Any = Qwen3VLForConditionalGeneration.from_pretrained(path)
    processor.tokenizer.add_tokens(["yes", "no"])
    torch.manual_seed(1)
    model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path
