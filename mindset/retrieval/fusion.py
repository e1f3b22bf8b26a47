"""Fusion of rankings."""

from __future__ import annotations

from collections.abc import Sequence

# Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet", SIGIR 2009, found 60 to be robust.
RANK_CONSTANT = 60


def reciprocal_rank_fusion(rankings: Sequence[tuple[float, Sequence[str]]]) -> list[str]:
    """Merge rankings, given as (weight, ids best first), into one list of ids, best first.

    An id's score is the sum of weight / (60 + rank). Ties are broken by id, so the result is reproducible."""
    scores: dict[str, float] = {}
    for weight, ids in rankings:
        for rank, chunk_id in enumerate(ids, start=1):
            scores[chunk_id] = scores.get(chunk_id, 0.0) + weight / (RANK_CONSTANT + rank)
    return sorted(scores, key=lambda chunk_id: (-scores[chunk_id], chunk_id))
