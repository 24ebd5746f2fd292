"""Small random rerankers for a server: a BERT of texts, and a Qwen3-VL that sees."""

from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from llave.rerank.build import build_reranker
from llave.rerank.reranker import Reranker
from llave.serving.rerank_engine import RerankEngine
from tests.rerank.tiny_rerankers import qwen3_vl_reranker

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,-'"
WORDS = ["the", "a", "red", "fox", "umbrella", "rain", "in", "on", "of", "and", "is", "cat", "dog", "blue", "word"]


def bert_directory(directory: Path) -> Path:
    """A classifier of pairs with 128 tokens."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{one}" for one in LETTERS), *WORDS]
    (directory / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)))
    tokenizer = BertTokenizerFast(str(directory / "vocab.txt"), model_max_length=128)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        num_labels=1,
        initializer_range=0.6,  # so that scores differ
    )
    BertForSequenceClassification(config).eval().save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def bert(directory: Path) -> RerankEngine:
    """It, named "bert"."""
    return RerankEngine(Reranker.open(bert_directory(directory), device="cpu"), name="bert", aliases=["also/bert"])


def judge() -> RerankEngine:
    """The nano model's parts with an untrained head, named "judge"."""
    return RerankEngine(Reranker(build_reranker("nano", device="cpu")), name="judge")


def qwen(directory: Path) -> RerankEngine:
    """One that takes pictures, named "qwen"."""
    return RerankEngine(Reranker.open(qwen3_vl_reranker(directory), device="cpu"), name="qwen")
