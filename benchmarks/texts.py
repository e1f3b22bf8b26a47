"""Real texts of several lengths, cut from the documents that the benchmarks run against."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from mindset.chunking.chunk import plain

DATA = Path(__file__).parents[2] / "shared" / "data"
_QUESTIONS = 500


def real_texts(folders: list[Path], count: int) -> tuple[list[str], list[str]]:
    """So many different windows of real text of several lengths, and questions: other windows of fifteen words."""
    files = sorted(file for folder in folders for file in folder.rglob("*.md"))
    words = [plain(file.read_text(encoding="utf-8")).split() for file in files]
    windows = list(
        dict.fromkeys(text for each in words for length in (10, 20, 40, 80, 160) for text in _windows(each, length))
    )
    others = list(dict.fromkeys(text for each in words for text in _windows(each, 15)))
    choose = random.Random(0)
    choose.shuffle(windows)
    choose.shuffle(others)
    assert len(windows) >= count, f"the corpora give {len(windows)} texts; name more with --corpus"
    return windows[:count], others[:_QUESTIONS]


def _windows(words: list[str], length: int) -> Iterator[str]:
    """Windows of so many words, each beginning six words after the one before, or a quarter of its length."""
    for start in range(0, len(words), max(6, length // 4)):
        yield " ".join(words[start : start + length])
