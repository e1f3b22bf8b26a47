"""Markers `[n]` in a stream of text: which passages an answer stands on."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A marker's length is bounded, so that what is held back is, too: what may still become a marker when more text comes.
_MARKER = re.compile(r"\[(?=[\d,\s]{1,250}\])(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_UNFINISHED = re.compile(r"\[[\d,\s]{0,250}$")


@dataclass(frozen=True, slots=True)
class Citation:
    """Passage number `passage` supports the characters of the answer before `end`, from the marker before it."""

    passage: int
    start: int
    end: int


class CitationReader:
    """Reads an answer as it streams; markers of passages that were not given, and leading space, are left out."""

    def __init__(self, passages: int) -> None:
        self._passages = passages
        self._held = ""
        self._length = 0
        self._since = 0
        self._told = 0
        self.citations: list[Citation] = []

    def feed(self, piece: str) -> str:
        """The text that is final now."""
        text = self._held + piece
        unfinished = _UNFINISHED.search(text)
        cut = unfinished.start() if unfinished else len(text)
        self._held = text[cut:]
        return self._release(text[:cut])

    def finish(self) -> str:
        """The text that was held back."""
        held, self._held = self._held, ""
        return self._release(held)

    def new_citations(self) -> list[Citation]:
        """Those read since this was last asked."""
        new, self._told = self.citations[self._told :], len(self.citations)
        return new

    def _release(self, text: str) -> str:
        released: list[str] = []
        at = 0
        for match in _MARKER.finditer(text):
            self._take(released, text[at : match.start()])
            known = [number for number in map(int, match[1].split(",")) if 1 <= number <= self._passages]
            end = self._length
            self.citations.extend(Citation(number, self._since, end) for number in known)
            if known:
                self._take(released, "".join(f"[{number}]" for number in known))
                self._since = self._length
            at = match.end()
        self._take(released, text[at:])
        return "".join(released)

    def _take(self, released: list[str], text: str) -> None:
        text = text if self._length else text.lstrip()
        released.append(text)
        self._length += len(text)
