"""Textbook methods over the texts that our parsers return: BM25 by a library, and LangChain's splitter with dense search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import bm25s
import numpy as np
import Stemmer
from langchain_text_splitters import RecursiveCharacterTextSplitter

from benchmarks.quality.measures import Found
from mindset.embedding.protocol import Embedder
from mindset.evaluation.evidence import Span

Pieces = Sequence[tuple[Span, str]]
Rank = Callable[[str, int], list[Found]]


def langchain_pieces(texts: dict[str, str]) -> Pieces:
    """Cut with the splitter of LangChain's tutorials: 1,000 characters, of which 200 overlap."""
    splitter = RecursiveCharacterTextSplitter(chunk_size=1_000, chunk_overlap=200, add_start_index=True)
    return [
        (
            Span(uri, piece.metadata["start_index"], piece.metadata["start_index"] + len(piece.page_content)),
            piece.page_content,
        )
        for uri, text in texts.items()
        for piece in splitter.create_documents([text])
    ]


def bm25(pieces: Pieces) -> Rank:
    """Rank by bm25s in its defaults (Lucene's variant, k1 1.5, b 0.75), with English stop words and stems."""
    stemmer = Stemmer.Stemmer("english")
    index = bm25s.BM25()
    index.index(
        bm25s.tokenize([text for _, text in pieces], stopwords="en", stemmer=stemmer, show_progress=False),
        show_progress=False,
    )

    def rank(question: str, limit: int) -> list[Found]:
        words = bm25s.tokenize([question], stopwords="en", stemmer=stemmer, show_progress=False)
        numbers, scores = index.retrieve(words, k=min(limit, len(pieces)), show_progress=False)
        return [Found((pieces[number][0],)) for number, score in zip(numbers[0], scores[0], strict=True) if score > 0]

    return rank


def dense(pieces: Pieces, embedder: Embedder) -> Rank:
    """Rank by exact cosine similarity, which the default stores of the libraries compute or approximate."""
    vectors = embedder.embed_passages([text for _, text in pieces])

    def rank(question: str, limit: int) -> list[Found]:
        best = np.argsort(-(vectors @ embedder.embed_query(question)), kind="stable")[:limit]
        return [Found((pieces[number][0],)) for number in best]

    return rank
