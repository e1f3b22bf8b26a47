"""Tests of building passages from visible chunks."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindset.catalog.passages import VisibleChunk
from mindset.retrieval.passages import to_passages
from tests.unit.retrieval.chunks import visible_chunk


def row(
    candidate: int, ordinal: int, uri: str = "a.md", chunk: str | None = None, start: int | None = None
) -> VisibleChunk:
    return visible_chunk(chunk or f"{uri}#{ordinal}", ordinal, uri, candidate, start)


def test_without_join_every_chunk_is_a_passage() -> None:
    passages = to_passages([row(0, 3), row(1, 2), row(2, 3, "b.md")], "english", join=False)
    assert [(passage.rank, passage.chunk_ids) for passage in passages] == [
        (1, ("a.md#3",)),
        (2, ("a.md#2",)),
        (3, ("b.md#3",)),
    ]


def test_adjacent_chunks_are_joined_in_document_order_with_the_better_rank() -> None:
    joined, other = to_passages([row(0, 3), row(1, 7), row(2, 2)], "english", join=True)
    assert (joined.rank, joined.chunk_ids, joined.text) == (1, ("a.md#2", "a.md#3"), "text 2\n\ntext 3")
    assert (joined.place.ordinal, joined.place.start, joined.place.end) == (2, 22, 43)
    assert (other.rank, other.chunk_ids) == (2, ("a.md#7",))


@pytest.mark.parametrize("order", list(permutations([2, 3, 4, 5])))
def test_adjacent_chunks_are_joined_in_any_order_of_ranking(order: tuple[int, ...]) -> None:
    (joined,) = to_passages([row(candidate, ordinal) for candidate, ordinal in enumerate(order)], "english", join=True)
    assert joined.chunk_ids == ("a.md#2", "a.md#3", "a.md#4", "a.md#5")
    assert joined.text == "text 2\n\ntext 3\n\ntext 4\n\ntext 5"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(row(1, 4), id="chunk in between"),
        pytest.param(row(1, 3, "b.md"), id="another document"),
        pytest.param(replace(row(1, 3), content_hash="other"), id="another revision"),
        pytest.param(row(1, 3, start=25), id="overlapping"),
    ],
)
def test_chunks_that_are_not_adjacent_are_not_joined(other: VisibleChunk) -> None:
    assert len(to_passages([row(0, 2), other], "english", join=True)) == 2


def test_single_chunk_keeps_all_places_and_joined_passage_the_shared_one() -> None:
    twice = [row(0, 1, "a.md", "c"), row(0, 8, "b.md", "c")]
    (single,) = to_passages(twice, "english", join=True)
    assert [place.uri for place in single.places] == ["a.md", "b.md"]
    (joined,) = to_passages([*twice, row(1, 2)], "english", join=True)
    assert [(place.uri, place.ordinal) for place in joined.places] == [("a.md", 1)]


@st.composite
def _visible_chunks(draw: st.DrawFn) -> list[VisibleChunk]:
    """Documents with repeated texts, and some of their chunks in any order."""
    chunks = st.sampled_from("abcdefghijklmnop")
    documents = draw(
        st.dictionaries(st.sampled_from(["1.md", "2.md", "3.md"]), st.lists(chunks, max_size=12), min_size=1)
    )
    overlap = draw(st.sampled_from([0, 0, 4]))
    all_chunks = sorted({chunk for document in documents.values() for chunk in document})
    candidates = [chunk for chunk in draw(st.permutations(all_chunks)) if draw(st.booleans())]
    return [
        row(candidate, ordinal, uri, chunk, start=(11 - overlap) * ordinal)
        for candidate, chunk in enumerate(candidates)
        for uri, document in sorted(documents.items())
        for ordinal, other in enumerate(document)
        if other == chunk
    ]


@given(_visible_chunks(), st.booleans())
def test_joining_keeps_every_chunk_once_and_ranks_from_one(rows: list[VisibleChunk], join: bool) -> None:
    passages = to_passages(rows, "english", join=join)
    chunk_ids = sorted(chunk_id for passage in passages for chunk_id in passage.chunk_ids)
    assert chunk_ids == sorted({row.chunk_id for row in rows})
    assert [passage.rank for passage in passages] == list(range(1, len(passages) + 1))


@given(_visible_chunks())
def test_passages_are_ordered_by_their_best_chunk_and_cover_their_chunks(rows: list[VisibleChunk]) -> None:
    candidate = {row.chunk_id: row.candidate for row in rows}
    passages = to_passages(rows, "english", join=True)
    best = [min(candidate[chunk_id] for chunk_id in passage.chunk_ids) for passage in passages]
    assert best == sorted(best)
    row_at = {(row.chunk_id, row.uri, row.ordinal): row for row in rows}
    for passage in passages:
        covered = [
            row_at[chunk_id, passage.place.uri, ordinal]
            for ordinal, chunk_id in enumerate(passage.chunk_ids, start=passage.place.ordinal)
        ]
        assert (passage.place.start, passage.place.end) == (covered[0].start, covered[-1].end)
        assert passage.text == "\n\n".join(row.text for row in covered)
