"""Cut a document with the method that its knowledge base configures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mindset.chunking.chunk import Chunk, ChunkSpan
from mindset.chunking.fixed_size import fixed, recursive
from mindset.chunking.structural import structural
from mindset.config.build_options import Chunking


@dataclass(frozen=True, slots=True)
class PlacedChunk:
    """A chunk at its location in a document. Its text is `span.table_header + text[span.start:span.end]`."""

    ordinal: int
    chunk: Chunk
    span: ChunkSpan


def chunk_document(text: str, title: str, media_type: str, chunking: Chunking) -> Iterator[PlacedChunk]:
    """Yield the chunks of a document in order."""
    for ordinal, span in enumerate(_spans(text, media_type, chunking)):
        # The top heading of a document usually repeats its title.
        context = [title, *(heading for heading in span.heading_path if heading.casefold() != title.casefold())]
        yield PlacedChunk(ordinal, Chunk(" › ".join(context), span.table_header + text[span.start : span.end]), span)


def _spans(text: str, media_type: str, chunking: Chunking) -> Iterator[ChunkSpan]:
    match chunking.method:
        case "structural":
            return structural(text, media_type, chunking.tokens)
        case "recursive":
            return recursive(text, chunking.tokens, chunking.overlap)
        case "fixed":
            return fixed(text, chunking.tokens, chunking.overlap)
