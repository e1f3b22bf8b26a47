"""Tests of the rankings of a search."""

from __future__ import annotations

from mindset.retrieval.rankings import Rankings
from mindset.retrieval.search_request import Ranking


def both() -> Rankings:
    rankings = Rankings("scores")
    rankings.add("dense", 1.0, Ranking({"a": 0.9, "b": 0.6}, 3.0))
    rankings.add("lexical", 2.0, Ranking({"b": 8.0, "c": 7.0}, 1.0))
    return rankings


def test_chunk_in_both_rankings_comes_first() -> None:
    assert both().fused() == ["b", "c", "a"]


def test_missing_ranking_is_reported_and_does_not_change_the_order() -> None:
    rankings = Rankings("scores")
    rankings.add("dense", 1.0, "Chroma does not answer.")
    rankings.add("lexical", 2.0, Ranking({"b": 8.0, "c": 7.0}, 1.0))
    assert (rankings.fused(), rankings.failures, rankings.milliseconds) == (
        ["b", "c"], {"dense": "Chroma does not answer."}, {"lexical": 1.0},
    )  # fmt: skip
