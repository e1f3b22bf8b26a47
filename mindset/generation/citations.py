"""Markers `[n]` in a stream of text: which passages an answer stands on."""

from __future__ import annotations

import re
from dataclasses import dataclass

# What models write for a marker, besides [1]: [1, 2], [1-3], [^1], [passage 1], 【1】, 【1†source】. A marker's length is
# bounded, so that what is held back is, too: what may still become a marker when more text comes.
_LONGEST = 250
_NAME = r"(?:passages?|sources?|documents?|docs?|ref(?:erence)?s?|citations?|no\.?|\#)"
_JOINT = r"(?:\s*(?:,|;|&|and|-|–)\s*)"
MARKER = re.compile(
    rf"(?:\[(?=[^\]]{{1,{_LONGEST}}}\])|【(?=[^】]{{1,{_LONGEST}}}】))\^?(?:{_NAME}\s*)?"
    rf"(?P<numbers>\d{{1,3}}(?:{_JOINT}\d{{1,3}})*)(?:†[^\]】\n]{{0,60}})?[\]】]",
    re.IGNORECASE,
)
# A whole marker is held, too: what comes right behind it decides whether it could be taken for a link.
_UNFINISHED = re.compile(
    rf"(?:\[|【)(?:\^?(?:[A-Za-z#.]{{0,10}}\s*)?(?:[\d,;&–\s-]|a(?:nd?)?){{0,{_LONGEST}}}(?:†[^\]】\n]{{0,60}})?[\]】]?)?$",
    re.IGNORECASE,
)
_RANGE = re.compile(r"(\d{1,3})\s*[-–]\s*(\d{1,3})|(\d{1,3})")
_LINE_BEGINS = re.compile(r"(?:^|\n)[\s>*+\-\d.)]*$")


@dataclass(frozen=True, slots=True)
class Citation:
    """Passage number `passage` supports the characters of the answer before `end`, from the marker before it."""

    passage: int
    start: int
    end: int


class CitationReader:
    """Reads an answer as it streams; markers of passages that were not given, and leading space, are left out."""

    def __init__(self, passages: int) -> None:
        self._known = range(1, passages + 1)
        self._held = ""
        self._tail = ""
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
        return self._release(text[:cut], self._held[:1])

    def finish(self) -> str:
        """The text that was held back."""
        held, self._held = self._held, ""
        return self._release(held, "")

    def new_citations(self) -> list[Citation]:
        """Those read since this was last asked."""
        new, self._told = self.citations[self._told :], len(self.citations)
        return new

    def _release(self, text: str, then: str) -> str:
        released: list[str] = []
        at = 0
        for match in MARKER.finditer(text):
            self._take(released, text[at : match.start()])
            at = match.end()
            self._mark(released, _numbers(match["numbers"]), text[at : at + 1] or then)
        self._take(released, text[at:])
        return "".join(released)

    def _mark(self, released: list[str], numbers: list[int], then: str) -> None:
        """A marker, and a space where it could be taken for part of a link, or what stands around it join up to one."""
        known = [number for number in numbers if number in self._known]
        end = self._length
        self.citations.extend(Citation(number, self._since, end) for number in known)
        if known:
            defines = then == ":" and bool(_LINE_BEGINS.search(self._tail))
            self._take(released, "".join(f"[{number}]" for number in known))
            self._since = self._length
            self._take(released, " " if then == "(" or defines else "")
        elif self._tail[-1:].strip() and then.strip():
            self._take(released, " ")

    def _take(self, released: list[str], text: str) -> None:
        text = text if self._length else text.lstrip()
        released.append(text)
        self._tail = (self._tail + text)[-80:]
        self._length += len(text)


def _numbers(text: str) -> list[int]:
    """Each number once, in order; a range stands for those within."""
    found: list[int] = []
    for first, last, alone in _RANGE.findall(text):
        found += [int(alone)] if alone else range(int(first), int(last) + 1)
    return list(dict.fromkeys(found))
