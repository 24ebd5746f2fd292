"""The nano reranker: a query and a document in one sequence, one score.

``[CLS] query [SEP] [CLS] document [SEP]``: MiniLM reads the words of each half by itself, so that it knows them as it
was trained to; a picture is one token, its features of all depths of the frozen tower (:mod:`llave.models.nano_depths`)
projected to where MiniLM has the words for it. The halves' cosine is the score to begin with. Two layers of attention
over the whole sequence then correct it: they begin with a correction of zero and learn it from what the first stage
confuses.

The projection is solved and not trained by steps (:func:`fit_pictures`): ridge regression from pictures to the vectors
of their texts. A few thousand pictures determine it in seconds, and on concepts that were never seen it does better
than the same data in gradient steps.
"""

import copy
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoProcessor,
    BertConfig,
    BertModel,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from llave.models.nano import CPU_CHUNK, NanoProcessor
from llave.models.nano_depths import DEPTH_DIM, depth_features, in_scale
from llave.models.nano_vision import EfficientNetLite0

__all__ = ["NanoPairConfig", "NanoPairModel", "fit_pictures"]

RIDGE = 2.0
WHITEN = 0.5
"""Power of the inverse deviations by which a text's principal directions are scaled: 0 leaves them, 1 makes them all
alike. Chosen, like RIDGE, on concepts of the training rows that were held out."""
SCALE, OFFSET = 20.0, 8.0
"""Of the score: its logit is about 0 at a cosine of 0.4, where the sigmoid tells near scores apart best."""
MEAN_FLOOR = 1e-3


class NanoPairConfig(PreTrainedConfig):
    """BERT's configuration, the placeholder of pictures, and how many layers read the pair together.

    Args:
        text_config: of the language model.
        image_token_id: vocabulary id of a picture's placeholder.
        start_token_id: of ``[CLS]``, with which each half begins.
        joint_layers: that attend over query and document.
    """

    model_type = "llave_nano_pair"
    sub_configs: ClassVar = {"text_config": BertConfig}

    def __init__(
        self,
        text_config: dict[str, Any] | BertConfig | None = None,
        image_token_id: int = 1,
        start_token_id: int = 101,
        joint_layers: int = 2,
        **kwargs: Any,
    ) -> None:
        self.text_config = text_config if isinstance(text_config, BertConfig) else BertConfig(**(text_config or {}))
        self.image_token_id = image_token_id
        self.start_token_id = start_token_id
        self.joint_layers = joint_layers
        self.hidden_size = self.text_config.hidden_size
        self.grid = 1
        kwargs.setdefault("num_labels", 1)
        super().__init__(**kwargs)


