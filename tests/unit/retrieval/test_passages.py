"""From visible chunks to passages."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindset.catalog.passages import VisibleChunk
from mindset.retrieval.passages import to_passages


def row(proposal: int, ordinal: int, uri: str = "a.md", chunk: str | None = None, start: int | None = None) -> VisibleChunk:
    """A chunk of ten characters, eleven after the one before it."""
    start = 11 * ordinal if start is None else start
    chunk = chunk or f"{uri}#{ordinal}"
    return VisibleChunk(
        proposal, chunk, f"text {ordinal}", uri, "hash", "Title", ["Title", "Part"], ordinal, start, start + 10
    )


def test_chunks_stay_apart_and_in_order_unless_they_are_to_be_joined() -> None:
    passages = to_passages([row(0, 3), row(1, 2), row(2, 3, "b.md")], join=False)
    assert [(each.rank, each.chunk_ids) for each in passages] == [(1, ("a.md#3",)), (2, ("a.md#2",)), (3, ("b.md#3",))]


def test_neighbours_become_one_passage_in_the_order_of_the_document_with_the_better_rank() -> None:
    joined, other = to_passages([row(0, 3), row(1, 7), row(2, 2)], join=True)
    assert (joined.rank, joined.chunk_ids, joined.text) == (1, ("a.md#2", "a.md#3"), "text 2\n\ntext 3")
    assert (joined.place.ordinal, joined.place.start, joined.place.end) == (2, 22, 43)
    assert (other.rank, other.chunk_ids) == (2, ("a.md#7",))


@pytest.mark.parametrize("order", list(permutations([2, 3, 4, 5])))
def test_neighbours_become_one_passage_in_whatever_order_they_are_found(order: tuple[int, ...]) -> None:
    (joined,) = to_passages([row(proposal, ordinal) for proposal, ordinal in enumerate(order)], join=True)
    assert joined.chunk_ids == ("a.md#2", "a.md#3", "a.md#4", "a.md#5")
    assert joined.text == "text 2\n\ntext 3\n\ntext 4\n\ntext 5"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(row(1, 4), id="one between them"),
        pytest.param(row(1, 3, "b.md"), id="another document"),
        pytest.param(replace(row(1, 3), content_hash="other"), id="another revision"),
        pytest.param(row(1, 3, start=25), id="overlapping"),
    ],
)
def test_what_is_no_neighbour_stays_apart(other: VisibleChunk) -> None:
    assert len(to_passages([row(0, 2), other], join=True)) == 2


def test_a_chunk_keeps_all_its_places_and_a_joined_passage_the_one_that_is_shared() -> None:
    twice = [row(0, 1, "a.md", "c"), row(0, 8, "b.md", "c")]
    (alone,) = to_passages(twice, join=True)
    assert [place.uri for place in alone.places] == ["a.md", "b.md"]
    (joined,) = to_passages([*twice, row(1, 2)], join=True)
    assert [(place.uri, place.ordinal) for place in joined.places] == [("a.md", 1)]


@st.composite
def _shown(draw: st.DrawFn) -> list[VisibleChunk]:
    """Documents in which some texts stand again, and some of their chunks in any order."""
    chunks = st.sampled_from("abcdefghijklmnop")
    documents = draw(
        st.dictionaries(st.sampled_from(["1.md", "2.md", "3.md"]), st.lists(chunks, max_size=12), min_size=1)
    )
    overlap = draw(st.sampled_from([0, 0, 4]))
    standing = sorted({chunk for document in documents.values() for chunk in document})
    proposals = [chunk for chunk in draw(st.permutations(standing)) if draw(st.booleans())]
    return [
        row(proposal, ordinal, uri, chunk, start=(11 - overlap) * ordinal)
        for proposal, chunk in enumerate(proposals)
        for uri, document in sorted(documents.items())
        for ordinal, each in enumerate(document)
        if each == chunk
    ]


@given(_shown(), st.booleans())
def test_joining_loses_no_chunk_repeats_none_and_counts_ranks_from_one(shown: list[VisibleChunk], join: bool) -> None:
    passages = to_passages(shown, join=join)
    assert sorted(chunk for each in passages for chunk in each.chunk_ids) == sorted({each.chunk_id for each in shown})
    assert [each.rank for each in passages] == list(range(1, len(passages) + 1))


@given(_shown())
def test_passages_come_by_their_best_chunk_and_cover_exactly_their_chunks(shown: list[VisibleChunk]) -> None:
    proposal = {each.chunk_id: each.candidate for each in shown}
    passages = to_passages(shown, join=True)
    best = [min(proposal[chunk] for chunk in each.chunk_ids) for each in passages]
    assert best == sorted(best)
    for each in passages:
        stands = [
            [one for one in shown if one.chunk_id == chunk and one.uri == each.place.uri and one.ordinal == ordinal]
            for ordinal, chunk in enumerate(each.chunk_ids, start=each.place.ordinal)
        ]
        assert all(len(found) == 1 for found in stands)
        assert (each.place.start, each.place.end) == (stands[0][0].start, stands[-1][0].end)
        assert each.text == "\n\n".join(found[0].text for found in stands)
