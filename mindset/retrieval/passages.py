"""From what the visibility statement shows to passages: one a chunk, neighbours in a document joined."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby

from mindset.catalog.passages import Shown
from mindset.retrieval.passage import Passage, Place


def to_passages(shown: Iterable[Shown], *, join: bool) -> list[Passage]:
    """Passages in the order of their proposals, ranks from 1; with `join`, adjacent chunks of a document become one.

    A joined passage has the rank of its best chunk, and only the place that its chunks share."""
    passages = [
        Passage(0, (rows[0].chunk,), rows[0].text, tuple(_place(row) for row in rows))
        for rows in (list(group) for _, group in groupby(shown, key=lambda row: row.proposal))
    ]
    joined: list[Passage] = []
    for passage in passages:
        # A chunk between two that are there already joins both.
        near = [at for at, other in enumerate(joined) if join and _adjacent(other, passage)]
        for at in reversed(near[1:]):
            passage = _join(joined.pop(at), passage)  # noqa: PLW2901
        if near:
            joined[near[0]] = _join(joined[near[0]], passage)
        else:
            joined.append(passage)
    return [replace(passage, rank=rank) for rank, passage in enumerate(joined, start=1)]


def _place(row: Shown) -> Place:
    return Place(row.uri, row.content_hash, row.title, tuple(row.heading_path), row.ordinal, row.start, row.end)


def _adjacent(one: Passage, other: Passage) -> bool:
    a, b = one.place, other.place
    same = (a.uri, a.content_hash) == (b.uri, b.content_hash)
    # Overlapping chunks (fixed, recursive) are not joined: their texts repeat each other.
    return same and (
        (b.ordinal == a.ordinal + len(one.chunk_ids) and a.end <= b.start)
        or (a.ordinal == b.ordinal + len(other.chunk_ids) and b.end <= a.start)
    )


def _join(one: Passage, other: Passage) -> Passage:
    first, second = (one, other) if one.place.start < other.place.start else (other, one)
    place = replace(first.place, end=second.place.end)
    return replace(
        first, chunk_ids=first.chunk_ids + second.chunk_ids, text=f"{first.text}\n\n{second.text}", places=(place,)
    )
