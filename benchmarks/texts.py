"""Real texts of several lengths, cut from the benchmark documents."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

from mindset.text.plain import plain_text

DATA = Path(__file__).parents[2] / "shared" / "data"
_QUESTIONS = 500


def real_texts(folders: list[Path], count: int) -> tuple[list[str], list[str]]:
    """Return `count` different windows of real text of several lengths, and questions: other windows of 15 words."""
    files = sorted(file for folder in folders for file in folder.rglob("*.md"))
    words = [plain_text(file.read_text(encoding="utf-8")).split() for file in files]
    windows = list(
        dict.fromkeys(text for file in words for length in (10, 20, 40, 80, 160) for text in _windows(file, length))
    )
    questions = list(dict.fromkeys(text for file in words for text in _windows(file, 15)))
    choose = random.Random(0)
    choose.shuffle(windows)
    choose.shuffle(questions)
    if len(windows) < count:
        sys.exit(
            f"The Markdown below {', '.join(map(str, folders))} has {len(windows):,} texts; {count:,} are needed. "
            "Name folders with more text: --corpus FOLDER [FOLDER ...], for example your own documentation."
        )
    return windows[:count], questions[:_QUESTIONS]


def _windows(words: list[str], length: int) -> Iterator[str]:
    """Yield windows of `length` words. The step is a quarter of the length, at least six words."""
    for start in range(0, len(words), max(6, length // 4)):
        yield " ".join(words[start : start + length])
