"""The model behind a :class:`~llave.rerank.reranker.Reranker`: a ``CrossEncoder`` with one preprocessing for all.

What it saves is a plain sentence-transformers directory, which ``CrossEncoder(path)`` opens.
"""

from collections.abc import Sequence
from typing import Any

from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules.logit_score import LogitScore
from transformers import AutoConfig

from llave.errors import DataError, UserError
from llave.models.cut import shortened
from llave.models.families import UNKNOWN, Family, family_of, family_of_type
from llave.models.fit import fit_input
from llave.models.model import Cuts, Media
from llave.models.pooled import UNLIMITED, take_videos
from llave.models.prompts import stacked

__all__ = ["PairModel"]

TRIES = 5
"""A shortened text's last tokens may be others than they were, so that it is measured again."""


class PairModel(Media, CrossEncoder):
    """Every way in leads through :meth:`preprocess`: ``predict``, training, evaluation and server.

    Attributes:
        cuts: what was cut of texts since it was opened.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cuts = Cuts()
        if isinstance(self[0], Transformer):
            take_videos(self[0])

    def _load_default_modules(self, model_name_or_path: str, *args: Any, **kwargs: Any) -> Any:
        """The modules of a raw checkpoint: a classifier's own, or "yes" against "no" where its family is asked so.

        Raises:
            UserError: a checkpoint that is no reranker.
        """
        options = {key: kwargs.get(key) for key in ("token", "revision")}
        given = {**options, "trust_remote_code": False, "local_files_only": bool(kwargs.get("local_files_only"))}
        config = AutoConfig.from_pretrained(model_name_or_path, cache_dir=kwargs.get("cache_folder"), **given)
        kinds = list(config.architectures or [""])
        if kinds[0].endswith("ForSequenceClassification"):
            return super()._load_default_modules(model_name_or_path, *args, **kwargs)
        family = family_of_type(config.model_type)
        if family is None or not family.pair_template or not kinds[0].endswith("ForConditionalGeneration"):
            raise UserError(
                f"{model_name_or_path}: no reranker ({kinds[0] or config.model_type}); "
                "train one from it: llave train RECIPE --task rerank"
            )
        self.model_card_data.set_base_model(model_name_or_path, revision=kwargs.get("revision"))
        transformer = Transformer(
            model_name_or_path,
            transformer_task="any-to-any",
            model_kwargs={**given, **(kwargs.get("model_kwargs") or {})},
            processor_kwargs={**given, **(kwargs.get("processor_kwargs") or {})},
            config_kwargs={**given, **(kwargs.get("config_kwargs") or {})},
        )
        transformer.processor.chat_template = family.pair_template
        return [transformer, yes_or_no(transformer)], {}

    @property
    def family(self) -> Family:
        """What is known of its backbone."""
        return family_of(self[0].model) if isinstance(self[0], Transformer) else UNKNOWN

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Pairs as the model's features; see :func:`llave.models.fit.fit_input` for the forms of their parts.

        A pair that is longer than the model reads loses the end of its longer text; pictures and the template stay.

        Args:
            inputs: pairs of a query and a document.
            prompt: an instruction for all of them, for models that take one.

        Raises:
            DataError: a picture that cannot be decoded, or pictures that leave no room for a text.
        """
        fitted = [self._fit(entry) for entry in inputs]
        limit = self._limit
        if limit is None:
            return super().preprocess(fitted, prompt=prompt, **kwargs)
        given = kwargs.pop("processing_kwargs", None) or {}
        words = {**given.get("text", {}), "truncation": False, "verbose": False}
        kwargs["processing_kwargs"] = {**given, "text": words}
        fitted = [self._shorter(entry, limit) for entry in fitted]
        cut: dict[int, int] = {}
        for _ in range(TRIES):
            features = super().preprocess(fitted, prompt=prompt, **kwargs)
            lengths: list[int] = features["attention_mask"].sum(1).tolist()
            over = {row: length - limit for row, length in enumerate(lengths) if length > limit}
            if not over:
                self.cuts.texts += len(cut)
                self.cuts.tokens += sum(cut.values())
                return features
            for row, tokens in over.items():
                fitted[row] = self._without(fitted[row], tokens)
                cut[row] = cut.get(row, 0) + tokens
        raise DataError(f"a pair that does not fit in the {limit} tokens that the model reads")

    def _fit(self, entry: Any) -> Any:
        fitted = fit_input(entry, self._media_tokens, self._takes, self.hearing)
        if not self._takes and isinstance(fitted, (tuple, list)):  # a text like "photo.jpg" comes in a dictionary
            return type(fitted)(
                part["text"] if isinstance(part, dict) and [*part] == ["text"] else part for part in fitted
            )
        if self.family.timed or not isinstance(fitted, (tuple, list)):
            return fitted
        return tuple(
            {**part, "video": stacked(part["video"])} if isinstance(part, dict) and "video" in part else part
            for part in fitted
        )

    def _shorter(self, pair: Any, limit: int) -> Any:
        """Without what of a book the model would never read."""
        texts = _texts(pair)
        for place, text in enumerate(texts):
            short, number = shortened(text, self.tokenizer, limit)
            if number:
                pair = _with(pair, place, short)
        return pair

    def _without(self, pair: Any, tokens: int) -> Any:
        """The pair without so many tokens at the end of its texts, of the longer one first."""
        counts = [self._offsets(text) for text in _texts(pair)]
        if tokens >= sum(map(len, counts)):
            raise DataError(
                f"the pictures and frames of a pair leave no room for a text in the {self._limit} tokens that the "
                "model reads; give fewer or smaller ones"
            )
        keep = [len(offsets) for offsets in counts]
        for _ in range(tokens):
            longer = keep.index(max(keep))
            keep[longer] -= 1
        for place, (number, offsets) in enumerate(zip(keep, counts, strict=True)):
            if number < len(offsets):
                pair = _with(pair, place, _texts(pair)[place][: offsets[number - 1][1] if number else 0])
        return pair

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        found: list[tuple[int, int]] = encoded["offset_mapping"]
        return found

    @property
    def _limit(self) -> int | None:
        """Tokens that a pair may have; None where the tokenizer cuts as it should, or nothing does."""
        transformer = self[0]
        if not isinstance(transformer, Transformer) or "message" not in transformer.modality_config:
            return None
        limit = self.max_seq_length
        return int(limit) if limit is not None and limit < UNLIMITED and self.tokenizer.is_fast else None


def yes_or_no(transformer: Transformer) -> LogitScore:
    """The score of a generative model: the logit of "yes" at the last place, less that of "no".

    Raises:
        UserError: a tokenizer in which one of them is not one token.
    """
    tokenizer: Any = transformer.tokenizer
    ids = {word: tokenizer.encode(word, add_special_tokens=False) for word in ("yes", "no")}
    if any(len(tokens) != 1 for tokens in ids.values()):
        raise UserError("'yes' and 'no' are no tokens of this model, so that it cannot be asked for a judgement")
    return LogitScore(true_token_id=ids["yes"][0], false_token_id=ids["no"][0])


def _texts(pair: Any) -> list[str]:
    """The text of each of the two, "" without one."""
    texts = [part.get("text", "") if isinstance(part, dict) else part for part in pair]
    return [text if isinstance(text, str) else "" for text in texts]


def _with(pair: Any, place: int, text: str) -> Any:
    """The pair with another text in one place."""
    part = pair[place]
    changed = {**part, "text": text} if isinstance(part, dict) else text
    return tuple(changed if number == place else one for number, one in enumerate(pair))
