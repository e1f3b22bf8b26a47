"""Read citation markers `[n]` in a stream of text."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Besides [1], models write [1, 2], [1-3], [^1], [passage 1], 【1】 and 【1†source】. The length of a marker is limited,
# which also limits the text that is held back because it may become a marker.
_MAX_LENGTH = 250
_NAME = r"(?:passages?|sources?|documents?|docs?|ref(?:erence)?s?|citations?|no\.?|\#)"
_JOINT = r"(?:\s*(?:,|;|&|and|-|–)\s*)"
MARKER = re.compile(
    rf"(?:\[(?=[^\]]{{1,{_MAX_LENGTH}}}\])|【(?=[^】]{{1,{_MAX_LENGTH}}}】))\^?(?:{_NAME}\s*)?"
    rf"(?P<numbers>\d{{1,3}}(?:{_JOINT}\d{{1,3}})*)(?:†[^\]】\n]{{0,60}})?[\]】]",
    re.IGNORECASE,
)
# A complete marker is held back as well: the next character decides whether it could be mistaken for a link.
_UNFINISHED = re.compile(
    rf"(?:\[|【)(?:\^?(?:[A-Za-z#.]{{0,10}}\s*)?(?:[\d,;&–\s-]|a(?:nd?)?){{0,{_MAX_LENGTH}}}(?:†[^\]】\n]{{0,60}})?[\]】]?)?$",
    re.IGNORECASE,
)
_RANGE = re.compile(r"(\d{1,3})\s*[-–]\s*(\d{1,3})|(\d{1,3})")
_LINE_START = re.compile(r"(?:^|\n)[\s>*+\-\d.)]*$")


@dataclass(frozen=True, slots=True)
class Citation:
    """Passage number `passage` supports characters `start` to `end` of the answer.

    `end` is the position of the marker, `start` the end of the previous marker."""

    passage: int
    start: int
    end: int


class CitationReader:
    """Reads a streamed answer. Markers of passages that do not exist and leading white space are removed."""

    def __init__(self, passages: int) -> None:
        self._passages = range(1, passages + 1)
        self._held = ""
        self._tail = ""
        self._length = 0
        self._last_marker_end = 0
        self._returned = 0
        self.citations: list[Citation] = []

    def quote(self, text: str, passage: int) -> str:
        """Return a quotation of a passage with its marker, after what was held back. Nothing in the quotation is a marker."""
        released = [self.finish()]
        self._append(released, text if text.endswith("\n") else f"{text} ")
        self._append_marker(released, [passage], "")
        return "".join(released)

    def feed(self, piece: str) -> str:
        """Return the text that can be released now."""
        text = self._held + piece
        unfinished = _UNFINISHED.search(text)
        cut = unfinished.start() if unfinished else len(text)
        self._held = text[cut:]
        return self._release(text[:cut], self._held[:1])

    def finish(self) -> str:
        """Return the text that was held back."""
        held, self._held = self._held, ""
        return self._release(held, "")

    def new_citations(self) -> list[Citation]:
        """Return the citations read since the last call."""
        new, self._returned = self.citations[self._returned :], len(self.citations)
        return new

    def _release(self, text: str, next_character: str) -> str:
        released: list[str] = []
        position = 0
        for match in MARKER.finditer(text):
            self._append(released, text[position : match.start()])
            position = match.end()
            self._append_marker(released, _numbers(match["numbers"]), text[position : position + 1] or next_character)
        self._append(released, text[position:])
        return "".join(released)

    def _append_marker(self, released: list[str], numbers: list[int], next_character: str) -> None:
        """Append a marker, with a space if it or its surroundings could be mistaken for a link."""
        valid = [number for number in numbers if number in self._passages]
        end = self._length
        self.citations.extend(Citation(number, self._last_marker_end, end) for number in valid)
        if valid:
            is_definition = next_character == ":" and bool(_LINE_START.search(self._tail))
            self._append(released, "".join(f"[{number}]" for number in valid))
            self._last_marker_end = self._length
            self._append(released, " " if next_character == "(" or is_definition else "")
        elif self._tail[-1:].strip() and next_character.strip():
            self._append(released, " ")

    def _append(self, released: list[str], text: str) -> None:
        text = text if self._length else text.lstrip()
        released.append(text)
        self._tail = (self._tail + text)[-80:]
        self._length += len(text)


def _numbers(text: str) -> list[int]:
    """Return the numbers of a marker in order, without duplicates and with expanded ranges."""
    numbers: list[int] = []
    for first, last, single in _RANGE.findall(text):
        numbers += [int(single)] if single else range(int(first), int(last) + 1)
    return list(dict.fromkeys(numbers))
