"""Tests of reciprocal rank fusion."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mindset.retrieval.fusion import reciprocal_rank_fusion

_IDS = st.lists(st.sampled_from("abcdefgh"), unique=True)
_RANKINGS = st.lists(st.tuples(st.floats(0.1, 10), _IDS), max_size=3)


def test_score_is_the_sum_of_weight_over_rank() -> None:
    # b: 1/62 + 1/61, a: 1/61 + 1/63, c: 1/63, d: 1/62
    assert reciprocal_rank_fusion([(1, ["a", "b", "c"]), (1, ["b", "d", "a"])]) == ["b", "a", "d", "c"]


def test_id_in_both_rankings_beats_the_best_id_of_one() -> None:
    # 2/65 against 1/61 twice
    assert reciprocal_rank_fusion([(1, [*"abcd", "both"]), (1, [*"efgh", "both"])])[:3] == ["both", "a", "e"]


def test_weights_can_change_the_order() -> None:
    assert reciprocal_rank_fusion([(1, ["a", "b"]), (1.1, ["b", "a"])]) == ["b", "a"]
    assert reciprocal_rank_fusion([(1.1, ["a", "b"]), (1, ["b", "a"])]) == ["a", "b"]


def test_ties_are_broken_by_id() -> None:
    assert (
        reciprocal_rank_fusion([(1, ["b"]), (1, ["a"])])
        == reciprocal_rank_fusion([(1, ["a"]), (1, ["b"])])
        == ["a", "b"]
    )


def test_empty_rankings_yield_an_empty_ranking() -> None:
    assert reciprocal_rank_fusion([]) == reciprocal_rank_fusion([(1, [])]) == []


@given(st.floats(0.1, 10), _IDS)
def test_single_ranking_keeps_its_order(weight: float, ids: list[str]) -> None:
    assert reciprocal_rank_fusion([(weight, ids)]) == ids


@given(_RANKINGS)
def test_every_id_occurs_once(rankings: list[tuple[float, list[str]]]) -> None:
    assert sorted(reciprocal_rank_fusion(rankings)) == sorted({chunk_id for _, ids in rankings for chunk_id in ids})


@given(_IDS, st.data())
def test_order_that_all_rankings_share_is_kept(ids: list[str], data: st.DataObject) -> None:
    rankings = [(data.draw(st.floats(0.1, 10)), ids), (1.0, [*ids, "z"])]
    assert reciprocal_rank_fusion(rankings) == [*ids, "z"]
