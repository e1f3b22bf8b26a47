"""Remove a model's reasoning, `<think>...</think>`, from a stream of text."""

from __future__ import annotations

_OPEN, _CLOSE = "<think>", "</think>"


class ReasoningFilter:
    """Filters a stream of text. Only text that may be the beginning of a tag is held back."""

    def __init__(self) -> None:
        self._held = ""
        self._in_reasoning = False
        self._started = False

    def feed(self, piece: str) -> str:
        """Return the text outside reasoning that can be released now."""
        text, released = self._held + piece, ""
        while True:
            tag = _CLOSE if self._in_reasoning else _OPEN
            before, separator, after = text.partition(tag)
            if not separator:
                break
            released += "" if self._in_reasoning else before
            text, self._in_reasoning = after, not self._in_reasoning
        held = _tag_prefix_length(tag, text)
        self._held = text[len(text) - held :]
        return self._release(released if self._in_reasoning else released + text[: len(text) - held])

    def finish(self) -> str:
        """Return the text that was held back."""
        held, self._held = self._held, ""
        return "" if self._in_reasoning else self._release(held)

    def _release(self, text: str) -> str:
        # Models put blank lines between reasoning and answer.
        if not self._started:
            text = text.lstrip()
            self._started = bool(text)
        return text


def _tag_prefix_length(tag: str, text: str) -> int:
    """Return the length of the longest suffix of `text` that is a prefix of `tag`."""
    return next((length for length in range(len(tag) - 1, 0, -1) if text.endswith(tag[:length])), 0)
