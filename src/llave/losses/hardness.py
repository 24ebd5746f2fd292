"""The hardness-weighted loss as a sentence-transformers loss, plain or cached, on one device or many."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from llave.losses.batch_similarity import batch_similarity
from llave.losses.distill import distillation_loss
from llave.losses.functional import (
    IMPLEMENTATIONS,
    TILED,
    check_margin,
    choose_implementation,
    hardness_weighted_loss,
)
from llave.losses.judged_step import JudgedStep, Reward
from llave.losses.reward import EMAReward
from llave.losses.teacher import TeacherVectors
from llave.losses.temperature import LearnedTemperature
from llave.losses.tiled import tiled_loss
from llave.losses.weighting import Weighting, alphas

__all__ = ["HardnessWeightedLoss"]


class HardnessWeightedLoss(JudgedStep):
    """LLaVE's loss (arXiv 2503.04812, Eq. 8) for ``SentenceTransformerTrainer``.

    Columns: query, positive, then any number of hard negatives. Labels (optional) are integer ids: shape (B,)
    for target ids, or (B, 1 + columns) for one id per column; pairs that share an id are never negatives.
    ``shared_ids`` says that one id means one content in every column, so that a target which is a query's own content
    is no negative of it either.

    Args:
        model: the model to train.
        temperature: tau, fixed or learned.
        alpha: hardness; 0 is InfoNCE.
        weighting: which negatives it applies to: "all", "hard_negatives" (the row's own) or "in_batch" (all others).
        positive_margin: share of its cosine, without gradient, that is taken off a positive before the softmax.
        teacher, teacher_margin: a negative that the teacher scores above the query's positive less the margin is left
            out, in both directions; None leaves none out. Needs labels with an id per column.
        distill_weight, distill_temperature: how much the teacher's rows of scores count as what to follow, see
            :func:`llave.losses.distill.distillation_loss`.
        mini_batch_size, mini_batch_num_tokens, vision_reuse_gib, keep_graphs, sort_by_length, vision_cache_gib:
            GradCache, see :class:`llave.losses.cached_step.CachedStep`. Without the first two the batch is embedded at
            once.
        gather: under ``torch.distributed``, use the other ranks' pairs as negatives, with gradients.
        shared_ids: ids of all columns are of one space.
        reward: ``"self"`` (LLaVE), a function ``(query_BD, target_MD) -> (B, M)``, or one of
            :mod:`llave.losses.reward`.
        matryoshka_dims, matryoshka_weights, impl: see :func:`llave.hardness_weighted_loss`.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        temperature: float | LearnedTemperature = 0.02,
        alpha: float = 9.0,
        weighting: Weighting = "all",
        positive_margin: float = 0.0,
        teacher: TeacherVectors | None = None,
        teacher_margin: float | None = 0.0,
        distill_weight: float = 0.0,
        distill_temperature: float = 0.05,
        mini_batch_size: int | None = None,
        mini_batch_num_tokens: int | None = None,
        gather: bool = True,
        shared_ids: bool = False,
        reward: Reward = "self",
        vision_reuse_gib: float = 4.0,
        keep_graphs: int = 1,
        sort_by_length: bool = True,
        vision_cache_gib: float = 0.0,
        matryoshka_dims: Sequence[int] | None = None,
        matryoshka_weights: Sequence[float] | None = None,
        impl: str = "auto",
    ) -> None:
        super().__init__(
            model,
            reward=reward,
            teacher=teacher,
            teacher_margin=teacher_margin,
            gather=gather,
            mini_batch_size=mini_batch_size,
            mini_batch_num_tokens=mini_batch_num_tokens,
            vision_reuse_gib=vision_reuse_gib,
            keep_graphs=keep_graphs,
            sort_by_length=sort_by_length,
            vision_cache_gib=vision_cache_gib,
        )
        if (isinstance(temperature, float | int) and temperature <= 0) or alpha < 0:
            raise ValueError(f"temperature must be > 0 and alpha >= 0, got {temperature} and {alpha}")
        alphas(alpha, weighting)
        check_margin(positive_margin)
        if distill_weight < 0 or distill_temperature <= 0 or (distill_weight and teacher is None):
            raise ValueError("distillation needs a teacher, a weight of at least 0 and a temperature above 0")
        if impl not in IMPLEMENTATIONS:
            raise ValueError(f"impl={impl!r} is not one of {', '.join(IMPLEMENTATIONS)}")
        self.temperature = temperature
        self.alpha = alpha
        self.weighting: Weighting = weighting
        self.positive_margin = positive_margin
        self.distill_weight = distill_weight
        self.distill_temperature = distill_temperature
        self.shared_ids = shared_ids
        self.matryoshka_dims = matryoshka_dims
        self.matryoshka_weights = matryoshka_weights
        self.impl = impl
        self._scalars: dict[str, float | Tensor] = {}
        self._later: list[tuple[Tensor, Tensor]] = []
        self._last_batch: tuple[Tensor, Tensor, int, Tensor | None, Tensor | None] | None = None

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor | None = None) -> Tensor:
        """Scalar loss of a batch of preprocessed columns."""
        features = list(sentence_features)
        if len(features) < 2:
            raise ValueError(f"expected at least a query and a positive column, got {len(features)}")
        if isinstance(self.reward, EMAReward) and self.training:
            self.reward.follow()
        loss = self.step(features, labels)
        if self._later:
            loss = loss.clone()  # its hook comes before those of the embeddings, whose last one DDP reduces after
            loss.register_hook(partial(self._pass_on, self._later))
            self._later = []
        return loss

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """Loss of the whole batch from the embeddings of its mini-batches, one list per column."""
        columns = self.in_rows([self.joined(chunks) for chunks in reps])
        scalars = self._read_scalars()
        self._scalars = {name: _leaf(value) if with_backward else value for name, value in scalars.items()}
        loss = self._loss(columns, self._column_ids(labels, len(columns)))
        if with_backward:
            loss.backward()
            loss = loss.detach()
            self._later = [  # as the embeddings' gradients: once the loss's own is known
                (scalars[name], leaf.grad)  # type: ignore[misc]
                for name, leaf in self._scalars.items()
                if isinstance(leaf, Tensor) and leaf.grad is not None
            ]
        return loss

    def joined(self, chunks: list[Tensor]) -> Tensor:
        """A column's embeddings from those of its mini-batches."""
        return _unit(torch.cat(chunks))

    def _pass_on(self, slopes: list[tuple[Tensor, Tensor]], grad: Tensor) -> None:
        """Backward of what GradCache has taken the loss's slopes by, scaled by the loss's own gradient."""
        with self._without_sync():
            for value, slope in slopes:
                value.backward(slope * grad)

    def _read_scalars(self) -> dict[str, float | Tensor]:
        """What the loss reads beside the embeddings; tensors are learned."""
        return {"tau": self.temperature() if isinstance(self.temperature, LearnedTemperature) else self.temperature}

    def last_similarity(self) -> dict[str, float]:
        """Positive, hard and easy cosines, gap and accuracy within the last batch; see :func:`batch_similarity`.

        With a teacher also ``left_out``, the share of the pairs that it took out.
        """
        if self._last_batch is None:
            return {}
        query_BD, target_MD, offset, query_ids, target_ids = self._last_batch
        left_out = {} if self._share_left_out is None else {"left_out": float(self._share_left_out)}
        return left_out | batch_similarity(
            query_BD,
            target_MD,
            offset=offset,
            query_ids=query_ids,
            target_ids=target_ids,
            shared_ids=self.shared_ids,
        )

    def _loss(self, columns: list[Tensor], ids: list[Tensor] | None) -> Tensor:
        """Rows and columns of this rank against the pairs of all ranks; DDP's mean is the global loss."""
        size = columns[0].shape[0]
        target_MD = torch.cat([self._gather(column) for column in columns[1:]])
        query_ids, target_ids = self._gathered_ids(ids)
        offset = size * torch.distributed.get_rank() if self._distributed() else 0
        self._last_batch = (columns[0].detach(), target_MD.detach(), offset, query_ids, target_ids)
        impl = self.impl
        if impl == "auto":
            impl = choose_implementation(size, len(target_MD), target_MD.device)
        if impl == "reference" or not self._distributed():
            # Every rank computes the whole loss: the gradients of the gathered embeddings add up over ranks.
            loss = self._whole_loss(self._gather(columns[0]), target_MD, query_ids, target_ids, impl=impl)
        else:
            loss = self._tiled_loss(columns[0], target_MD, query_ids, target_ids, offset=offset, impl=impl)
        if self.distill_weight:
            distilled = self._distillation(columns[0], target_MD, query_ids, target_ids, offset=offset)
            loss = loss + self.distill_weight * distilled
        return loss

    def _tiled_loss(
        self,
        query_AD: Tensor,
        target_CD: Tensor,
        query_ids: Tensor | None,
        target_ids: Tensor | None,
        *,
        offset: int,
        impl: str,
    ) -> Tensor:
        """Loss of this process's rows and their columns."""
        return tiled_loss(
            query_AD,
            target_CD,
            offset=offset,
            num_pairs=len(query_AD) * torch.distributed.get_world_size(),
            reward_AC=self._reward_matrix(
                query_AD.detach(), target_CD.detach(), offset=offset, query_ids=query_ids, target_ids=target_ids
            ),
            distributed=True,
            temperature=self._scalars["tau"],
            alpha=self.alpha,
            weighting=self.weighting,
            positive_margin=self.positive_margin,
            matryoshka_dims=self.matryoshka_dims,
            matryoshka_weights=self.matryoshka_weights,
            query_ids=query_ids,
            target_ids=target_ids,
            shared_ids=self.shared_ids,
            **TILED[impl],
        )

    def _distillation(
        self,
        query_BD: Tensor,
        target_MD: Tensor,
        query_ids: Tensor | None,
        target_ids: Tensor | None,
        *,
        offset: int,
    ) -> Tensor:
        """Of this rank's rows over the targets of all ranks, whose gradients add up over ranks."""
        return distillation_loss(
            query_BD,
            target_MD,
            self._teacher_scores(query_ids, target_ids, slice(offset, offset + len(query_BD))),
            temperature=self._scalars["tau"],
            teacher_temperature=self.distill_temperature,
            offset=offset,
            num_pairs=None if query_ids is None else len(query_ids),
            query_ids=query_ids,
            target_ids=target_ids,
            shared_ids=self.shared_ids,
        )

    def _whole_loss(
        self, query_BD: Tensor, target_MD: Tensor, query_ids: Tensor | None, target_ids: Tensor | None, *, impl: str
    ) -> Tensor:
        """Loss of all pairs of all processes; another loss overrides this."""
        return hardness_weighted_loss(
            query_BD,
            target_MD,
            temperature=self._scalars["tau"],
            alpha=self.alpha,
            weighting=self.weighting,
            positive_margin=self.positive_margin,
            reward_BB=self._reward_matrix(
                query_BD.detach(), target_MD.detach(), offset=0, query_ids=query_ids, target_ids=target_ids
            ),
            matryoshka_dims=self.matryoshka_dims,
            matryoshka_weights=self.matryoshka_weights,
            query_ids=query_ids,
            target_ids=target_ids,
            shared_ids=self.shared_ids,
            impl=impl,
        )

    def _gathered_ids(self, ids: list[Tensor] | None) -> tuple[Tensor | None, Tensor | None]:
        """Ids of all queries and all targets."""
        if ids is None:
            return None, None
        gathered = [self._gather(column) for column in ids]
        return (gathered[0], torch.cat(gathered[1:])) if len(gathered) > 1 else (None, gathered[0])

    def _column_ids(self, labels: Tensor | None, num_columns: int) -> list[Tensor] | None:
        """Ids per column: [query, positive, negative, ...], or [target] alone for labels of shape (B,)."""
        if labels is None:
            return None
        if labels.is_floating_point():
            raise ValueError("labels must be integer ids; drop the score column from the data set")
        if labels.ndim == 1:
            if num_columns > 2:
                raise ValueError("labels of shape (B,) name positives only; with hard negatives give one id per column")
            return [labels]
        if labels.shape[1] != num_columns:
            raise ValueError(f"labels have {labels.shape[1]} ids per row for {num_columns} columns")
        return list(labels.unbind(dim=1))

    def get_config_dict(self) -> dict[str, Any]:
        """Settings, for the model card."""
        reward = self.reward if isinstance(self.reward, str) else type(self.reward).__name__
        temperature = self.temperature
        return {
            "temperature": temperature.values() if isinstance(temperature, LearnedTemperature) else temperature,
            "alpha": self.alpha,
            "weighting": self.weighting,
            "positive_margin": self.positive_margin,
            "mini_batch_size": self.mini_batch_size or None,
            "mini_batch_num_tokens": self.mini_batch_num_tokens,
            "gather": self.gather,
            "shared_ids": self.shared_ids,
            "vision_reuse_gib": self.vision_reuse_gib,
            "keep_graphs": self.keep_graphs,
            "sort_by_length": self.sort_by_length,
            "reward": reward,
            "teacher_margin": None if self.teacher is None else self.teacher_margin,
            "distill_weight": self.distill_weight,
            "distill_temperature": self.distill_temperature,
            "matryoshka_dims": self.matryoshka_dims,
            "matryoshka_weights": self.matryoshka_weights,
            "impl": self.impl,
        }

    @property
    def citation(self) -> str:
        """BibTeX of the paper."""
        return (
            "@article{lan2025llave,\n"
            "  title={LLaVE: Large Language and Vision Embedding Models with Hardness-Weighted Contrastive Learning},\n"
            "  author={Lan, Zhibin and Niu, Liqiang and Meng, Fandong and Zhou, Jie and Su, Jinsong},\n"
            "  journal={arXiv preprint arXiv:2503.04812},\n"
            "  year={2025}\n}"
        )


def _leaf(value: float | Tensor) -> float | Tensor:
    return value.detach().requires_grad_() if isinstance(value, Tensor) else value


def _unit(embedding_BD: Tensor) -> Tensor:
    """L2-normalised, in float32 at least."""
    return nn.functional.normalize(embedding_BD.to(torch.promote_types(embedding_BD.dtype, torch.float32)), dim=-1)
