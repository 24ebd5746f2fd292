"""The model that :func:`llave.load_model` returns: a ``SentenceTransformer`` with one preprocessing for every door."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base import BaseModel
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from llave.data.identity import normal_text
from llave.data.sound import Hearing
from llave.errors import DataError, UserError
from llave.models import towers
from llave.models.bare import lay_out
from llave.models.cut import common_end, cut_rows, shortened
from llave.models.families import UNKNOWN, Family, PoolingMode, family_of
from llave.models.fit import MediaTokens, count_media, fit_input
from llave.models.formatter import Formatter, Prompts
from llave.models.pooled import UNLIMITED, pooled, take_videos
from llave.models.prompts import kinds_of, stacked
from llave.models.sounds import hearing_of, is_cut

__all__ = ["LATE", "SOUND_COUNTS", "Cuts", "EmbeddingModel", "Fusion", "Prepared", "Prompt"]

Prompt = str | Sequence[str | None] | None
"""Of a batch: one for all inputs, one for each of them, or none."""
Fusion = Literal["mean", "none"]
"""Of a text and pictures in one item of a dual encoder: the mean of the two unit vectors, or such items are refused."""
LATE = ("MultiVectorEncoder", "ColBERT")
"""Types, in their own files, of models that keep a vector for each token."""
SOUND_COUNTS = "num_sounds_per_sample"
"""Feature (B,) beside sentence-transformers' ``num_images_per_sample`` and ``num_videos_per_sample``."""


@dataclass(slots=True)
class Cuts:
    """Since a model was opened: texts that were longer than it reads, the tokens that it did not read, and sounds that
    were longer than it hears."""

    texts: int = 0
    tokens: int = 0
    sounds: int = 0


class Media(BaseModel):
    """What a model was opened from, and what it takes beside texts.

    Attributes:
        source: the directory or hub id that it was opened from, "" if it was put together.
        quantized: "int8" where its linear layers are.
    """

    source: str = ""
    quantized: Literal["int8"] | None = None

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """As sentence-transformers does; nothing would open one in int8."""
        if self.quantized:
            raise UserError(f"{self.source}: a model in {self.quantized} is not saved; open it without quantize")
        super().save_pretrained(*args, **kwargs)

    @cached_property
    def _takes(self) -> list[str]:
        return [kind for kind in kinds_of(self) if kind != "text"]

    @cached_property
    def hearing(self) -> Hearing | None:
        """What it hears of a sound; None of a model that takes none."""
        return hearing_of(self[0]) if "audio" in self._takes else None

    @cached_property
    def _media_tokens(self) -> MediaTokens:
        transformer = self[0]
        if not isinstance(transformer, Transformer) or not self._takes:
            return MediaTokens([])
        return MediaTokens.of(transformer.processor, transformer.config, transformer.tokenizer)


