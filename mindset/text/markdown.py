"""Split a text into blocks: headings, paragraphs, list items, tables and code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

from mindset.text.inline import inline_text
from mindset.text.markdown_parser import parse_heading

Kind = Literal["heading", "prose", "table", "code"]


@dataclass(frozen=True, slots=True)
class Block:
    """Characters `start` to `end` of a text. Tables and code are not split into sentences."""

    kind: Kind
    start: int
    end: int
    level: int = 0
    title: str = ""


# Inline parsing is not needed, and would take most of the time.
_PARSER = MarkdownIt("commonmark").enable("table").disable("inline")
MAX_HEADING_LENGTH = 300
"""In characters; a heading is repeated in the context of every chunk below it."""

_KINDS: dict[str, Kind] = {"table_open": "table", "fence": "code", "code_block": "code"}
_LIST_TYPES = {"bullet_list_open", "ordered_list_open"}


def markdown_blocks(text: str) -> Iterator[Block]:
    """Yield the top-level blocks of Markdown in order. Lists are split into their top-level items."""
    line_starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]

    def span(token: Token) -> tuple[int, int]:
        assert token.map is not None
        start, end = line_starts[token.map[0]], min(line_starts[token.map[1]], len(text))
        return start, start + len(text[start:end].rstrip())

    open_list: int | None = None
    tokens = _PARSER.parse(text)
    for index, token in enumerate(tokens):
        if token.map is None or token.nesting < 0:
            continue
        if token.level == 0 and token.type == "heading_open":
            title = inline_text(parse_heading(tokens[index + 1].content), in_heading=True)
            title = " ".join(title.split())[:MAX_HEADING_LENGTH].rstrip()
            yield Block("heading", *span(token), level=int(token.tag[1]), title=title)
        elif token.level == 0 and token.type in _LIST_TYPES:
            open_list = token.level
        elif token.type == "list_item_open" and open_list == 0 and token.level == 1:
            yield Block("prose", *span(token))
        elif token.level == 0 and token.type != "hr":
            yield Block(_KINDS.get(token.type, "prose"), *span(token))


def plain_blocks(text: str) -> Iterator[Block]:
    """Yield the paragraphs of plain text, which are separated by blank lines."""
    # Possessive quantifiers: backtracking would need memory for each position, and a paragraph can be the whole file.
    for match in re.finditer(r"\S(?:[^\n]++|\n(?![ \t]*+\n))*+", text):
        yield Block("prose", match.start(), match.start() + len(match[0].rstrip()))
