"""A chunk: a text named by its hash, and where in its document it stands."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NewType

from mindset.text.plain import plain_text

ChunkId = NewType("ChunkId", str)

# A rule of thumb for English under byte-pair tokenizers; a budget needs no more, and no tokenizer is then part of
# the chunking, whose result must not change with the embedding model.
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class ChunkSpan:
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
    def embedding_text(self) -> str:
        """What the model sees: the context, and the text without markup, which would only blur its vector."""
        return f"{self.context}\n\n{plain_text(self.text)}" if self.context else plain_text(self.text)
