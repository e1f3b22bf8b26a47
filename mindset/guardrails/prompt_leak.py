"""Detect answers that reveal the system prompt, as plain text or in common encodings."""

from __future__ import annotations

import codecs
from base64 import b64encode
from collections.abc import Iterable
from functools import cache

LEAKED = "leaked-system-text"
"""Name of the rule."""

LEAK = 50
"""This many consecutive letters of the system prompt, eight to ten words, are not a coincidence."""

# A run of this many letters is held back until it ends or is a leak. Ordinary sentences share shorter runs.
_SUSPECT = 20


class LeakFilter:
    """Filters a stream of text. The result does not depend on how the text is split into pieces.

    Only letters are compared, so that neither spaces nor punctuation hide a leak."""

    def __init__(self, secret: str, quotable: Iterable[str] = ()) -> None:
        """`quotable` texts may be quoted, even if they contain the secret."""
        self._suspect_runs = _runs(secret)
        self._quotable_texts = list(quotable)
        self._quotable: str | None = None
        self._held = ""
        self._last_letters = ""
        self._run = ""  # the current run of the secret's letters, once it is suspect
        self.leaked = False

    def feed(self, text: str) -> str:
        """Return the text that can be released now; empty after a leak."""
        released: list[str] = []
        for character in "" if self.leaked else text:
            self._held += character
            if character.isalpha():
                self._read(character.lower())
            if self.leaked:
                self._held = ""
                break
            if not self._run:
                released.append(self._held)
                self._held = ""
        return "".join(released)

    def finish(self) -> str:
        """Return the text that was held back."""
        held, self._held = self._held, ""
        return held

    def _read(self, letter: str) -> None:
        self._last_letters = (self._last_letters + letter)[-_SUSPECT:]
        if self._last_letters not in self._suspect_runs:
            self._run = ""
            return
        self._run = (self._run + letter if self._run else self._last_letters)[-LEAK:]
        if len(self._run) == LEAK:
            if self._quotable is None:
                self._quotable = " ".join(map(_letters, self._quotable_texts))
            self.leaked = self._run not in self._quotable


@cache
def _runs(secret: str) -> frozenset[str]:
    """Return all runs of `_SUSPECT` letters in the secret: plain, reversed, as rot13 and as base64 at every offset."""
    raw = secret.encode()
    encoded = [b64encode(raw[offset:]).decode() for offset in range(3)]
    texts = map(_letters, (secret, secret[::-1], codecs.encode(secret, "rot13"), *encoded))
    return frozenset(text[start : start + _SUSPECT] for text in texts for start in range(len(text) - _SUSPECT + 1))


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text)).lower()
