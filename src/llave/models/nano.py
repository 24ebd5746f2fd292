"""The nano model: LLaVA's structure in small, for machines without a GPU or a model hub.

A picture becomes ``grid**2`` visual tokens (frozen EfficientNet-Lite0, two-layer MLP projector) that stand
among the text tokens of all-MiniLM-L6-v2; text and picture are fused by its attention, not averaged. A second
projector adds what the tower saw to the last hidden states of those tokens (as DeepStack does to deeper layers,
arXiv 2406.04334): six layers made for words are a narrow way for a picture. A gate computed from the hidden state
decides which of it counts, so that a text can ask for one thing of a scene.
The classes are registered with transformers' Auto classes when this module is imported.
"""

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoProcessor,
    BatchFeature,
    BertConfig,
    BertModel,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling

from llave.errors import UserError
from llave.models.nano_vision import FEATURE_DIM, EfficientNetLite0
from llave.models.pictures import fit_pictures_of
from llave.models.vision_reuse import FeatureCache

__all__ = ["IMAGE_TOKEN", "NanoConfig", "NanoModel", "NanoProcessor"]

IMAGE_TOKEN = "[unused0]"  # a reserved token of BERT's vocabulary: no new row in the embedding table

CPU_CHUNK = 8
"""Pictures per forward on a CPU, where the early feature maps of more no longer fit the cache (2x faster than 64)."""

DEEP_WIDTH = 2048
DEEP_DROPOUT = 0.5


class NanoConfig(PreTrainedConfig):
    """BERT's configuration plus the visual side.

    Args:
        text_config: configuration of the language model.
        image_token_id: vocabulary id of the placeholder that visual tokens replace.
        grid: a picture becomes ``grid * grid`` tokens.
    """

    model_type = "llave_nano"
    sub_configs: ClassVar = {"text_config": BertConfig}

    def __init__(
        self,
        text_config: dict[str, Any] | BertConfig | None = None,
        image_token_id: int = 1,
        grid: int = 2,
        **kwargs: Any,
    ) -> None:
        self.text_config = text_config if isinstance(text_config, BertConfig) else BertConfig(**(text_config or {}))
        self.image_token_id = image_token_id
        self.grid = grid
        self.hidden_size = self.text_config.hidden_size
        super().__init__(**kwargs)


