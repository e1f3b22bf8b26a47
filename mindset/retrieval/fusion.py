"""Fusion of rankings.

Each ranking is given as (weight, {id: score}), best first; the result is a list of ids, best first. Ties are broken by id,
so that results are reproducible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WeightedRanking = tuple[float, Mapping[str, float]]

# Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet", SIGIR 2009, found 60 to be robust.
RANK_CONSTANT = 60


def add_scores(rankings: Sequence[WeightedRanking]) -> list[str]:
    """Order ids by the sum of weight x score / best score of the ranking.

    An id that is missing from a ranking gets nothing from it, and so do ids with a negative score. Source: Bruch, Gai and
    Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", TOIS 2023, which found the sum of normalised scores to be
    better than the sum of reciprocal ranks, and robust to the choice of the normalisation."""
    sums: dict[str, float] = {}
    for weight, scores in rankings:
        best = max(scores.values(), default=0.0)
        for chunk_id, score in scores.items():
            share = max(score, 0.0) / best if best > 0 else 0.0
            sums[chunk_id] = sums.get(chunk_id, 0.0) + weight * share
    return _best_first(sums)


def reciprocal_rank_fusion(rankings: Sequence[WeightedRanking]) -> list[str]:
    """Order ids by the sum of weight / (60 + rank), for versions of releases that had no other fusion."""
    sums: dict[str, float] = {}
    for weight, scores in rankings:
        for rank, chunk_id in enumerate(scores, start=1):
            sums[chunk_id] = sums.get(chunk_id, 0.0) + weight / (RANK_CONSTANT + rank)
    return _best_first(sums)


def _best_first(sums: Mapping[str, float]) -> list[str]:
    return sorted(sums, key=lambda chunk_id: (-sums[chunk_id], chunk_id))
