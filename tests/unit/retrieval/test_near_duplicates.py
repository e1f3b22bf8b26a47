"""Tests of merging near-duplicates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mindset.catalog.passages import VisibleChunk
from mindset.full_text.bm25 import ChunkTable, VisibleChunks
from mindset.full_text.near_duplicates import signature
from mindset.full_text.postings import AnalyzedChunk, build_postings
from mindset.retrieval.near_duplicates import group_near_duplicates, merge_groups

TEXT = (
    "the ferry to the island leaves from the north pier every morning and carries bicycles on the upper deck "
    "where passengers may also sit in summer if the captain agrees"
)
OTHER = (
    "tickets are sold at the counter in the hall until ten minutes before departure and on board for a surcharge "
    "that the crew collects after the last stop"
)


def table(split_at: int = 100, **chunks: tuple[str, str]) -> VisibleChunks:
    """Return chunks, given as {id: (context, text)}, in two segments."""
    analyzed = [
        AnalyzedChunk(chunk_id, f"{context} {text}".split(), 40, signature(text.split()))
        for chunk_id, (context, text) in sorted(chunks.items())
    ]
    parts = [build_postings(analyzed[:split_at]), build_postings(analyzed[split_at:])]
    chunk_table = ChunkTable(parts)
    return VisibleChunks(chunk_table, np.ones(len(chunk_table), dtype=np.bool_))


def groups(visible: VisibleChunks, question: str, ranked: Sequence[str], limit: int = 5) -> list[list[str]]:
    return group_near_duplicates(visible, question.split(), ranked, limit)


@pytest.mark.parametrize("split_at", [0, 1, 2, 100])
def test_near_duplicates_are_at_the_place_of_the_best_one(split_at: int) -> None:
    visible = table(split_at, a=("", TEXT), b=("", OTHER), c=("", TEXT.replace("agrees", "allows")))
    assert groups(visible, "ferry", ["b", "c", "a"]) == [["b"], ["c", "a"]]
    assert groups(visible, "ferry", ["c", "b", "a"]) == [["c", "a"], ["b"]]


def test_a_word_of_the_question_tells_chunks_apart() -> None:
    visible = table(a=("berlin", TEXT), b=("paris", TEXT))
    assert groups(visible, "ferry", ["a", "b"]) == [["a", "b"]]
    assert groups(visible, "ferry in berlin", ["a", "b"]) == [["a"], ["b"]]


def test_figures_tell_chunks_apart() -> None:
    visible = table(a=("", f"{TEXT} 40"), b=("", f"{TEXT} 41"), c=("", f"{TEXT} 40"))
    assert groups(visible, "ferry", ["a", "b", "c"]) == [["a", "c"], ["b"]]


def test_short_texts_stay_apart() -> None:
    visible = table(a=("One", "see the table below"), b=("Two", "see the table below"))
    assert groups(visible, "table", ["a", "b"]) == [["a"], ["b"]]


def test_only_the_first_groups_are_completed() -> None:
    visible = table(a=("", TEXT), b=("", TEXT), c=("", OTHER), d=("", OTHER))
    assert groups(visible, "pier", ["a", "c", "b", "d"], limit=1) == [["a", "b"], ["c"], ["d"]]


def chunk(chunk_id: str, uri: str, candidate: int = 0) -> VisibleChunk:
    return VisibleChunk(candidate, chunk_id, f"text of {chunk_id}", uri, "hash", uri, [], 0, 0, 10, "text/markdown")


def uris(rows: Sequence[VisibleChunk]) -> list[str]:
    return [row.uri for row in rows]


def merged(rows: Sequence[VisibleChunk], groups: Sequence[Sequence[str]], *canonical: str) -> list[VisibleChunk]:
    return merge_groups(rows, groups, {"print.md": 90, "page.md": 3, "copy.md": 3}.get, canonical)  # type: ignore[arg-type]


def test_the_shortest_document_is_canonical_and_all_places_are_kept() -> None:
    rows = merged([chunk("a", "print.md"), chunk("b", "page.md", 1), chunk("c", "copy.md", 2)], [["a", "b", "c"]])
    assert uris(rows) == ["copy.md", "page.md", "print.md"]
    assert {(row.candidate, row.chunk_id, row.text) for row in rows} == {(0, "c", "text of c")}


def test_a_rule_says_which_document_is_canonical() -> None:
    rows = [chunk("a", "print.md"), chunk("b", "page.md", 1)]
    assert uris(merged(rows, [["a", "b"]], "p*t.md")) == ["print.md", "page.md"]
    assert uris(merged(rows, [["a", "b"]], "nothing/**", "page.md", "**")) == ["page.md", "print.md"]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("v1/page.md", "v2/page.md"),
        ("docs/1.9/page.md", "docs/1.10/page.md"),
        ("2023/page.md", "2024-06/page.md"),
        ("v3/page.md", "latest/page.md"),
        ("guide/2.0.md", "guide.md"),
    ],
)
def test_the_latest_edition_is_canonical(earlier: str, later: str) -> None:
    rows = [chunk("a", earlier), chunk("b", later, 1)]
    assert uris(merge_groups(rows, [["a", "b"]], lambda _: 1, ())) == [later, earlier]


def test_groups_keep_the_order_of_the_ranking() -> None:
    rows = merged([chunk("b", "page.md"), chunk("a", "print.md", 1), chunk("c", "copy.md", 2)], [["b", "c"], ["a"]])
    assert [(row.candidate, row.chunk_id) for row in rows] == [(0, "c"), (0, "c"), (1, "a")]
