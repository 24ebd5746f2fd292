"""Tokens of texts: counted for the queue and the bill, and decoded where a client sends ids."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llave.evaluation.batches import CHARACTERS_PER_TOKEN
from llave.serving.errors import bad_request

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Tokens"]


class Tokens:
    """A copy of the model's tokenizer: the model's own is borrowed by its thread while it pads and truncates.

    Args:
        model: a model with a tokenizer.
    """

    def __init__(self, model: "SentenceTransformer") -> None:
        processor: Any = getattr(model, "processor", None) or model.tokenizer
        self._tokenizer: Any = copy.deepcopy(getattr(processor, "tokenizer", processor))
        self._backend: Any = getattr(self._tokenizer, "backend_tokenizer", None)
        if self._backend is not None:
            self._backend.no_truncation()
            self._backend.no_padding()
        self.size = len(self._tokenizer)
        longest = model.max_seq_length
        self.longest: int | None = longest if isinstance(longest, int) and longest < 10_000_000 else None
        self.special = int(self._tokenizer.num_special_tokens_to_add(pair=False))

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without those that the model adds."""
        if self._backend is None:
            return [len(text) // CHARACTERS_PER_TOKEN + 1 for text in texts]
        # One by one: a batch lets go of Python's lock, and the event loop would wait for the model's thread to get it.
        return [len(self._backend.encode(text, add_special_tokens=False).ids) if text else 0 for text in texts]

    def decode(self, ids: Sequence[int], place: str) -> str:
        """The text of token ids.

        Raises:
            ApiError: an id that the model does not have.
        """
        unknown = next((number for number in ids if not 0 <= number < self.size), None)
        if unknown is not None:
            raise bad_request(f"token {unknown} is not one of this model's {self.size:,}", place, "invalid_tokens")
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=True)
        if not text.strip():
            raise bad_request("these tokens are no text", place, "invalid_tokens")
        return text
