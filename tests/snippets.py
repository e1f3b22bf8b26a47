"""Code out of the pages that show it, to be run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

ADDRESS, QUESTION = "http://127.0.0.1:8080", "How do I roll back a release?"


def snippet(page: str, language: str, mark: str, **instead: str) -> str:
    """The first block of a language that contains a mark, with another `address`, `kb` and `question` than the page's."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    found: str = next(code for its, code in blocks if its == language and mark in code)
    shown = {"address": ADDRESS, "kb": '"docs"', "question": QUESTION}
    for name, value in instead.items():
        found = found.replace(shown[name], f'"{value}"' if name == "kb" else value)
    return found
