"""Hypothesis strategies for documents: well-formed Markdown, and arbitrary sequences of its tokens."""

from __future__ import annotations

import re
from html import unescape

from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mindset.text.normalization import normalize

WORDS = st.sampled_from(["harbour", "Zürich", "ferry", "pier", "sails", "at", "eight", "世界", "naïve", "7", "🌍"])
SENTENCES = st.lists(WORDS, min_size=2, max_size=8).map(lambda words: f"Then {' '.join(words)}.")
PARAGRAPHS = st.lists(SENTENCES, min_size=1, max_size=8).map(" ".join)
_LINES = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)
_BLOCKS = st.one_of(
    PARAGRAPHS,
    st.tuples(st.integers(1, 6), _LINES).map(lambda heading: f"{'#' * heading[0]} {heading[1]}"),
    st.lists(_LINES, min_size=1, max_size=9).map(lambda items: "\n".join(f"- {item}" for item in items)),
    st.lists(_LINES, min_size=1, max_size=9).map(
        lambda items: "1. First\n" + "\n".join(f"   - {item}" for item in items)
    ),
    st.lists(_LINES, min_size=1, max_size=30).map(lambda lines: "```\n" + "\n".join(lines) + "\n```"),
    st.lists(_LINES, min_size=1, max_size=30).map(
        lambda rows: "\n".join(["| a |", "| - |", *(f"| {row} |" for row in rows)])
    ),
    PARAGRAPHS.map(lambda text: f"> {text}"),
    PARAGRAPHS.map(lambda text: f"{text}\n==="),
    _LINES.map(lambda text: f"    {text}"),
    st.sampled_from(["---", "[ref]: https://example.org 'Title'", "<div>\nin HTML\n</div>", "<!-- hidden -->", "***"]),
)
WELL_FORMED = st.lists(_BLOCKS, min_size=1, max_size=12).map("\n\n".join)
_TOKENS = ["#", " ", "\n", "\n\n", "- ", "* ", "1. ", "> ", "```", "~~~", "|", "| - |", "---", "===", "    ", "\t", "[a]: b",
          "<p>", "`", "\\", "Word. ", "word", "é", "\u00a0", "\u3000", "🌍", "&nbsp;"]  # fmt: skip
ARBITRARY = st.one_of(st.lists(st.sampled_from(_TOKENS), max_size=60).map("".join), st.text(max_size=200)).map(
    normalize
)
DOCUMENTS = st.one_of(WELL_FORMED, ARBITRARY)


def visible_characters(markdown: str) -> str:
    """Return the letters and digits of the rendered page."""
    page = MarkdownIt("commonmark").enable("table").render(markdown)
    return "".join(filter(str.isalnum, unescape(re.sub(r"<!--.*?-->|<[^>]*>", "", page, flags=re.DOTALL))))
