"""Build passages from the chunks that a caller may read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby

from mindset.catalog.passages import VisibleChunk
from mindset.retrieval.passage import Passage, Place


def to_passages(chunks: Iterable[VisibleChunk], language: str = "simple", *, join: bool) -> list[Passage]:
    """Return one passage per chunk in the order of the ranking; with `join`, adjacent chunks of a document become one.

    `language` is that of the version's word analysis. A joined passage has the rank of its best chunk and a single place that
    covers all its chunks."""
    passages = [
        Passage(0, (rows[0].chunk_id,), rows[0].text, tuple(_place(row) for row in rows), rows[0].media_type, language)
        for rows in (list(group) for _, group in groupby(chunks, key=lambda row: row.candidate))
    ]
    joined: list[Passage] = []
    for passage in passages:
        # A chunk between two that are already in the list joins both.
        neighbours = [at for at, other in enumerate(joined) if join and _adjacent(other, passage)]
        for at in reversed(neighbours[1:]):
            passage = _join(joined.pop(at), passage)  # noqa: PLW2901
        if neighbours:
            joined[neighbours[0]] = _join(joined[neighbours[0]], passage)
        else:
            joined.append(passage)
    return [replace(passage, rank=rank) for rank, passage in enumerate(joined, start=1)]


def _place(row: VisibleChunk) -> Place:
    return Place(row.uri, row.content_hash, row.title, tuple(row.heading_path), row.ordinal, row.start, row.end)


def _adjacent(one: Passage, other: Passage) -> bool:
    a, b = one.place, other.place
    same_revision = (a.uri, a.content_hash) == (b.uri, b.content_hash)
    # Chunks that overlap (`fixed`, `recursive`) are not joined, because their texts repeat each other.
    return same_revision and (
        (b.ordinal == a.ordinal + len(one.chunk_ids) and a.end <= b.start)
        or (a.ordinal == b.ordinal + len(other.chunk_ids) and b.end <= a.start)
    )


def _join(one: Passage, other: Passage) -> Passage:
    first, second = (one, other) if one.place.start < other.place.start else (other, one)
    place = replace(first.place, end=second.place.end)
    return replace(
        first, chunk_ids=first.chunk_ids + second.chunk_ids, text=f"{first.text}\n\n{second.text}", places=(place,)
    )
