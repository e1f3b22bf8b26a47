"""Split a text into sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sentencex import segment

# The segmenter panics at a non-ASCII space between a single letter and a full stop, as in "Plan A\u00a0.".
_WIDE_SPACE = re.compile(r"[^\S\t\n ]")


def split_sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text with their trailing white space. Joined, they are the text."""
    position = 0
    for sentence in segment("en", _WIDE_SPACE.sub(" ", text)):
        yield text[position : position + len(sentence)]
        position += len(sentence)