class Prepared(Media):
    """Every way in leads through :meth:`preprocess`: ``encode``, training, evaluation, index and server.

    Stands before one of sentence-transformers' models among a class's bases. What it saves is a plain
    sentence-transformers directory.

    Attributes:
        cuts: what was cut; a caller that wants to know of a part of its work looks before and after.
        fusion: of a dual encoder.
    """

    fusion: Fusion | None = None

    def _post_init(self) -> None:
        super()._post_init()
        self.cuts = Cuts()
        self._ends: dict[str | None, int] = {}
        transformer = self[0]
        if isinstance(transformer, Transformer):
            take_videos(transformer)
            old = transformer.input_formatter
            transformer.input_formatter = Formatter(
                old.model_type, old.message_format, old.processor, old.supported_modalities
            )

    @property
    def family(self) -> Family:
        """What is known of its backbone."""
        return family_of(self[0].model) if isinstance(self[0], Transformer) else UNKNOWN

    @property
    def is_dual(self) -> bool:
        """Whether texts and pictures have a tower each, whose vectors are in one space."""
        return isinstance(self[0], Transformer) and self[0].module_output_name == "sentence_embedding"

    def supports(self, modality: Any) -> bool:
        """Also what a dual encoder's towers make together: videos, and a text with a picture."""
        if self.is_dual and modality in ("video", ("image", "text"), ("text", "image")):
            both = modality == "video" or (self.fusion != "none" and super().supports("text"))
            return both and super().supports("image")
        return super().supports(modality)

    def is_singular_input(self, inputs: Any) -> Any:  # there: a guard for its own types
        """Also a path and the bytes of a picture are one input."""
        return isinstance(inputs, (Path, bytes)) or super().is_singular_input(inputs)

    def preprocess(self, inputs: Sequence[Any], prompt: Prompt = None, **kwargs: Any) -> dict[str, Any]:
        """Inputs as the model's features; see :func:`llave.models.fit.fit_input` for their forms.

        Args:
            inputs: texts, pictures, dictionaries of both.
            prompt: before every input, or one for each. As sentence-transformers has it: a turn of the system where
                the model has a chat template, otherwise words before a text.

        Raises:
            DataError: a picture or sound that cannot be decoded, or a picture and a prompt that leave no room for the
                text.
        """
        fitted = self._fitted(inputs)
        features, cut = self._preprocess(fitted, prompt, kwargs)
        for kind, values, counts in (
            ("video", "pixel_values_videos", "num_videos_per_sample"),
            ("audio", "input_features", SOUND_COUNTS),
        ):
            if values in features and counts not in features:
                features[counts] = torch.tensor([count_media(entry, kind) for entry in fitted])
        self.cuts.sounds += sum(is_cut(entry, self.hearing) for entry in fitted)
        self.cuts.texts += len(cut)
        self.cuts.tokens += sum(cut.values())
        return features

    def cut_tokens(self, inputs: Sequence[Any], prompt: Prompt = None) -> list[int]:
        """How many tokens of each input's text the model does not read. Costs what preprocessing them costs."""
        prompts = self._prompts(prompt, len(inputs))
        fitted = self._fitted(inputs)
        cuts = [self._preprocess([entry], words, {})[1] for entry, words in zip(fitted, prompts, strict=True)]
        return [cut.get(0, 0) for cut in cuts]

    def _fitted(self, inputs: Sequence[Any]) -> list[Any]:
        """Inputs in the one form; the times of a video's frames only where the model is told them."""
        fitted = [fit_input(entry, self._media_tokens, self._takes, self.hearing) for entry in inputs]
        if self.family.timed:
            return fitted
        return [
            {**entry, "video": stacked(entry["video"])} if isinstance(entry, dict) and "video" in entry else entry
            for entry in fitted
        ]

    def _preprocess(
        self, fitted: list[Any], prompt: Prompt, kwargs: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[int, int]]:
        """Features, and the tokens that were cut, by row."""
        prompts = self._prompts(prompt, len(fitted))
        if self.family.bare:
            plain = towers.Rows.of(fitted, prompts, fused=True)
            if plain is None:
                raise DataError("this model takes texts and pictures, no chats and no pairs")
            return lay_out(plain, self[0].processor, self._limit(fitted, kwargs))
        if self.is_dual:
            rows = towers.Rows.of(fitted, prompts, fused=self.fusion != "none")
            if rows is not None and rows.mixed:
                return self._two_towers(rows, kwargs)
        one = prompts[0] if len(set(prompts)) == 1 else None
        together: Any = one if len(set(prompts)) <= 1 else Prompts(prompts)
        if not self._is_chat and one is None and any(prompts):
            fitted, together = self._prefixed(fitted, prompts), None
        limit = self._limit(fitted, kwargs)
        if limit is not None and self._is_chat:
            return self._whole(fitted, prompts, together, limit, kwargs)
        features = super().preprocess(fitted, prompt=together, **kwargs)
        return features, {} if limit is None else self._cut_by_tokenizer(fitted, together or "", features, limit)

    def _two_towers(self, rows: towers.Rows, kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[int, int]]:
        preprocess = super().preprocess
        features = rows.features(lambda some: preprocess(some, **kwargs), self.tokenizer.pad_token_id or 0)
        texts = [text or "" for text in rows.texts]
        limit = self._limit(texts, kwargs)
        return features, {} if limit is None else self._cut_by_tokenizer(texts, "", features, limit)

    def _cut_by_tokenizer(self, fitted: list[Any], prompt: str, features: dict[str, Any], limit: int) -> dict[int, int]:
        """What a tokenizer cut off texts without a template, whose end it keeps; counted only where it may have."""
        mask_BT, ids_BT = features.get("attention_mask"), features.get("input_ids")
        if mask_BT is None and ids_BT is not None:  # padded to one length, and told to nobody: SigLIP
            mask_BT = ids_BT != self.tokenizer.pad_token_id
        full = [] if mask_BT is None else (mask_BT.sum(1) >= limit).nonzero().flatten().tolist()
        counts = {row: len(self.tokenizer(prompt + _text(fitted[row]), verbose=False)["input_ids"]) for row in full}
        return {row: count - limit for row, count in counts.items() if count > limit}

    def _whole(
        self, fitted: list[Any], prompts: list[str | None], together: Any, limit: int, kwargs: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[int, int]]:
        """Features of ``limit`` tokens at most, cut in the users' texts alone, and the tokens that were cut, by row."""
        texts = [_text(entry) for entry in fitted]
        cut_before: dict[int, int] = {}
        for row, text in enumerate(texts):
            texts[row], number = shortened(text, self.tokenizer, limit)
            if number:
                cut_before[row] = number
                fitted[row] = {**fitted[row], "text": texts[row]} if isinstance(fitted[row], dict) else texts[row]
        given = kwargs.pop("processing_kwargs", None) or {}
        words = {**given.get("text", {}), "truncation": False, "verbose": False}
        kwargs["processing_kwargs"] = {**given, "text": words}
        features = super().preprocess(fitted, prompt=together, **kwargs)
        lengths: list[int] = features["attention_mask"].sum(1).tolist()
        cuts: dict[int, tuple[int, int]] = {}
        for row, length in enumerate(lengths):
            if length <= limit:
                continue
            own = len(self.tokenizer(texts[row], add_special_tokens=False, verbose=False)["input_ids"])
            if length - limit >= own:
                raise DataError(
                    f"{length - own} tokens of pictures, frames and prompt, and the model reads {limit}: "
                    "no room is left for a text; give fewer or smaller ones"
                )
            cuts[row] = (length - limit, self._end(prompts[row]))
        if cuts:
            fill = {"input_ids": self.tokenizer.pad_token_id or 0}
            cut_rows(features, cuts, fill, self.tokenizer.padding_side)
        return features, {row: number + cut_before.get(row, 0) for row, (number, _) in cuts.items()}

    def _end(self, prompt: str | None) -> int:
        """How many tokens the template puts behind a text."""
        if prompt not in self._ends:
            if len(self._ends) > 1000:  # a server's clients may send any prompt
                self._ends.clear()
            one, other = (
                super(Prepared, self).preprocess([text], prompt=prompt)["input_ids"][0] for text in ("0", "1 2 3 4")
            )
            self._ends[prompt] = common_end(one, other)
        return self._ends[prompt]

    def _limit(self, fitted: list[Any], kwargs: dict[str, Any]) -> int | None:
        """Tokens that an input may have; None where sentence-transformers cuts as it should, or nothing does."""
        transformer = self[0]
        if not isinstance(transformer, Transformer):
            return None
        chats = any(_of_messages(entry) for entry in fitted)
        flat = transformer.can_flatten_inputs and all(isinstance(entry, str) for entry in fitted)
        words = {**transformer.processing_kwargs.get("text", {})}
        words |= (kwargs.get("processing_kwargs") or {}).get("text", {})
        if chats or flat or self.tokenizer is None or words.get("truncation") is False:
            return None
        task = kwargs.get("task")
        of_task = getattr(transformer, f"{task}_length", None) if task in ("query", "document") else None
        limit = words.get("max_length") or kwargs.get("max_length") or of_task or self.max_seq_length
        return int(limit) if limit is not None and limit < UNLIMITED else None

    @property
    def _is_chat(self) -> bool:
        return isinstance(self[0], Transformer) and "message" in self[0].modality_config

    def _prompts(self, prompt: Prompt, number: int) -> list[str | None]:
        """The prompt of each input, None for an empty one; what is fitted in a text is fitted in a prompt."""
        given = [prompt] * number if prompt is None or isinstance(prompt, str) else list(prompt)
        if len(given) != number:
            raise ValueError(f"{len(given)} prompts for {number} inputs")
        fitted = {words: self._media_tokens.as_text(normal_text(words)) for words in {*given} if words}
        return [fitted[words] if words else None for words in given]

    def _prefixed(self, fitted: list[Any], prompts: list[str | None]) -> list[Any]:
        """Texts with their own prompt before each, as sentence-transformers does with one for all."""
        if any(isinstance(module, Pooling) and not module.include_prompt for module in self):
            raise UserError(
                "this model leaves its prompt out of the mean, and takes one prompt for all inputs of a batch"
            )
        return [
            words + entry if words and isinstance(entry, str) else entry
            for words, entry in zip(prompts, fitted, strict=True)
        ]


