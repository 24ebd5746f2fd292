"""Embedding a batch for a loss that needs it whole: at once, or by GradCache without doing more than it must.

GradCache (arXiv 2101.06983) embeds every mini-batch without a gradient, takes the loss of the whole batch, and embeds
every mini-batch again with the gradient that its embeddings got: the gradients of the plain form with the activations
of one mini-batch. sentence-transformers has it (:class:`CachedLossMixin`). Here samples of like lengths are embedded
together, a frozen vision tower runs once instead of twice, mini-batches whose graph is kept are embedded once, and
columns may be prepared as they are needed (:class:`LazyColumn`).
"""

from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.gradcache import CachedLossMixin, RandContext, _minibatch_ranges
from torch import Tensor, nn

from llave.losses.lazy_column import LazyColumn, outline
from llave.losses.minibatch import by_length, create_minibatch, like_lengths
from llave.models.families import family_of
from llave.models.tower_reuse import FeatureLRU, TowerReuse, reusable_tower

__all__ = ["CachedStep"]


class CachedStep(CachedLossMixin, nn.Module):
    """A loss over the embeddings of a whole batch; a subclass gives ``calculate_loss``.

    Args:
        model: the model to train.
        mini_batch_size: embed this many rows at a time. None embeds the batch at once.
        mini_batch_num_tokens: embed as many rows at a time as have this many tokens together, instead of a fixed
            number of rows: long and short rows then take the same memory.
        vision_reuse_gib: a frozen vision tower runs once per step instead of twice (the same numbers) on as many of the
            batch's first pictures as have so many GiB of features, which stay on the device; 0 is none.
        keep_graphs: so many mini-batches keep their activations and are embedded once instead of twice. One takes no
            memory beyond what GradCache needs anyway; more take as much again each.
        sort_by_length: embed samples of like lengths together, which saves padding.
        vision_cache_gib: keep a frozen SigLIP-like tower's features across steps, up to so many GiB of the CPU's
            memory, for data in which pictures recur.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        mini_batch_size: int | None,
        mini_batch_num_tokens: int | None,
        vision_reuse_gib: float,
        keep_graphs: int,
        sort_by_length: bool,
        vision_cache_gib: float,
    ) -> None:
        super().__init__()
        if mini_batch_size is not None and mini_batch_num_tokens is not None:
            raise ValueError("give mini_batch_size or mini_batch_num_tokens, not both")
        for name, value in (("size", mini_batch_size), ("num_tokens", mini_batch_num_tokens)):
            if value is not None and value < 1:
                raise ValueError(f"mini_batch_{name} must be at least 1, got {value}")
        for name, least in (
            ("keep_graphs", keep_graphs),
            ("vision_reuse_gib", vision_reuse_gib),
            ("vision_cache_gib", vision_cache_gib),
        ):
            if least < 0:
                raise ValueError(f"{name} must be at least 0, got {least}")
        self.model = model
        self.uses_gradient_cache = mini_batch_size is not None or mini_batch_num_tokens is not None
        self.mini_batch_size = mini_batch_size or 0
        self.mini_batch_num_tokens = mini_batch_num_tokens
        self.vision_reuse_gib = vision_reuse_gib
        self.keep_graphs = keep_graphs
        self.sort_by_length = sort_by_length
        self.vision_cache = FeatureLRU(int(vision_cache_gib * 2**30)) if vision_cache_gib else None
        self._tower: TowerReuse | None = None
        self._graphs: dict[Hashable, Tensor | None] = {}
        self._places: list[Tensor | None] = []

    def step(self, features: list[dict[str, Any]], labels: Tensor | None) -> Tensor:
        """Loss of a batch of preprocessed, or lazy, columns."""
        self._tower = self._reusable_tower()
        if not self.uses_gradient_cache:
            return self._at_once(features, labels)
        places: list[Tensor | None] = [None] * len(features)
        if self.sort_by_length:
            ordered = [self._sorted(column) for column in features]
            features, places = [column for column, _ in ordered], [place for _, place in ordered]
        ranges = self._ranges(features)
        order = [(column.feed, column.piece(*at)) for column, *at in ranges if isinstance(column, LazyColumn)]
        if order:
            order[0][0].expect([piece for _, piece in order])
        self._graphs = self._kept_minibatches(features) if torch.is_grad_enabled() else {}
        self._places = places
        try:
            self.before_loss(features)
            return self.forward_cached(features, labels)
        finally:
            self._places = []

    def _at_once(self, features: list[dict[str, Any]], labels: Tensor | None) -> Tensor:
        """Every sample once, with its graph: columns whole or, where that saves padding, in pieces of like lengths."""
        ordered = [self._sorted(column) if self._in_pieces(column) else (column, None) for column in features]
        features, self._places = [column for column, _ in ordered], [place for _, place in ordered]
        try:
            self.before_loss(features)
            with nullcontext() if self._tower is None else self._tower.recording(None):
                embeddings = [[self.embedding_of(piece) for piece in self.minibatches(column)] for column in features]
            return self.calculate_loss(embeddings, labels)
        finally:
            self._places = []

    def embedding_of(self, part: dict[str, Any]) -> Tensor:
        """What the loss is taken of: one tensor, the samples first."""
        embedding: Tensor = self.model(part)["sentence_embedding"]
        return embedding

    def before_loss(self, features: list[dict[str, Any]]) -> None:
        """Called with the columns in the order in which they are embedded; nothing by default."""

    def in_rows(self, columns: list[Tensor]) -> list[Tensor]:
        """What was made of the columns in their order, as the batch's rows again."""
        places = self._places or [None] * len(columns)
        return [column if place is None else column[place] for column, place in zip(columns, places, strict=True)]

    def minibatches(self, column: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The pieces in which a column is embedded."""
        if self.uses_gradient_cache:
            ranges = [(begin, end) for _, begin, end in self._ranges([column])]
        elif self._in_pieces(column):
            ranges = like_lengths(column["attention_mask"].sum(1))
        else:
            yield column
            return
        for begin, end in ranges:
            yield self._slice(column, begin, end)

    def _in_pieces(self, column: dict[str, Any]) -> bool:
        """Whether a column that is embedded at once is embedded in pieces of like lengths.

        Texts on a CPU, where padding costs as much as words do and a forward pass costs little to start; and not under
        several processes, which must all take the same number of passes.
        """
        mask = column.get("attention_mask")
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        return (
            self.sort_by_length
            and not self._fixed_length()
            and not distributed
            and isinstance(mask, Tensor)
            and mask.device.type == "cpu"
            and all(value.shape == mask.shape for value in column.values() if isinstance(value, Tensor))
        )

    def _sorted(self, column: dict[str, Any]) -> tuple[dict[str, Any], Tensor | None]:
        if isinstance(column, LazyColumn):
            return column.by_length()
        return by_length(column, video_token_id=self._video_token_id(), fixed_length=self._fixed_length())

    def _ranges(self, features: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], int, int]]:
        """Every mini-batch in the order in which they are embedded: its column, and from where to where."""
        for column in features:
            for begin, end in _minibatch_ranges(column, self.mini_batch_size, self.mini_batch_num_tokens):
                yield column, begin, end

    def _reusable_tower(self) -> TowerReuse | None:
        tower = reusable_tower(self._network())
        if tower is None or (self.vision_cache is None and not (self.vision_reuse_gib and self.uses_gradient_cache)):
            return None
        config = getattr(self._network(), "config", None)
        return TowerReuse(
            tower,
            layers=getattr(config, "vision_feature_layer", None),
            lru=self.vision_cache,
            max_bytes=int(self.vision_reuse_gib * 2**30),
        )

    def _kept_minibatches(self, features: list[dict[str, Any]]) -> dict[Hashable, Tensor | None]:
        """Mini-batches that keep their graphs: the first ones, whose backward pass comes first and frees them.

        Never the last: its second pass tells DistributedDataParallel that the gradients are complete.
        """
        if isinstance(self.model, nn.parallel.DistributedDataParallel) and self.model.static_graph:
            return {}  # it wants the same passes every time
        keys = [(id(column), begin, end) for column, begin, end in self._ranges(features)]
        return dict.fromkeys(keys[:-1][: self.keep_graphs])

    def embed_minibatch(
        self,
        sentence_feature: dict[str, Any],
        begin: int,
        end: int,
        with_grad: bool,
        copy_random_state: bool,
        random_state: RandContext | None = None,
    ) -> tuple[Tensor, RandContext | None]:
        """Embed rows of a column; see :class:`CachedLossMixin`."""
        key = (id(sentence_feature), begin, end)
        graph = self._graphs.pop(key, None) if with_grad else None
        if graph is not None:
            return graph, None
        keep = not with_grad and key in self._graphs
        part = self._slice(sentence_feature, begin, end)
        grad = self._without_sync() if keep else nullcontext() if with_grad else torch.no_grad()
        again = copy_random_state and not keep  # the backward pass embeds it once more
        slim = outline(part)  # now: modules write into what they get
        with self._vision(key, with_grad=with_grad, again=again), random_state or nullcontext(), grad:
            state = RandContext(*part.values()) if copy_random_state else None
            embedding = self.embedding_of(part)
        if keep:
            self._graphs[key] = embedding
        if isinstance(sentence_feature, LazyColumn) and again and self._tower is not None and self._tower.kept(key):
            sentence_feature.feed.keep_outline(sentence_feature.piece(begin, end), slim)
        return embedding, state

    def _vision(self, key: Hashable, *, with_grad: bool, again: bool) -> AbstractContextManager[None]:
        """How the tower's output is kept and used while a mini-batch is embedded."""
        if self._tower is None:
            return nullcontext()
        if with_grad and key in self._tower:
            return self._tower.replaying(key)
        return self._tower.recording(key if again else None)

    def _without_sync(self) -> AbstractContextManager[None]:
        parallel = isinstance(self.model, nn.parallel.DistributedDataParallel)
        return self.model.no_sync() if parallel else nullcontext()

    def _slice(self, column: dict[str, Any], begin: int, end: int) -> dict[str, Any]:
        if isinstance(column, LazyColumn):
            return column.feed.take(column.piece(begin, end))
        return create_minibatch(
            column, begin, end, video_token_id=self._video_token_id(), fixed_length=self._fixed_length()
        )

    def _fixed_length(self) -> bool:
        network = self._network()
        return network is not None and family_of(network).padded

    def _video_token_id(self) -> int | None:
        return getattr(getattr(self._network(), "config", None), "video_token_id", None)

    def _network(self) -> nn.Module | None:
        """The transformers model inside."""
        model = self.model.module if isinstance(self.model, nn.parallel.DistributedDataParallel) else self.model
        return getattr(model[0], "model", None)
