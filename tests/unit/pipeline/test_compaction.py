"""Tests of the selection of segments to merge: segments stay few, and chunks are rarely copied."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.catalog.segments import Segment
from mindset.pipeline.compaction import MAX_DEAD_RATIO, MAX_SEGMENTS, segments_to_compact, segments_to_merge


def segments(*counts: int) -> list[Segment]:
    return [Segment(number, f"segment-{number}", "model", 256, count) for number, count in enumerate(counts)]


def counts(chosen: list[Segment]) -> list[int]:
    return sorted(segment.count for segment in chosen)


def all_visible(present: list[Segment]) -> dict[int, int]:
    return {segment.id: segment.count for segment in present}


def merged_by_a_night(written: int, *sizes: int) -> list[int]:
    present = segments(*sizes)
    return counts(segments_to_merge(written, present, all_visible(present)))


SIZES = st.lists(st.integers(1, 1_000_000), max_size=12)


def test_night_merges_nothing_below_the_maximum_number_of_segments() -> None:
    assert merged_by_a_night(500, 1_000_000, 500) == []


def test_night_that_would_add_a_fourth_segment_merges_the_smallest() -> None:
    assert merged_by_a_night(500, 1_000_000, 90_000, 500) == [500]
    assert merged_by_a_night(500, 1_000_000, 90_000, 900) == [900]


def test_night_merges_mostly_dead_segments_with_few_visible_chunks() -> None:
    large, middle, small = segments(1_000_000, 1_000, 100)
    assert segments_to_merge(500, [large, middle, small], {large.id: 501, middle.id: 400, small.id: 90}) == [middle]


@given(st.integers(1, 1_000_000), SIZES)
def test_night_leaves_at_most_the_maximum_number_of_segments(written: int, sizes: list[int]) -> None:
    present = segments(*sizes)
    merged = segments_to_merge(written, present, all_visible(present))
    assert len(present) - len(merged) + 1 <= max(MAX_SEGMENTS, 1)


@given(SIZES, st.data())
def test_maintenance_leaves_few_segments_and_few_dead_chunks(sizes: list[int], data: st.DataObject) -> None:
    present = segments(*sizes)
    visible = {segment.id: data.draw(st.integers(0, segment.count)) for segment in present}
    chosen = segments_to_compact(present, visible)
    kept = [segment for segment in present if segment not in chosen]
    assert all(visible[segment.id] >= (1 - MAX_DEAD_RATIO) * segment.count for segment in kept)
    assert len(kept) + bool(chosen) <= MAX_SEGMENTS
    if len(chosen) == 1:
        (segment,) = chosen
        assert visible[segment.id] < (1 - MAX_DEAD_RATIO) * segment.count, "a copy must drop dead chunks"


@given(SIZES)
def test_repeated_maintenance_reaches_a_state_with_nothing_to_merge(sizes: list[int]) -> None:
    present = segments(*sizes)
    while chosen := segments_to_compact(present, all_visible(present)):
        kept = [segment.count for segment in present if segment not in chosen]
        present = segments(*kept, sum(segment.count for segment in chosen))
    assert all(one < other for one, other in pairwise(counts(present)))


def copies(nights: Sequence[int]) -> float:
    """Return how often a chunk is copied on average, given the number of chunks written by each night."""
    sizes: list[int] = []
    copied = 0
    for written in nights:
        merged = merged_by_a_night(written, *sizes)
        for size in merged:
            sizes.remove(size)
        copied += sum(merged)
        sizes.append(written + sum(merged))
    return copied / sum(nights)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 2_000), min_size=50, max_size=300))
def test_copies_per_chunk_grow_slowly_with_the_number_of_nights(nights: list[int]) -> None:
    # About the cube root: with a fixed number of segments, logarithmic growth is impossible.
    assert copies(nights) <= (6 * len(nights)) ** (1 / 3) + MAX_SEGMENTS


def test_a_thousand_equal_nights_copy_a_chunk_thirteen_times() -> None:
    assert copies([500] * 1_000) == pytest.approx(13.3, abs=0.2)