class NanoModel(PreTrainedModel):
    """Vision tower, two projectors and language model."""

    config_class = NanoConfig
    config: NanoConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, config: NanoConfig) -> None:
        super().__init__(config)
        self.vision_tower = EfficientNetLite0().requires_grad_(False)
        self.feature_mean = nn.Buffer(torch.zeros(FEATURE_DIM))
        self.feature_std = nn.Buffer(torch.ones(FEATURE_DIM))
        self.projector = nn.Sequential(
            nn.Linear(FEATURE_DIM, config.hidden_size), nn.GELU(), nn.Linear(config.hidden_size, config.hidden_size)
        )
        self.deep_projector = nn.Sequential(
            nn.Dropout(DEEP_DROPOUT),
            nn.Linear(FEATURE_DIM, DEEP_WIDTH),
            nn.GELU(),
            nn.Dropout(DEEP_DROPOUT),
            nn.Linear(DEEP_WIDTH, config.hidden_size),
        )
        self.deep_projector_gate = nn.Linear(config.hidden_size, config.hidden_size)
        self.language_model = BertModel(config.text_config, add_pooling_layer=False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    @property
    def is_standardised(self) -> bool:
        """Whether :meth:`standardise` was called, here or before the model was saved."""
        return bool((self.feature_std != 1).any())

    @torch.no_grad()
    def standardise(self, features_NTF: Tensor) -> None:
        """Let the projectors see each feature with mean 0 and deviation 1 over these pictures.

        The tower's features differ in scale by orders of magnitude, and a projector with a random start learns
        the small ones last.
        """
        flat = features_NTF.flatten(0, 1).double()
        self.feature_mean.copy_(flat.mean(0))
        self.feature_std.copy_(flat.std(0) + 1e-3)

    def get_input_embeddings(self) -> nn.Module:
        embeddings: nn.Module = self.language_model.get_input_embeddings()
        return embeddings

    @torch.no_grad()
    def vision_features(self, pixel_N3HW: Tensor) -> Tensor:
        """Features of the frozen tower, (N, grid**2, 1280). A picture's do not depend on its batch."""
        pixel_N3HW = pixel_N3HW.to(self.vision_tower.stem.weight.dtype)
        chunks = pixel_N3HW.split(CPU_CHUNK) if pixel_N3HW.device.type == "cpu" else [pixel_N3HW]
        pooled = [F.adaptive_avg_pool2d(self.vision_tower(chunk), self.config.grid) for chunk in chunks]
        return torch.cat(pooled).flatten(2).transpose(1, 2).contiguous()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """Hidden states (B, T, D) of the fused sequence.

        Args:
            input_ids: (B, T) with ``grid**2`` placeholders per picture.
            pixel_values: pictures (N, 3, H, W) in the order of their placeholders, or their features
                (N, grid**2, 1280) where a :class:`FeatureCache` computed them before.
        """
        text = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
        embedding = self.get_input_embeddings()(input_ids)
        if pixel_values is None:
            hidden = self.language_model(inputs_embeds=embedding, **text).last_hidden_state
            if torch.is_grad_enabled():
                # DDP waits for every parameter's gradient: a text-only batch gives the projectors a zero one.
                # At the output, so that frozen layers below need no backward pass for it.
                visual = (self.projector, self.deep_projector, self.deep_projector_gate)
                sums = [parameter.sum() for module in visual for parameter in module.parameters()]
                hidden = hidden + 0.0 * torch.stack(sums).sum()
            return BaseModelOutputWithPooling(last_hidden_state=hidden)

        features_NTF = pixel_values if pixel_values.ndim == 3 else self.vision_features(pixel_values)
        features_NTF = (features_NTF.to(embedding.dtype) - self.feature_mean) / self.feature_std
        number, tokens, _ = features_NTF.shape
        place = (input_ids == self.config.image_token_id)[..., None]
        if int(place.sum()) != number * tokens:
            raise ValueError(f"{number * tokens} visual tokens for {int(place.sum())} placeholders in the text")
        embedding = embedding.masked_scatter(place, self.projector(features_NTF).to(embedding.dtype))
        hidden = self.language_model(inputs_embeds=embedding, **text).last_hidden_state
        seen = hidden[place.squeeze(-1)]  # (N * T, D)
        deep = self._deep(features_NTF.flatten(0, 1), seen)
        return BaseModelOutputWithPooling(last_hidden_state=hidden.masked_scatter(place, seen + deep))

    def _deep(self, features: Tensor, hidden: Tensor) -> Tensor:
        """What the second projector adds to hidden states (…, D), from features (…, 1280)."""
        gate: Tensor = 2 * torch.sigmoid(self.deep_projector_gate(hidden))
        return (gate * self.deep_projector(features)).to(hidden.dtype)


class NanoProcessor(ProcessorMixin):
    """Tokenizer and picture processor; one placeholder per picture becomes ``image_seq_length`` tokens.

    A video is its frames, each as many tokens as a picture, before the pictures and the text of its sample. They are
    put there here and not by the chat template, so that directories saved before take videos too.
    """

    attributes: ClassVar = ["image_processor", "tokenizer"]

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        image_seq_length: int = 4,
    ) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        self.image_seq_length = image_seq_length
        self.image_token = IMAGE_TOKEN
        self.feature_cache: FeatureCache | None = None

    def to_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As stored; the cache belongs to the process, not to the model."""
        return {key: value for key, value in super().to_dict(*args, **kwargs).items() if key != "feature_cache"}

    def apply_chat_template(self, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        """With every picture by llave's rules, also where sentence-transformers alone opened the model."""
        return super().apply_chat_template(fit_pictures_of(conversation), *args, **kwargs)

    def __call__(
        self,
        images: Any = None,
        text: str | list[str] | None = None,
        videos: Any = None,
        text_kwargs: dict[str, Any] | None = None,
        images_kwargs: dict[str, Any] | None = None,
        common_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Token ids of ``text`` and, where there are pictures, ``pixel_values`` (or their cached features).

        Args:
            images: pictures of each text, or a flat list.
            text: with one placeholder per picture.
            videos: for each text its videos, each of frames as PIL pictures or a uint8 array (F, H, W, 3).

        Raises:
            UserError: frames of another form, or more of them than the model's tokens.
        """
        shared = {"return_tensors": "pt", **(common_kwargs or {})}
        texts = [text] if isinstance(text, str) else list(text or [])
        pictures = _flat(images)
        if videos is not None:
            frames = [[frame for video in of_text for frame in video_frames(video)] for of_text in videos]
            of_texts = images if images is not None else [[] for _ in texts]
            pictures = [
                picture for of_text, more in zip(frames, of_texts, strict=True) for picture in (*of_text, *_flat(more))
            ]
            texts = [IMAGE_TOKEN * len(of_text) + " " + t for of_text, t in zip(frames, texts, strict=True)]
        texts = [t.replace(IMAGE_TOKEN, IMAGE_TOKEN * self.image_seq_length) for t in texts]
        tokens = {"padding": True, "truncation": True, **(text_kwargs or {}), **shared}
        data = dict(self.tokenizer(texts, **tokens))
        if videos is not None:
            self._check_room(texts, data["input_ids"])
        if pictures:
            if self.feature_cache is not None:
                data["pixel_values"] = self.feature_cache.features(pictures)
            else:
                data["pixel_values"] = self.pixels(pictures, **(images_kwargs or {}))
        return BatchFeature(data)

    def _check_room(self, texts: list[str], input_ids: Any) -> None:
        """Truncation may cost words, never frames."""
        place = self.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        for text, ids in zip(texts, input_ids, strict=True):
            wanted = text.count(IMAGE_TOKEN)
            kept = sum(int(token) == place for token in ids)
            if kept < wanted:
                each = self.image_seq_length
                raise UserError(
                    f"{wanted // each} frames and pictures of {each} tokens each, and the model takes {kept // each}; "
                    "pass fewer frames"
                )

    def pixels(self, pictures: list[Any], **kwargs: Any) -> Tensor:
        """Pictures as (N, 3, H, W) float32."""
        pixel: Tensor = self.image_processor(pictures, **{**kwargs, "return_tensors": "pt"})["pixel_values"]
        return pixel


def video_frames(video: Any) -> list[Image.Image]:
    """The frames of a video as pictures.

    Args:
        video: PIL pictures, or a uint8 array or tensor (F, H, W, 3) or (F, 3, H, W).

    Raises:
        UserError: something else.
    """
    if isinstance(video, (list, tuple)) and all(isinstance(frame, Image.Image) for frame in video):
        return [frame.convert("RGB") for frame in video]
    frames = np.asarray(video)
    if frames.ndim == 4 and frames.shape[1] == 3 and frames.shape[3] != 3:
        frames = frames.transpose(0, 2, 3, 1)
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise UserError(f"a video must be uint8 (F, H, W, 3), not {frames.dtype} {frames.shape}; see llave.data.video")
    return [Image.fromarray(frame) for frame in frames]


def _flat(images: Any) -> list[Any]:
    if images is None:
        return []
    if not isinstance(images, (list, tuple)):
        return [images]
    return [picture for image in images for picture in _flat(image)]


AutoConfig.register(NanoConfig.model_type, NanoConfig, exist_ok=True)
AutoModel.register(NanoConfig, NanoModel, exist_ok=True)
AutoProcessor.register(NanoConfig, NanoProcessor, exist_ok=True)

# The other nano model builds on this one. Whichever is imported first, llave's hook on transformers loads this module.
import llave.models.nano_pair  # noqa: E402, F401
