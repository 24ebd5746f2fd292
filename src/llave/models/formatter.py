"""sentence-transformers' formatter of messages, taught that every input of a batch may have a prompt of its own."""

from typing import Any

from sentence_transformers.base.modality import InputFormatter

__all__ = ["Formatter", "Prompts"]


class Prompts(tuple[str | None, ...]):
    """A prompt for each input, where sentence-transformers expects one."""

    __slots__ = ()


class Formatter(InputFormatter):
    """sentence-transformers' own, that can put another prompt before each input."""

    def prepend_prompt_to_messages(self, messages: list[Any], prompt: Any) -> list[Any]:
        """Each conversation behind a turn of the system with its prompt."""
        if not isinstance(prompt, Prompts):
            return super().prepend_prompt_to_messages(messages, prompt)
        return [
            super(Formatter, self).prepend_prompt_to_messages([one], words)[0] if words else one
            for one, words in zip(messages, prompt, strict=True)
        ]
