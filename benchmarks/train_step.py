"""One training step under GradCache: ours beside sentence-transformers' CachedMultipleNegativesRankingLoss.

A random LLaVA-OneVision (SigLIP and Qwen2, a frozen tower, about as much work for vision as for language, as LLaVE-0.5B
at one tile) scaled to two cores. The same model, rows and mini-batches for all; interleaved; median of five steps.
Run: python benchmarks/train_step.py
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

sys.path.insert(0, str(Path(__file__).parent.parent))
from llave import HardnessWeightedLoss, load_model
from llave.models.convert import CHAT_TEMPLATE
from llave.terminal import quiet_libraries
from tests.models.tiny_backbones import tokenizer

PAIRS, MINI_BATCH, ROUNDS, SIDE = 32, 4, 5, 112


def build(directory: Path) -> SentenceTransformer:
    torch.manual_seed(0)
    tokens = tokenizer(directory / "parts")
    config = transformers.LlavaOnevisionConfig(
        text_config={
            "model_type": "qwen2", "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4,
            "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": len(tokens), "bos_token_id": None,
            "eos_token_id": tokens.eos_token_id, "pad_token_id": tokens.pad_token_id,
        },
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6,
            "num_attention_heads": 4, "image_size": SIDE, "patch_size": 14, "vision_use_head": False,
        },
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        video_token_index=tokens.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[SIDE, SIDE]],
    )  # fmt: skip
    size = {"height": SIDE, "width": SIDE}
    processor = transformers.LlavaOnevisionProcessor(
        image_processor=transformers.LlavaOnevisionImageProcessor(
            size=size, image_grid_pinpoints=config.image_grid_pinpoints
        ),
        video_processor=transformers.LlavaOnevisionVideoProcessor(size=size),
        tokenizer=tokens,
        num_image_tokens=(SIDE // 14) ** 2,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
    )
    transformers.LlavaOnevisionForConditionalGeneration(config).save_pretrained(directory / "model")
    processor.save_pretrained(directory / "model")
    model = load_model(directory / "model", device="cpu").train()
    model[0].model.vision_tower.requires_grad_(False)
    return model


def rows(*, mixed: bool) -> tuple[list[Any], list[Any]]:
    """A picture and its question, and a short text; mixed: every second query a text of any length."""
    draw = random.Random(0)
    queries: list[Any] = []
    for number in range(PAIRS):
        if mixed and number % 2:
            queries.append("word " * draw.randint(2, 60))
        else:
            picture = Image.effect_noise((SIDE, SIDE), 50 + number).convert("RGB")
            queries.append({"image": picture, "text": "What is in the picture?"})
    return queries, [f"answer {number}" for number in range(PAIRS)]


def step(model: SentenceTransformer, loss: torch.nn.Module, columns: tuple[list[Any], list[Any]]) -> Callable[[], None]:
    features = [model.preprocess(column) for column in columns]

    def run() -> None:
        model.zero_grad()
        loss([dict(feature) for feature in features], None).backward()

    return run


def main() -> None:
    quiet_libraries()
    with tempfile.TemporaryDirectory() as directory:
        model = build(Path(directory))
    for mixed in (False, True):
        columns = rows(mixed=mixed)
        losses = {
            "llave": HardnessWeightedLoss(model, mini_batch_size=MINI_BATCH),
            "llave, tower twice": HardnessWeightedLoss(model, mini_batch_size=MINI_BATCH, reuse_vision=False),
            "llave, 700 tokens at a time": HardnessWeightedLoss(model, mini_batch_num_tokens=700),
            "CachedMNRL": CachedMultipleNegativesRankingLoss(model, scale=50.0, mini_batch_size=MINI_BATCH),
        }
        times: dict[str, list[float]] = {}
        steps: dict[str, Callable[[], None]] = {}
        for name, loss in losses.items():
            steps[name] = step(model, loss, columns)
            try:
                steps[name]()  # warm-up
            except (ValueError, RuntimeError) as error:
                del steps[name]
                sys.stdout.write(f"{name}: fails on these rows ({type(error).__name__}: {error})\n")
        for _ in range(ROUNDS):
            for name, run in random.sample(list(steps.items()), len(steps)):
                start = time.perf_counter()
                run()
                times.setdefault(name, []).append(time.perf_counter() - start)
        medians = {name: statistics.median(values) for name, values in times.items()}
        sys.stdout.write(
            f"{'mixed rows' if mixed else 'picture and question'}: {PAIRS} pairs, {MINI_BATCH} at a time\n"
        )
        for name, seconds in medians.items():
            ratio = seconds / medians["llave"]
            sys.stdout.write(f"  {name:<28}{PAIRS / seconds:8.1f} pairs/s   {ratio:.2f} x the time of llave\n")


if __name__ == "__main__":
    main()
