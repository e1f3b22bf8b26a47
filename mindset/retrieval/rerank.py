"""The reranking step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from mindset.catalog.passages import VisibleChunk
from mindset.errors import ServiceUnavailable
from mindset.providers.deadline import Deadline
from mindset.reranking.protocol import Reranker
from mindset.retrieval.search_request import SearchRequest
from mindset.tracing import span


@span("retrieval.rerank")
def rerank(
    request: SearchRequest, get_reranker: Callable[[float], Reranker], chunks: Sequence[VisibleChunk]
) -> list[VisibleChunk]:
    """Reorder chunks that the caller may read; no other text is sent to the provider.

    A single chunk is not sent. Raises ServiceUnavailable if no time is left, and what the reranker raises."""
    groups = group_by_chunk(chunks)
    if len(groups) < 2:
        return list(chunks)
    reranker = get_reranker(request.seconds_left())
    seconds_left = request.seconds_left()
    if seconds_left <= 0:
        raise ServiceUnavailable("The other steps used up all the time. Raise retrieval.deadline_s.")
    order = reranker.rank(request.question, [rows[0].text for rows in groups], Deadline(seconds_left))
    return [row for index in order for row in groups[index]]


def best_chunks(chunks: Sequence[VisibleChunk], limit: int) -> list[VisibleChunk]:
    """Return all rows of the first `limit` chunks."""
    return [row for rows in group_by_chunk(chunks)[:limit] for row in rows]


def group_by_chunk(chunks: Sequence[VisibleChunk]) -> list[list[VisibleChunk]]:
    """Group the rows of each chunk, which has one per place; the order of the chunks stays."""
    return [list(rows) for _, rows in groupby(chunks, key=lambda row: row.chunk_id)]
