"""Where sentences end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sentencex import segment

# The segmenter panics at a space outside ASCII between a single letter and a full stop, as in "Plan A\u00a0.".
_WIDE_SPACE = re.compile(r"[^\S\t\n ]")


def split_sentences(text: str) -> Iterator[str]:
    """The sentences of a text, each with the white space behind it; joined they are the text."""
    at = 0
    for each in segment("en", _WIDE_SPACE.sub(" ", text)):
        yield text[at : at + len(each)]
        at += len(each)
