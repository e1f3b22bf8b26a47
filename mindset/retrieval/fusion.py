"""Joining ranked lists."""

from __future__ import annotations

from collections.abc import Sequence

# Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet", SIGIR 2009: 60 was found robust.
RANK_CONSTANT = 60


def reciprocal_rank_fusion(rankings: Sequence[tuple[float, Sequence[str]]]) -> list[str]:
    """Ids of all (weight, ids best first), by the sum of weight / (60 + rank); ties by id, so that it is repeatable."""
    scores: dict[str, float] = {}
    for weight, ids in rankings:
        for rank, each in enumerate(ids, start=1):
            scores[each] = scores.get(each, 0.0) + weight / (RANK_CONSTANT + rank)
    return sorted(scores, key=lambda each: (-scores[each], each))