class NanoPairModel(PreTrainedModel):
    """Frozen vision tower, projector, language model, and joint layers."""

    config_class = NanoPairConfig
    config: NanoPairConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, config: NanoPairConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.vision_tower = EfficientNetLite0().requires_grad_(False)
        self.depth_mean = nn.Buffer(torch.zeros(DEPTH_DIM))
        self.depth_std = nn.Buffer(torch.ones(DEPTH_DIM))
        self.projector = nn.Linear(DEPTH_DIM, width, bias=False)
        self.language_model = BertModel(config.text_config, add_pooling_layer=False)
        self.text_mean = nn.Buffer(torch.zeros(width))
        self.text_map = nn.Buffer(torch.eye(width))
        self.joint_projector = nn.Linear(width, width)
        joint = copy.deepcopy(config.text_config)
        joint.num_hidden_layers = config.joint_layers
        joint.vocab_size, joint.pad_token_id = 1, 0  # it reads states, no words
        self.joint = BertModel(joint, add_pooling_layer=False)
        self.joint_head = nn.Linear(width, 1)
        self.log_scale = nn.Parameter(torch.tensor(SCALE).log())
        self.offset = nn.Parameter(torch.tensor(OFFSET))
        self.words_weight = nn.Parameter(torch.tensor(0.0))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def train(self, mode: bool = True) -> "NanoPairModel":
        """Also in training a language model that is not trained reads without dropout."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.language_model.parameters()):
            self.language_model.eval()
        return self

    @torch.no_grad()
    def vision_features(self, pixel_N3HW: Tensor) -> Tensor:
        """Features of the frozen tower, (N, 1, DEPTH_DIM). A picture's do not depend on its batch."""
        pixel_N3HW = pixel_N3HW.to(self.vision_tower.stem.weight.dtype)
        chunks = pixel_N3HW.split(CPU_CHUNK) if pixel_N3HW.device.type == "cpu" else [pixel_N3HW]
        return torch.cat([depth_features(self.vision_tower, chunk) for chunk in chunks])[:, None]

    def text_states(self, ids: list[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
        """States (U, T, D) of different texts, each read by itself, and where they are (U, T)."""
        longest = max(map(len, ids))
        id_UT = torch.zeros(len(ids), longest, dtype=torch.long)
        mask_UT = torch.zeros(len(ids), longest, dtype=torch.long)
        for row, own in enumerate(ids):
            id_UT[row, : len(own)] = torch.tensor(own)
            mask_UT[row, : len(own)] = 1
        id_UT, mask_UT = id_UT.to(self.device), mask_UT.to(self.device)
        frozen = not any(parameter.requires_grad for parameter in self.language_model.parameters())
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            states: Tensor = self.language_model(input_ids=id_UT, attention_mask=mask_UT).last_hidden_state
        return states, mask_UT.bool()

    def text_vectors(self, state_UTD: Tensor, mask_UT: Tensor) -> Tensor:
        """Unit vectors (U, D) of texts in the space of pictures: MiniLM's own mean, centred and whitened."""
        weight = mask_UT[..., None].float()
        mean_UD = (state_UTD.float() * weight).sum(1) / weight.sum(1)
        with torch.autocast(self.device.type, enabled=False):
            return F.normalize((F.normalize(mean_UD, dim=1) - self.text_mean.float()) @ self.text_map.float(), dim=1)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """One logit (B, 1) of each pair.

        Args:
            input_ids: (B, T) of two halves, each beginning with ``start_token_id``, with a placeholder per picture.
            pixel_values: pictures (N, 3, H, W) in the order of their placeholders, or their features (N, 1, DEPTH_DIM)
                where a cache computed them before, or their projections (N, 1, D), see :func:`fit_pictures`.

        Raises:
            ValueError: a sequence of other than two halves, or pictures for other than their placeholders.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        halves, owner = self._halves(input_ids, attention_mask)
        number = 0 if pixel_values is None else len(pixel_values)
        if number != len(owner):
            raise ValueError(f"{number} pictures for {len(owner)} placeholders in the text")
        different = {ids: place for place, ids in enumerate(dict.fromkeys(halves))}
        state_UTD, mask_UT = self.text_states(list(different))
        place_S = torch.tensor([different[ids] for ids in halves], device=self.device)
        words_S = torch.tensor([len(ids) > 2 for ids in halves], device=self.device)  # more than [CLS] and [SEP]
        vector_SD = self.text_vectors(state_UTD, mask_UT)[place_S] * words_S[:, None]
        picture_SD, shown_S = torch.zeros_like(vector_SD), torch.zeros_like(words_S)
        if pixel_values is not None:
            features = pixel_values if pixel_values.ndim == 3 else self.vision_features(pixel_values)
            seen_ND = self.seen(features.flatten(1))
            owner_N = torch.tensor(owner, device=self.device)
            picture_SD = picture_SD.index_add(0, owner_N, seen_ND)
            shown_S = shown_S.index_fill(0, owner_N, True)
            picture_SD = F.normalize(picture_SD, dim=1)
        # Beside a picture the words are mostly the task ("What is it?"), which is the same for every document.
        share_S = torch.where(shown_S, self.words_weight, torch.ones_like(self.words_weight))
        both_SD = F.normalize(picture_SD + share_S[:, None] * vector_SD, dim=1, eps=MEAN_FLOOR)
        cosine_B = (both_SD[0::2] * both_SD[1::2]).sum(1)
        logit_B = self.log_scale.exp() * cosine_B - self.offset
        if self.config.joint_layers:
            logit_B = logit_B + self._together(state_UTD, mask_UT, place_S, picture_SD, shown_S)
        return SequenceClassifierOutput(logits=logit_B[:, None])

    def _halves(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[list[tuple[int, ...]], list[int]]:
        """Ids of every half without placeholders, query and document of each pair in turn, and the half of each one."""
        halves: list[tuple[int, ...]] = []
        owner: list[int] = []
        start, place = self.config.start_token_id, self.config.image_token_id
        for row, mask in zip(input_ids.tolist(), attention_mask.tolist(), strict=True):
            ids = [token for token, kept in zip(row, mask, strict=True) if kept]
            starts = [number for number, token in enumerate(ids) if token == start]
            if len(starts) != 2 or starts[0] != 0:
                raise ValueError(f"a pair has two halves, not {len(starts)}")
            for own in (ids[: starts[1]], ids[starts[1] :]):
                owner += [len(halves)] * own.count(place)
                halves.append(tuple(token for token in own if token != place))
        return halves, owner

    def seen(self, features_NZ: Tensor) -> Tensor:
        """Unit vectors (N, D) of pictures where texts have theirs, of features or of what is projected already."""
        if features_NZ.shape[1] == self.config.hidden_size:
            return F.normalize(features_NZ.float(), dim=1)
        scaled_NZ = in_scale(features_NZ.float(), self.depth_mean.float(), self.depth_std.float())
        with torch.autocast(self.device.type, enabled=False):
            return F.normalize(F.linear(scaled_NZ, self.projector.weight.float()), dim=1)

    def _together(
        self, state_UTD: Tensor, mask_UT: Tensor, place_S: Tensor, picture_SD: Tensor, shown_S: Tensor
    ) -> Tensor:
        """The correction (B,) that attention over query and document makes of the score."""
        picture_SD = self.joint_projector(picture_SD * picture_SD.shape[1] ** 0.5)
        token_SKD = torch.cat([picture_SD[:, None], state_UTD[place_S]], dim=1)
        mask_SK = torch.cat([shown_S[:, None], mask_UT[place_S]], dim=1)
        pairs, width = len(place_S) // 2, token_SKD.shape[1]
        token_BTD = token_SKD.reshape(pairs, 2 * width, -1).to(self.joint_head.weight.dtype)
        mask_BT = mask_SK.reshape(pairs, 2 * width)
        side_T = torch.arange(2 * width, device=self.device) // width
        hidden: Tensor = self.joint(
            inputs_embeds=token_BTD,
            attention_mask=mask_BT.long(),
            token_type_ids=side_T.expand(pairs, -1),
        ).last_hidden_state
        weight = mask_BT[..., None].to(hidden.dtype)
        pooled_BD = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
        correction: Tensor = self.joint_head(pooled_BD)
        return correction.squeeze(1).float()


@torch.no_grad()
def fit_pictures(model: NanoPairModel, features_NZ: Tensor, text_ND: Tensor, concepts: Sequence[Hashable]) -> Tensor:
    """Set the projector: ridge regression from pictures to the whitened vectors of their texts.

    Args:
        features_NZ: of pictures, from :meth:`NanoPairModel.vision_features`, flattened.
        text_ND: unit vectors of the texts that name them, MiniLM's mean of a picture's several.
        concepts: pictures of equal ones show the same thing.

    Returns:
        Projections (N, D) of the same pictures by regressions on all others but those of their own concept, in closed
        form: what a projector makes of a thing that it has not met. A correction that learned from the projections of
        pictures that the projector knows would learn that there is nothing to correct.
    """
    features_NZ, text_ND = features_NZ.float().cpu(), text_ND.float().cpu()
    mean_Z, std_Z = features_NZ.mean(0), features_NZ.std(0) + MEAN_FLOOR
    model.depth_mean.copy_(mean_Z)
    model.depth_std.copy_(std_Z)
    scaled_NZ = in_scale(features_NZ, mean_Z, std_Z)
    mean_D = text_ND.mean(0)
    _, deviation_D, direction_DD = torch.linalg.svd(text_ND - mean_D, full_matrices=False)
    kept = deviation_D > MEAN_FLOOR * deviation_D[0]
    text_map = torch.zeros(model.text_map.shape)
    text_map[:, : int(kept.sum())] = direction_DD[kept].T / deviation_D[kept] ** WHITEN
    target_ND = (text_ND - mean_D) @ text_map
    kernel_NN = scaled_NZ @ scaled_NZ.T
    ridge_NN = kernel_NN + RIDGE * torch.eye(len(kernel_NN))
    weight_DZ = torch.linalg.solve(ridge_NN, target_ND).T @ scaled_NZ
    model.projector.weight.copy_(weight_DZ)
    model.text_mean.copy_(mean_D)
    model.text_map.copy_(text_map)
    influence_NN = torch.linalg.solve(ridge_NN, kernel_NN)
    residual_ND = target_ND - influence_NN @ target_ND
    unmet_ND = torch.empty_like(target_ND)
    rows: dict[Hashable, list[int]] = {}
    for row, concept in enumerate(concepts):
        rows.setdefault(concept, []).append(row)
    for own in rows.values():  # y - (I - H)^-1 (y - Hy) over the concept's rows is the fit without them
        left = torch.eye(len(own)) - influence_NN[own][:, own]
        unmet_ND[own] = target_ND[own] - torch.linalg.solve(left, residual_ND[own])
    return unmet_ND


AutoConfig.register(NanoPairConfig.model_type, NanoPairConfig, exist_ok=True)
AutoModelForSequenceClassification.register(NanoPairConfig, NanoPairModel, exist_ok=True)
AutoProcessor.register(NanoPairConfig, NanoProcessor, exist_ok=True)
