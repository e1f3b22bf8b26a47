"""The two common ways to cut, for comparison with the structural one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from semantic_text_splitter import TextSplitter

from mindset.chunking.chunk import CHARACTERS_PER_TOKEN, ChunkSpan


def recursive(text: str, budget_tokens: int, overlap_tokens: int) -> Iterator[ChunkSpan]:
    """Cut at the largest separator (paragraph, line, sentence, word) that keeps each piece within the budget."""
    size, overlap = budget_tokens * CHARACTERS_PER_TOKEN, overlap_tokens * CHARACTERS_PER_TOKEN
    for start, piece in TextSplitter(size, overlap=min(overlap, size - 1)).chunk_indices(text):
        yield ChunkSpan(start, start + len(piece))


def fixed(text: str, budget_tokens: int, overlap_tokens: int) -> Iterator[ChunkSpan]:
    """Cut every so many characters, wherever that falls."""
    size = budget_tokens * CHARACTERS_PER_TOKEN
    step = max(1, size - overlap_tokens * CHARACTERS_PER_TOKEN)
    end = 0
    for start in range(0, len(text), step):
        piece = text[start : start + size]
        words = re.search(r"\S(?:.*\S)?", piece, re.DOTALL)
        if words and start + words.end() > end:  # a window may add nothing but white space to the one before
            end = start + words.end()
            yield ChunkSpan(start + words.start(), end)
        if start + size >= len(text):
            return