class EmbeddingModel(Prepared, SentenceTransformer):  # type: ignore[misc]  # a guard for its own inputs
    """A vector for each input.

    Args:
        pooling: of a raw checkpoint; None is what its family was made for.
        fusion: of a dual encoder; None is what its directory says, "mean" if that says nothing.
    """

    def __init__(
        self, *args: Any, pooling: PoolingMode | None = None, fusion: Fusion | None = None, **kwargs: Any
    ) -> None:
        self._wanted_pooling = pooling
        self.fusion = fusion
        super().__init__(*args, **kwargs)

    def _load_default_modules(self, model_name_or_path: str, *args: Any, **kwargs: Any) -> Any:
        """The modules of a raw checkpoint, be it a directory or a hub id: pooled as its family was made for.

        Raises:
            UserError: a vision-language model whose pooling is not known.
        """
        modules, options = super()._load_default_modules(model_name_or_path, *args, **kwargs)
        assert isinstance(modules, list)
        return pooled(model_name_or_path, modules, self._wanted_pooling), options

    def _get_model_type(self, model_name_or_path: str, *args: Any, **kwargs: Any) -> str:
        kind: str = super()._get_model_type(model_name_or_path, *args, **kwargs)
        if kind in LATE:
            raise UserError(f"{model_name_or_path}: a late-interaction model: a vector for each token, not one for all")
        return kind

    def _parse_model_config(self, model_config: dict[str, Any]) -> None:
        super()._parse_model_config(model_config)
        self.fusion = self.fusion or model_config.get("fusion")

    def _get_model_config(self) -> dict[str, Any]:
        said = {"fusion": self.fusion or "mean"} if self.is_dual else {}
        return super()._get_model_config() | said

    def forward(self, input: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """The features with ``sentence_embedding`` (B, D)."""
        if input.get("modality") != towers.MIXED:
            sounds = input.pop(SOUND_COUNTS, None)  # no network knows it
            return super().forward(input, **kwargs) | ({} if sounds is None else {SOUND_COUNTS: sounds})
        plain = super().forward
        return {**input, "sentence_embedding": towers.fuse(input, lambda part: plain(part)["sentence_embedding"])}


def _text(entry: Any) -> str:
    """The text of a fitted input, "" without one."""
    text = entry.get("text", "") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) else ""


def _of_messages(entry: Any) -> bool:
    """Whether an input is a pair or made of messages: sentence-transformers cuts those."""
    return isinstance(entry, (list, tuple)) or (isinstance(entry, dict) and "content" in entry)
