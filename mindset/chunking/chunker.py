"""Cutting one document as its knowledge base says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mindset.chunking.chunk import Chunk, ChunkSpan
from mindset.chunking.fixed_size import fixed, recursive
from mindset.chunking.structural import structural
from mindset.config.build_options import Chunking


@dataclass(frozen=True, slots=True)
class PlacedChunk:
    """A chunk at its place in one document: `text[cut.start:cut.end]` is the chunk's text, exactly."""

    ordinal: int
    chunk: Chunk
    span: ChunkSpan


def chunk_document(text: str, title: str, media_type: str, chunking: Chunking) -> Iterator[PlacedChunk]:
    """The chunks of a document in order."""
    for ordinal, cut in enumerate(_cuts(text, media_type, chunking)):
        # The page's own top heading usually repeats its title.
        context = [title, *(each for each in cut.heading_path if each.casefold() != title.casefold())]
        yield PlacedChunk(ordinal, Chunk(" › ".join(context), text[cut.start : cut.end]), cut)


def _cuts(text: str, media_type: str, chunking: Chunking) -> Iterator[ChunkSpan]:
    match chunking.method:
        case "structural":
            return structural(text, media_type, chunking.tokens)
        case "recursive":
            return recursive(text, chunking.tokens, chunking.overlap)
        case "fixed":
            return fixed(text, chunking.tokens, chunking.overlap)
