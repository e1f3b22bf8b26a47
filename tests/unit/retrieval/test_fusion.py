"""Tests of the fusion of rankings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindset.retrieval.fusion import WeightedRanking, add_scores, reciprocal_rank_fusion

Fuse = Callable[[Sequence[WeightedRanking]], list[str]]

_WEIGHTS = st.floats(0.1, 10)
_IDS = st.lists(st.sampled_from("abcdefgh"), unique=True)
_SCORES = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.001, 100)).map(
    lambda scores: dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))
)

both_fusions = pytest.mark.parametrize("fuse", [add_scores, reciprocal_rank_fusion])


def ranked(ids: Sequence[str]) -> dict[str, float]:
    return {chunk_id: 1 / (position + 1) for position, chunk_id in enumerate(ids)}


def test_scores_are_divided_by_the_best_one_and_weighted() -> None:
    # With 0.6, a has 1 and 0.3, b has 0.9 and 0.45, and c has 0.6.
    full_text, dense = {"a": 20.0, "b": 18.0}, {"c": 0.8, "b": 0.6, "a": 0.4}
    assert add_scores([(1, full_text), (0.6, dense)]) == ["b", "a", "c"]
    assert add_scores([(1, full_text), (0.1, dense)]) == ["a", "b", "c"]


def test_a_clear_winner_of_one_ranking_beats_mediocre_ids_of_both() -> None:
    full_text = {"exact": 30.0, "x": 5.0, "y": 4.0}
    dense = {"y": 0.50, "x": 0.49}
    assert add_scores([(1, full_text), (0.6, dense)])[0] == "exact"
    assert reciprocal_rank_fusion([(1, full_text), (0.6, dense)])[0] != "exact"


def test_negative_scores_count_as_none() -> None:
    assert add_scores([(1, {"a": -0.1, "b": -0.2}), (1, {"b": 1.0})]) == ["b", "a"]


def test_reciprocal_ranks_are_added_up() -> None:
    # b: 1/62 + 1/61, a: 1/61 + 1/63, c: 1/63, d: 1/62
    assert reciprocal_rank_fusion([(1, ranked("abc")), (1, ranked("bda"))]) == ["b", "a", "d", "c"]
    assert reciprocal_rank_fusion([(1, ranked("ab")), (1.1, ranked("ba"))]) == ["b", "a"]


@both_fusions
def test_ties_are_broken_by_id(fuse: Fuse) -> None:
    assert fuse([(1, {"b": 1.0}), (1, {"a": 1.0})]) == fuse([(1, {"a": 1.0}), (1, {"b": 1.0})]) == ["a", "b"]


@both_fusions
def test_empty_rankings_yield_an_empty_ranking(fuse: Fuse) -> None:
    assert fuse([]) == fuse([(1, {})]) == []


@both_fusions
@given(weight=_WEIGHTS, scores=_SCORES)
def test_single_ranking_keeps_its_order(fuse: Fuse, weight: float, scores: dict[str, float]) -> None:
    distinct = ranked(list(scores))
    assert fuse([(weight, distinct)]) == list(distinct)


@both_fusions
@given(rankings=st.lists(st.tuples(_WEIGHTS, _SCORES), max_size=3))
def test_every_id_occurs_once(fuse: Fuse, rankings: list[WeightedRanking]) -> None:
    assert sorted(fuse(rankings)) == sorted({chunk_id for _, scores in rankings for chunk_id in scores})


@both_fusions
@given(ids=_IDS, weight=_WEIGHTS)
def test_order_that_all_rankings_share_is_kept(fuse: Fuse, ids: list[str], weight: float) -> None:
    assert fuse([(weight, ranked(ids)), (1.0, ranked([*ids, "z"]))]) == [*ids, "z"]


@given(weight=_WEIGHTS, scores=_SCORES, factor=st.sampled_from([0.25, 4.0, 64.0]))
def test_the_scale_of_a_ranking_does_not_matter(weight: float, scores: dict[str, float], factor: float) -> None:
    scaled = {chunk_id: score * factor for chunk_id, score in scores.items()}
    other = (1.0, ranked("hgfedcba"))
    assert add_scores([(weight, scores), other]) == add_scores([(weight, scaled), other])
