"""A chunk: a text named by its hash, and where in its document it stands."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import NewType

ChunkId = NewType("ChunkId", str)

# A rule of thumb for English under byte-pair tokenizers; a budget needs no more, and no tokenizer is then part of
# the chunking, whose result must not change with the embedding model.
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Cut:
    """Characters `start` to `end` of a document's text, below these headings."""

    start: int
    end: int
    heading_path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A text and the context (title and headings) that is embedded with it."""

    context: str
    text: str

    @property
    def id(self) -> ChunkId:
        """32 hexadecimal digits of SHA-256; also the key of the text's vectors."""
        return ChunkId(hashlib.sha256(f"{self.context}\0{self.text}".encode()).hexdigest()[:32])

    @property
    def embedded(self) -> str:
        """What the model sees: the context, and the text without markup, which would only blur its vector."""
        return f"{self.context}\n\n{plain(self.text)}" if self.context else plain(self.text)


def tokens(text: str) -> int:
    """Estimated number of tokens of a text."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


_MARKUP = (
    (re.compile(r"<!--.*?-->", re.DOTALL), " "),
    (re.compile(r"\{[%{].*?[%}]\}", re.DOTALL), " "),  # template tags of static site generators
    (re.compile(r"!?\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"</?[a-zA-Z][^<>]*>"), " "),
    (re.compile(r"\{[#:.][^}\n]*\}"), ""),  # heading anchors and attributes
    (re.compile(r"^[ \t]*(?:#{1,6}|[-*+]|>)[ \t]+", re.MULTILINE), ""),
    (re.compile(r"\*\*|__|`+|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)"), ""),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"\n\s*\n\s*"), "\n"),
)


def plain(markdown: str) -> str:
    """Markdown's words without its markup."""
    for pattern, replacement in _MARKUP:
        markdown = pattern.sub(replacement, markdown)
    return markdown.strip()
