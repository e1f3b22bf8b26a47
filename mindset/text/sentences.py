"""Split a text into sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sentencex import segment

from mindset.text.languages import language_code

# The segmenter panics at a non-ASCII space between a single letter and a full stop, as in "Plan A\u00a0.".
_WIDE_SPACE = re.compile(r"[^\S\t\n ]")
# The ends of sentences that are written without spaces, with closing brackets and quotation marks.
_WIDE_END = re.compile(r"(?<=[。！？｡])(?![。！？｡」』）”’\s])|(?<=[。！？｡][」』）”’])(?![。！？｡」』）”’\s])")


def split_sentences(text: str, language: str = "english") -> Iterator[str]:
    """Yield the sentences of a text in one of the languages of word analysis, with their trailing white space.

    Joined, they are the text. A sentence ends before white space, so never within ".NET" or "3.5"; only those of scripts
    without spaces end without."""
    position, sentence = 0, ""
    for part in segment(language_code(language), _WIDE_SPACE.sub(" ", text)):
        sentence += text[position : position + len(part)]
        position += len(part)
        if sentence[-1:].isspace() or position == len(text):
            yield from filter(None, _WIDE_END.split(sentence))
            sentence = ""
    if sentence:
        yield from filter(None, _WIDE_END.split(sentence))
