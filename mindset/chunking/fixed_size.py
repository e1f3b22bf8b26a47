"""Fixed-size and recursive chunking, the common methods that structural chunking is compared with."""

from __future__ import annotations

import re
from collections.abc import Iterator

from semantic_text_splitter import TextSplitter

from mindset.chunking.chunk import CHARACTERS_PER_TOKEN, ChunkSpan


def recursive(text: str, budget_tokens: int, overlap_tokens: int) -> Iterator[ChunkSpan]:
    """Cut at the largest separator (paragraph, line, sentence, word) that keeps the chunks within the budget."""
    size, overlap = budget_tokens * CHARACTERS_PER_TOKEN, overlap_tokens * CHARACTERS_PER_TOKEN
    for start, piece in TextSplitter(size, overlap=min(overlap, size - 1)).chunk_indices(text):
        yield ChunkSpan(start, start + len(piece))


def fixed(text: str, budget_tokens: int, overlap_tokens: int) -> Iterator[ChunkSpan]:
    """Cut into windows of a fixed number of characters, even within a word."""
    size = budget_tokens * CHARACTERS_PER_TOKEN
    step = max(1, size - overlap_tokens * CHARACTERS_PER_TOKEN)
    end = 0
    for start in range(0, len(text), step):
        window = text[start : start + size]
        words = re.search(r"\S(?:.*\S)?", window, re.DOTALL)
        # Skip a window that adds only white space to the previous one.
        if words and start + words.end() > end:
            end = start + words.end()
            yield ChunkSpan(start + words.start(), end)
        if start + size >= len(text):
            return
