"""What can be quoted of a passage: its sentences, list items, table rows and code, as a reader of the page sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from markdown_it.token import Token

from mindset.text.inline import consists_of_links, inline_text
from mindset.text.markdown import plain_blocks
from mindset.text.markdown_parser import parse_markdown
from mindset.text.raw_html import html_block_text
from mindset.text.sentences import split_sentences

Kind = Literal["sentence", "item", "row", "code"]

MAX_LENGTH = 600
"""Longest sentence, item or row, in characters."""
MAX_CODE_LENGTH = 1_500

# "Note:" or "Subject: storm gate" at the beginning of a text is a label, not a sentence.
_LABEL = re.compile(r"[\w-]+: \S.*")
_MIN_WORDS = 3


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that can be quoted. Units of one list, table or code block have the same `block`."""

    kind: Kind
    text: str
    block: int
    lead: str = ""
    """What belongs before it: the sentence that introduces a list or code, or the header of a table."""


@lru_cache(maxsize=2_048)  # the same passages are found again and again, and never change
def units(text: str, media_type: str, language: str) -> tuple[Unit, ...]:
    """Return the units of a text in order. Headings, and list items that are only links, are left out."""
    read = _read_markdown(text, language) if media_type == "text/markdown" else _read_plain(text, language)
    return tuple(unit for unit in read if _is_quotable(unit))


def _is_quotable(unit: Unit) -> bool:
    if len(unit.text) > (MAX_CODE_LENGTH if unit.kind == "code" else MAX_LENGTH) or not any(
        map(str.isalnum, unit.text)
    ):
        return False
    # Words of scripts without spaces are not counted.
    return unit.kind != "sentence" or not unit.text.isascii() or len(unit.text.split()) >= _MIN_WORDS


def _read_plain(text: str, language: str) -> Iterator[Unit]:
    for number, block in enumerate(plain_blocks(text)):
        paragraph = text[block.start : block.end]
        for line in paragraph.split("\n") if _is_list_of_labels(paragraph) else [paragraph]:
            for sentence in _sentences(line, language):
                yield Unit("sentence", sentence, number)


def _is_list_of_labels(paragraph: str) -> bool:
    lines = paragraph.split("\n")
    return all(_LABEL.fullmatch(line.strip()) for line in lines)


def _sentences(text: str, language: str) -> Iterator[str]:
    for sentence in split_sentences(" ".join(text.split()), language):
        if sentence.strip():
            yield sentence.strip()


def _read_markdown(text: str, language: str) -> Iterator[Unit]:
    reader = _MarkdownReader(language)
    for token in parse_markdown(text):
        yield from reader.read(token)


class _MarkdownReader:
    def __init__(self, language: str) -> None:
        self._language = language
        self._block, self._depth = 0, 0
        self._lead = ""
        self._heading = False
        self._cells: list[str] | None = None
        self._header = ""

    def read(self, token: Token) -> Iterator[Unit]:
        """Yield the units that end with this token."""
        match token.type:
            case "heading_open" | "heading_close":
                self._heading, self._lead = token.nesting > 0, ""
            case "bullet_list_open" | "ordered_list_open" | "bullet_list_close" | "ordered_list_close":
                self._depth += token.nesting
                self._begin(outermost=self._depth == 1 and token.nesting > 0)
                self._lead = self._lead if self._depth else ""
            case "table_open":
                self._begin(outermost=True)
                self._header = ""
            case "tr_open":
                self._cells = []
            case "tr_close":
                yield from self._row()
            case "inline" if not self._heading:
                yield from self._inline(token)
            case "fence" | "code_block":
                self._begin(outermost=True)
                yield Unit("code", token.content.removesuffix("\n"), self._block, self._lead)
            case "html_block":
                for line in html_block_text(token.content).split("\n"):
                    yield from (
                        Unit("sentence", sentence, self._block) for sentence in _sentences(line, self._language)
                    )
            case _:
                pass

    def _begin(self, *, outermost: bool) -> None:
        self._block += outermost

    def _row(self) -> Iterator[Unit]:
        row, self._cells = " | ".join(self._cells or []), None
        if self._header:
            yield Unit("row", row, self._block, self._header)
        self._header = self._header or row

    def _inline(self, token: Token) -> Iterator[Unit]:
        text = " ".join(inline_text(token).split())
        if self._cells is not None:
            self._cells.append(text)
        elif self._depth:
            if not consists_of_links(token):
                yield Unit("item", text, self._block, self._lead)
        elif not consists_of_links(token):
            self._begin(outermost=True)
            sentences = list(_sentences(text, self._language))
            self._lead = sentences[-1] if sentences and sentences[-1].endswith((":", "\uff1a")) else ""
            yield from (Unit("sentence", sentence, self._block) for sentence in sentences)
