"""Exact dense search: compare the question with every chunk that the caller may read, without an index."""

from __future__ import annotations

import heapq
import time
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from mindset.catalog.embeddings import visible_embeddings
from mindset.catalog.pool import Catalog
from mindset.errors import ServiceUnavailable
from mindset.retrieval.search_request import Ranking, SearchRequest, cosine_scores
from mindset.tracing import span

EXACT_BATCH = 2_000
"""Number of vectors held in memory at a time."""


@span("retrieval.exact")
def exact_search(catalog: Catalog, request: SearchRequest, vector: NDArray[np.float32]) -> Ranking:
    """Rank all chunks that the caller may read by distance. Raises ServiceUnavailable at the deadline."""
    started = time.perf_counter()
    nearest: list[tuple[float, str]] = []
    with (
        catalog.reading(max(request.seconds_left(), 0.001)) as connection,
        closing(
            visible_embeddings(
                connection, request.kb.name, request.snapshot.version, request.model, request.principals, request.where,
                seconds=request.seconds_left(), batch=EXACT_BATCH,
            )
        ) as batches,
    ):  # fmt: skip
        for chunk_ids, vectors in batches:
            distances = (-(vectors @ vector)).tolist()
            nearest = heapq.nsmallest(request.candidates, [*nearest, *zip(distances, chunk_ids, strict=True)])
            if request.seconds_left() < 0:
                raise ServiceUnavailable(
                    "The caller may read more chunks than can be compared in time. Raise retrieval.deadline_s."
                )
    scores = cosine_scores((chunk_id, -distance) for distance, chunk_id in nearest)
    return Ranking(scores, (time.perf_counter() - started) * 1000)
