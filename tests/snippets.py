"""Extract runnable code from the documentation."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

ADDRESS, QUESTION = "http://127.0.0.1:8080", "How do I roll back a release?"


def snippet(page: str, language: str, mark: str, **replacements: str) -> str:
    """Return a page's first code block in a language that contains `mark`.

    `replacements` are values for the page's `address`, `kb` and `question`."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    code: str = next(code for block_language, code in blocks if block_language == language and mark in code)
    in_page = {"address": ADDRESS, "kb": '"docs"', "question": QUESTION}
    for name, value in replacements.items():
        code = code.replace(in_page[name], f'"{value}"' if name == "kb" else value)
    return code
