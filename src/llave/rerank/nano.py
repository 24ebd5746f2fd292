"""The nano reranker before it is trained: installed parts put together, and its projector solved from training rows."""

import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from safetensors.torch import save_file
from sentence_transformers.base.modules import Transformer

from llave.data.images import load_image
from llave.data.mmeb import RowItem
from llave.data.row_text import met
from llave.data.train_table import TrainTable
from llave.errors import DataError, UserError
from llave.models.families.nano import HALVES_TEMPLATE
from llave.models.nano_build import build_nano
from llave.models.nano_pair import NanoPairConfig, NanoPairModel, fit_pictures
from llave.models.vision_reuse import FeatureCache, picture_key
from llave.progress import show_progress
from llave.rerank.model import PairModel

__all__ = ["build_nano_reranker", "solve_projector"]

MOST_PICTURES = 4096
TEXTS_AT_ONCE = 64


def build_nano_reranker(
    *, seed: int = 0, joint_layers: int = 2, image_size: int = 224, device: str | None = None
) -> PairModel:
    """EfficientNet-Lite0 and MiniLM as they come; the joint layers begin as MiniLM's last ones, their head as zero.

    Args:
        seed: of the joint projector; the global random state is left alone.
    """
    parts: Any = build_nano(grid=1, image_size=image_size, device="cpu", seed=seed)
    base, processor = parts[0].model, parts[0].processor
    config = NanoPairConfig(
        text_config=base.config.text_config,
        image_token_id=base.config.image_token_id,
        start_token_id=processor.tokenizer.cls_token_id,
        joint_layers=joint_layers,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NanoPairModel(config)
    model.vision_tower.load_state_dict(base.vision_tower.state_dict())
    model.language_model.load_state_dict(base.language_model.state_dict())
    with torch.no_grad():
        theirs: Any = base.language_model.embeddings
        own: Any = model.joint.embeddings
        for name in ("position_embeddings", "token_type_embeddings", "LayerNorm"):
            getattr(own, name).load_state_dict(getattr(theirs, name).state_dict())
        layers = list(base.language_model.encoder.layer)
        for layer, last in zip(model.joint.encoder.layer, layers[len(layers) - joint_layers :], strict=True):
            layer.load_state_dict(last.state_dict())
        model.joint_head.weight.zero_()
        model.joint_head.bias.zero_()
    processor.chat_template = HALVES_TEMPLATE
    with tempfile.TemporaryDirectory() as directory:
        model.config.architectures = [type(model).__name__.replace("Model", "ForSequenceClassification")]
        model.config.to_json_file(f"{directory}/config.json", use_diff=False)
        state = {name: value.contiguous() for name, value in model.state_dict().items()}
        save_file(state, f"{directory}/model.safetensors", metadata={"format": "pt"})
        processor.save_pretrained(directory)
        transformer = Transformer(directory, transformer_task="sequence-classification", max_seq_length=256)
    network: Any = transformer.model
    network.vision_tower.requires_grad_(False)
    made = PairModel(modules=[transformer], device=device)
    made.source = "nano"
    return made


def solve_projector(
    model: PairModel, tables: Mapping[str, TrainTable], *, cache: FeatureCache | None, seed: int, console: Console
) -> FeatureCache:
    """Fit a nano reranker's projector to the rows that put a picture and a text together.

    Args:
        cache: of the pictures' features; None computes them.
        seed: of the pictures that are drawn where there are more than ``MOST_PICTURES``.

    Returns:
        What training should see of the pictures: projections that do not know them, see
        :func:`llave.models.nano_pair.fit_pictures`; of a picture that was not fitted, its own projection.

    Raises:
        UserError: no such row.
    """
    network: Any = model[0].model
    texts = _texts_of_pictures(tables)
    chosen = sorted(texts)
    if len(chosen) > MOST_PICTURES:
        chosen = sorted(random.Random(seed).sample(chosen, MOST_PICTURES))
    features, kept, keys = [], [], []
    with show_progress(console=console) as work, torch.inference_mode():
        work.stage("vision features", len(chosen), unit="pictures")
        for path in chosen:
            work.advance()
            try:
                picture = load_image(path)
            except DataError:  # training notes it when it meets it
                continue
            features.append(features_of(model, cache, [picture]).flatten(1))
            kept.append(path)
            keys.append(picture_key(picture))
    if not kept:
        raise UserError("a nano reranker needs rows that put a picture and a text together, and there are none")
    words = sorted({text for path in kept for text in texts[path]})
    vector = dict(zip(words, _vectors(model, words), strict=True))
    target_ND = torch.stack([torch.stack([vector[text] for text in sorted(texts[path])]).mean(0) for path in kept])
    concepts = [min(texts[path]) for path in kept]  # pictures of one thing share its texts
    unmet_ND = fit_pictures(network, torch.cat(features), target_ND, concepts)
    console.print(f"the projector is solved from {len(kept):,} pictures and their texts", soft_wrap=True)

    def projected(pictures: list[Any]) -> torch.Tensor:
        found = features_of(model, cache, pictures).flatten(1).to(network.device)
        return network.seen(found).cpu()[:, None]  # type: ignore[no-any-return]

    return FeatureCache.of(projected, dict(zip(keys, unmet_ND[:, None], strict=True)))


def features_of(model: PairModel, cache: FeatureCache | None, pictures: list[Any]) -> torch.Tensor:
    """Features (N, 1, DEPTH_DIM) of pictures, from the cache or from the tower."""
    if cache is not None:
        return cache.features(pictures)
    network: Any = model[0].model
    processor: Any = model[0].processor
    found: torch.Tensor = network.vision_features(processor.pixels(pictures).to(network.device))
    return found.cpu()


def _texts_of_pictures(tables: Mapping[str, TrainTable]) -> dict[Path, set[str]]:
    """The texts that a row sets against a picture: a query's for its target, or a target's for its query."""
    found: dict[Path, set[str]] = {}
    for table in tables.values():
        for row in table:
            for shown, said in ((row.query, row.positive), (row.positive, row.query)):
                text = met(RowItem(said.text, said.image))[0].text
                path = table.image(shown) if shown.image and not said.image and text else None
                if path is not None:
                    found.setdefault(path, set()).add(text)
    return found


def _vectors(model: PairModel, texts: list[str]) -> list[torch.Tensor]:
    """Unit vectors (D,) of texts as MiniLM has them."""
    network: Any = model[0].model
    tokenizer: Any = model.tokenizer
    found: list[torch.Tensor] = []
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            part = texts[start : start + TEXTS_AT_ONCE]
            ids = [tuple(own) for own in tokenizer(part, truncation=True, max_length=128)["input_ids"]]
            state_UTD, mask_UT = network.text_states(ids)
            weight = mask_UT[..., None].float()
            found += list(F.normalize((state_UTD * weight).sum(1) / weight.sum(1), dim=1).cpu())
    return found
