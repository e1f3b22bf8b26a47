"""A document's text as blocks: the paragraphs, items, tables and code that its author made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

from mindset.text.plain import plain_text

Kind = Literal["heading", "prose", "whole"]


@dataclass(frozen=True, slots=True)
class Block:
    """Characters `start` to `end`; a `whole` block (table, code) is not cut at sentences."""

    kind: Kind
    start: int
    end: int
    level: int = 0
    title: str = ""


# Blocks are all that is wanted; what stands inside a line would cost most of the time.
_PARSER = MarkdownIt("commonmark").enable("table").disable("inline")
MAX_HEADING_LENGTH = 300  # it is repeated in the context of every chunk below it
_WHOLE = {"table_open", "fence", "code_block"}
_ITEMS = {"bullet_list_open", "ordered_list_open"}


def markdown_blocks(text: str) -> Iterator[Block]:
    """Top-level blocks of Markdown in order, lists as their items."""
    lines = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]

    def span(token: Token) -> tuple[int, int]:
        assert token.map is not None
        start, end = lines[token.map[0]], min(lines[token.map[1]], len(text))
        return start, start + len(text[start:end].rstrip())

    open_list: int | None = None
    tokens = _PARSER.parse(text)
    for index, token in enumerate(tokens):
        if token.map is None or token.nesting < 0:
            continue
        if token.level == 0 and token.type == "heading_open":
            title = plain_text(tokens[index + 1].content)[:MAX_HEADING_LENGTH].rstrip()
            yield Block("heading", *span(token), level=int(token.tag[1]), title=title)
        elif token.level == 0 and token.type in _ITEMS:
            open_list = token.level
        elif token.type == "list_item_open" and open_list == 0 and token.level == 1:
            yield Block("prose", *span(token))
        elif token.level == 0 and token.type != "hr":
            yield Block("whole" if token.type in _WHOLE else "prose", *span(token))


def plain_blocks(text: str) -> Iterator[Block]:
    """Paragraphs of plain text: what blank lines separate."""
    # Possessive: what may be tried again is remembered, and a paragraph may be as long as the file.
    for match in re.finditer(r"\S(?:[^\n]++|\n(?![ \t]*+\n))*+", text):
        yield Block("prose", match.start(), match.start() + len(match[0].rstrip()))
