"""Joining ranked lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mindset.retrieval.fusion import reciprocal_rank_fusion

_LISTS = st.lists(st.sampled_from("abcdefgh"), unique=True)
_RANKINGS = st.lists(st.tuples(st.floats(0.1, 10), _LISTS), max_size=3)


def test_scores_are_the_sums_of_weight_by_rank() -> None:
    # b: 1/62 + 1/61, a: 1/61 + 1/63, c: 1/63, d: 1/62
    assert reciprocal_rank_fusion([(1, ["a", "b", "c"]), (1, ["b", "d", "a"])]) == ["b", "a", "d", "c"]


def test_what_two_lists_agree_on_beats_the_best_of_one() -> None:
    # 2/65 against 1/61 twice
    assert reciprocal_rank_fusion([(1, [*"abcd", "both"]), (1, [*"efgh", "both"])])[:3] == ["both", "a", "e"]


def test_a_weight_can_turn_the_order() -> None:
    assert reciprocal_rank_fusion([(1, ["a", "b"]), (1.1, ["b", "a"])]) == ["b", "a"]
    assert reciprocal_rank_fusion([(1.1, ["a", "b"]), (1, ["b", "a"])]) == ["a", "b"]


def test_ties_are_broken_by_id_whatever_the_order_of_lists() -> None:
    assert (
        reciprocal_rank_fusion([(1, ["b"]), (1, ["a"])])
        == reciprocal_rank_fusion([(1, ["a"]), (1, ["b"])])
        == ["a", "b"]
    )


def test_nothing_joined_is_nothing() -> None:
    assert reciprocal_rank_fusion([]) == reciprocal_rank_fusion([(1, [])]) == []


@given(st.floats(0.1, 10), _LISTS)
def test_a_list_alone_keeps_its_order(weight: float, ids: list[str]) -> None:
    assert reciprocal_rank_fusion([(weight, ids)]) == ids


@given(_RANKINGS)
def test_every_id_comes_once(rankings: list[tuple[float, list[str]]]) -> None:
    assert sorted(reciprocal_rank_fusion(rankings)) == sorted({each for _, ids in rankings for each in ids})


@given(_LISTS, st.data())
def test_what_is_above_in_every_list_is_above_in_the_fusion(ids: list[str], data: st.DataObject) -> None:
    rankings = [(data.draw(st.floats(0.1, 10)), ids), (1.0, [*ids, "z"])]
    assert reciprocal_rank_fusion(rankings) == [*ids, "z"]
