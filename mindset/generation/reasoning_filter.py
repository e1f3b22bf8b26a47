"""Takes a model's reasoning, `<think>...</think>`, out of a stream of text."""

from __future__ import annotations

_OPEN, _CLOSE = "<think>", "</think>"


class ReasoningFilter:
    """Holds back only what may still become a tag; a tag may come in any number of bits."""

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False
        self._begun = False

    def feed(self, bit: str) -> str:
        """The text that is certainly no reasoning."""
        text, said = self._held + bit, ""
        while True:
            tag = _CLOSE if self._thinking else _OPEN
            before, found, text_after = text.partition(tag)
            if not found:
                break
            said += "" if self._thinking else before
            text, self._thinking = text_after, not self._thinking
        kept = _beginning_of(tag, text)
        self._held = text[len(text) - kept :]
        return self._say(said if self._thinking else said + text[: len(text) - kept])

    def finish(self) -> str:
        """What was held back; a tag never came of it."""
        held, self._held = self._held, ""
        return "" if self._thinking else self._say(held)

    def _say(self, text: str) -> str:
        # Models put blank lines between their reasoning and their answer.
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        return text


def _beginning_of(tag: str, text: str) -> int:
    """How many of the last characters of `text` begin `tag`."""
    return next((length for length in range(len(tag) - 1, 0, -1) if text.endswith(tag[:length])), 0)
