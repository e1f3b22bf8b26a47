"""A chunk: a text identified by its hash, and its location in a document."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NewType

from mindset.text.plain import plain_text

ChunkId = NewType("ChunkId", str)

CHARACTERS_PER_TOKEN = 4
"""An estimate for English under byte-pair tokenizers, exact enough for a budget.

A real tokenizer would make the chunks depend on the embedding model."""


@dataclass(frozen=True, slots=True)
class ChunkSpan:
    """Characters `start` to `end` of a document's text, and the headings above them, outermost first."""

    start: int
    end: int
    heading_path: tuple[str, ...] = ()
    table_header: str = ""
    """The first lines of the table that the characters are a later part of; rows mean nothing without their columns."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A text and its context, the title and headings that are embedded with it."""

    context: str
    text: str

    @property
    def id(self) -> ChunkId:
        """The first 32 hexadecimal digits of a SHA-256 hash; also the key of the chunk's vectors.

        It must change whenever `embedding_text` is made in another way, which the leading number is for."""
        return ChunkId(hashlib.sha256(f"2\0{self.context}\0{self.text}".encode()).hexdigest()[:32])

    @property
    def embedding_text(self) -> str:
        """The text to embed: the context, and the text without markup, which would add noise to the vector."""
        return f"{self.context}\n\n{plain_text(self.text)}" if self.context else plain_text(self.text)
