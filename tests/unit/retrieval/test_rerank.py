"""Tests of the reranking step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from mindset.catalog.passages import VisibleChunk
from mindset.catalog.releases import VersionSnapshot
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.ranking import ranking_options
from mindset.errors import ServiceUnavailable
from mindset.providers.deadline import Deadline
from mindset.retrieval.rerank import best_chunks, rerank
from mindset.retrieval.search_request import SearchRequest
from tests.unit.retrieval.chunks import visible_chunk


@dataclass
class ReverseReranker:
    """Reverses the order, and records the texts that it gets."""

    texts: list[str] = field(default_factory=list)

    def rank(self, question: str, texts: Sequence[str], deadline: Deadline) -> list[int]:
        self.texts += texts
        return list(reversed(range(len(texts))))

    def close(self) -> None:
        pass


def request(seconds: float = 10) -> SearchRequest:
    kb = KnowledgeBase.model_validate({"name": "kb", "title": "KB", "sources": [{"kind": "folder", "path": "."}]})
    snapshot = VersionSnapshot(1, "model", 256, ranking_options(kb), (), None, 0, "0123456789ab")
    return SearchRequest(kb, snapshot, "What?", ["*"], None, 10, time.perf_counter() + seconds)


def ids(chunks: Sequence[VisibleChunk]) -> list[str]:
    return [chunk.chunk_id for chunk in chunks]


CHUNKS = [
    visible_chunk("first", 1),
    visible_chunk("second", 2),
    visible_chunk("second", 2, uri="b.md"),
    visible_chunk("third", 3),
]


def test_chunks_get_the_order_of_the_reranker_with_all_their_places() -> None:
    assert ids(rerank(request(), lambda _: ReverseReranker(), CHUNKS)) == ["third", "second", "second", "first"]


def test_reranker_gets_every_text_once() -> None:
    reranker = ReverseReranker()
    rerank(request(), lambda _: reranker, CHUNKS)
    assert reranker.texts == ["text 1", "text 2", "text 3"]


@pytest.mark.parametrize("chunks", [[], CHUNKS[:1], CHUNKS[1:3]])
def test_fewer_than_two_chunks_are_not_sent(chunks: list[VisibleChunk]) -> None:
    reranker = ReverseReranker()
    assert rerank(request(), lambda _: reranker, chunks) == chunks
    assert reranker.texts == []


def test_nothing_is_sent_after_the_deadline() -> None:
    reranker = ReverseReranker()
    with pytest.raises(ServiceUnavailable, match=r"retrieval\.deadline_s"):
        rerank(request(seconds=0), lambda _: reranker, CHUNKS)
    assert reranker.texts == []


@pytest.mark.parametrize(("limit", "expected"), [(0, []), (2, ["first", "second", "second"]), (9, ids(CHUNKS))])
def test_limit_counts_chunks_and_not_their_places(limit: int, expected: list[str]) -> None:
    assert ids(best_chunks(CHUNKS, limit)) == expected
