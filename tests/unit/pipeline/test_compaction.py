"""Which segments are joined: few are left, large ones are left alone, and each chunk is copied seldom."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.catalog.segments import Segment
from mindset.pipeline.compaction import MAX_DEAD_RATIO, MAX_SEGMENTS, segments_to_compact, segments_to_merge


def segments(*counts: int) -> list[Segment]:
    return [Segment(number, f"segment-{number}", "model", 256, count) for number, count in enumerate(counts)]


def counts(chosen: list[Segment]) -> list[int]:
    return sorted(each.count for each in chosen)


def all_living(found: list[Segment]) -> dict[int, int]:
    return {each.id: each.count for each in found}


def joined_by_a_night(written: int, *loads: int) -> list[int]:
    found = segments(*loads)
    return counts(segments_to_merge(written, found, all_living(found)))


sizes = st.lists(st.integers(1, 1_000_000), max_size=12)


def test_a_night_joins_nothing_while_there_is_room() -> None:
    assert joined_by_a_night(500, 1_000_000, 500) == []


def test_a_night_that_would_make_a_fourth_segment_takes_in_the_smallest_and_what_is_no_larger_than_they_become() -> (
    None
):
    assert joined_by_a_night(500, 1_000_000, 90_000, 500) == [500]
    assert joined_by_a_night(500, 1_000_000, 90_000, 900) == [900]


def test_a_night_takes_in_what_is_left_of_mostly_dead_segments_where_that_is_no_more_than_it_writes() -> None:
    large, middle, small = segments(1_000_000, 1_000, 100)
    assert segments_to_merge(500, [large, middle, small], {large.id: 501, middle.id: 400, small.id: 90}) == [middle]


@given(st.integers(1, 1_000_000), sizes)
def test_a_night_leaves_no_more_segments_than_a_search_is_to_have(written: int, loads: list[int]) -> None:
    found = segments(*loads)
    assert len(found) - len(segments_to_merge(written, found, all_living(found))) + 1 <= max(MAX_SEGMENTS, 1)


@given(sizes, st.data())
def test_maintenance_leaves_few_segments_and_few_dead_chunks(loads: list[int], data: st.DataObject) -> None:
    found = segments(*loads)
    living = {each.id: data.draw(st.integers(0, each.count)) for each in found}
    chosen = segments_to_compact(found, living)
    left = [each for each in found if each not in chosen]
    assert all(living[each.id] >= (1 - MAX_DEAD_RATIO) * each.count for each in left)
    assert len(left) + bool(chosen) <= MAX_SEGMENTS
    assert len(chosen) != 1 or living[chosen[0].id] < (1 - MAX_DEAD_RATIO) * chosen[0].count, "nothing is copied in vain"


@given(sizes)
def test_what_maintenance_has_joined_it_leaves_alone(loads: list[int]) -> None:
    found = segments(*loads)
    while chosen := segments_to_compact(found, all_living(found)):
        found = segments(*(each.count for each in found if each not in chosen), sum(each.count for each in chosen))
    assert counts(found) == sorted(each.count for each in found)
    assert all(one < other for one, other in zip(counts(found), counts(found)[1:], strict=False))


def copies(nights: Sequence[int]) -> float:
    """How often a chunk is copied, on average, where nights write so many."""
    found: list[int] = []
    copied = 0
    for written in nights:
        joined = joined_by_a_night(written, *found)
        for each in joined:
            found.remove(each)
        copied += sum(joined)
        found.append(written + sum(joined))
    return copied / sum(nights)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 2_000), min_size=50, max_size=300))
def test_over_many_nights_a_chunk_is_copied_seldom(nights: list[int]) -> None:
    # About the cube root: with a fixed number of segments nothing does with a logarithm.
    assert copies(nights) <= (6 * len(nights)) ** (1 / 3) + MAX_SEGMENTS


def test_three_years_of_equal_nights_copy_a_chunk_some_thirteen_times() -> None:
    assert copies([500] * 1_000) == pytest.approx(13.3, abs=0.2)
