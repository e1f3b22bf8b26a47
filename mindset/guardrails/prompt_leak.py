"""Whether an answer tells what the system was told, in plain letters or in the encodings that models are talked into."""

from __future__ import annotations

import codecs
from base64 import b64encode
from collections.abc import Iterable
from functools import cache

LEAKED = "leaked-system-text"
"""Name of the rule."""

LEAK = 50
"""So many letters in a row of the system's text are no accident; eight to ten words."""

# From here on a run is held back until it is over, or a leak: ordinary sentences share shorter ones with any text.
_SUSPECT = 20


class LeakFilter:
    """However the text is cut into pieces, the same comes out. Looks at letters alone: neither space nor marks hide any."""

    def __init__(self, secret: str, quotable: Iterable[str] = ()) -> None:
        """`quotable`: texts that may be quoted, also where they hold the secret."""
        self._suspect = _pieces_of(secret)
        self._texts = list(quotable)
        self._quotable: str | None = None
        self._held = ""
        self._letters = ""  # the last ones
        self._run = ""  # the last letters that the secret has in a row, once they are suspect
        self.leaked = False

    def feed(self, text: str) -> str:
        """The text that is final now; none once something leaked."""
        told: list[str] = []
        for mark in "" if self.leaked else text:
            self._held += mark
            if mark.isalpha():
                self._read(mark.lower())
            if self.leaked:
                self._held = ""
                break
            if not self._run:
                told.append(self._held)
                self._held = ""
        return "".join(told)

    def finish(self) -> str:
        """The text that was held back."""
        held, self._held = self._held, ""
        return held

    def _read(self, letter: str) -> None:
        self._letters = (self._letters + letter)[-_SUSPECT:]
        if self._letters not in self._suspect:
            self._run = ""
            return
        self._run = (self._run + letter if self._run else self._letters)[-LEAK:]
        if len(self._run) == LEAK:
            if self._quotable is None:
                self._quotable = " ".join(map(_letters, self._texts))
            self.leaked = self._run not in self._quotable


@cache
def _pieces_of(secret: str) -> frozenset[str]:
    raw = secret.encode()
    encoded = [b64encode(raw[at:]).decode() for at in range(3)]
    texts = map(_letters, (secret, secret[::-1], codecs.encode(secret, "rot13"), *encoded))
    return frozenset(text[at : at + _SUSPECT] for text in texts for at in range(len(text) - _SUSPECT + 1))


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text)).lower()
