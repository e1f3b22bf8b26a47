"""Tests of the rankings of a search."""

from __future__ import annotations

from mindset.retrieval.exact import has_too_few
from mindset.retrieval.rankings import Rankings
from mindset.retrieval.search_request import Ranking
from tests.unit.retrieval.chunks import visible_chunk


def both() -> Rankings:
    rankings = Rankings()
    rankings.add("dense", 1.0, Ranking(["a", "b"], 3.0))
    rankings.add("lexical", 2.0, Ranking(["b", "c"], 1.0))
    return rankings


def test_chunk_in_both_rankings_comes_first() -> None:
    assert both().fused() == ["b", "c", "a"]


def test_missing_ranking_is_reported_and_does_not_change_the_order() -> None:
    rankings = Rankings()
    rankings.add("dense", 1.0, "Chroma does not answer.")
    rankings.add("lexical", 2.0, Ranking(["b", "c"], 1.0))
    assert (rankings.fused(), rankings.failures, rankings.milliseconds) == (
        ["b", "c"], {"dense": "Chroma does not answer."}, {"lexical": 1.0},
    )  # fmt: skip


def test_exact_search_replaces_the_dense_ranking_with_its_weight() -> None:
    rankings = both()
    assert rankings.replace_dense(Ranking(["d", "c"], 9.0))
    assert rankings.weighted["dense"] == (1.0, ["d", "c"])
    assert rankings.fused() == ["c", "b", "d"]
    assert (rankings.failures, rankings.milliseconds["exact"]) == ({}, 9.0)


def test_dense_ranking_stays_if_exact_search_fails() -> None:
    rankings = both()
    assert not rankings.replace_dense("It was late.")
    assert (rankings.fused(), rankings.failures) == (["b", "c", "a"], {"dense": "It was late."})


def test_caller_may_read_too_few_chunks() -> None:
    chunks = [visible_chunk("a", 1), visible_chunk("a", 1, "b.md"), visible_chunk("b", 2)]
    assert has_too_few(chunks, 3, 10), "two places of a chunk count once"
    assert not has_too_few(chunks, 2, 10)
    assert not has_too_few(chunks, 3, 2), "there were no more candidates"
    assert not has_too_few([], 5, 0)
