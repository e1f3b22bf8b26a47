"""Compaction: few segments, with few dead chunks in them, so that a search stays about as fast as over one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mindset.builds.progress import Progress, unwatched
from mindset.builds.segments import fill
from mindset.catalog.connection import Catalog
from mindset.catalog.lexical import analyze
from mindset.catalog.segments import (
    Segment,
    add_living,
    attach_segments,
    forget_segment,
    living_counts,
    open_segment,
    seal_segment,
    version_segments,
)
from mindset.index.chroma import ChromaIndex

# Each segment costs a search of its own. On two cores, three take 1.6 times as long as one, four 2.3 times, six 2.7 times:
# benchmarks/growth.
MOST_SEGMENTS = 3

# How many times as large as all before it a segment may be that a night takes in. With 1 the middle one grows until it is as
# large as the largest, and every night copies the smallest meanwhile: over 1,000 equal nights each chunk 41 times. With 3 it is
# 13 times, with 6 as many, and more over fewer nights.
_NIGHTS_RATIO = 3

# Dead chunks are proposed by a search and then discarded; a fifth of them takes a fifth of the candidates.
MOST_DEAD = 0.2


@dataclass(frozen=True)
class Compaction:
    """What became one segment: how many there were, the chunks that were copied, and the dead ones left behind."""

    version: int
    segments: int
    copied: int
    left_behind: int


def overflowing(written: int, segments: Sequence[Segment], living: Mapping[int, int]) -> list[Segment]:
    """Those that a new segment of `written` chunks takes in: what a version has left of mostly dead ones, where that is
    no more than is written; and as many as leave it no more than MOST_SEGMENTS.

    Mostly none: a night pays for what changed. `living` says how many of a segment's chunks the version shows, counted
    up to one more than `written`."""
    dying = [each for each in segments if living[each.id] <= written and _is_dying(each, living)]
    others = sorted((each for each in segments if each not in dying), key=lambda each: each.count)
    if len(others) < MOST_SEGMENTS:
        return dying
    return [*dying, *_absorbed(written + sum(living[each.id] for each in dying), others, _NIGHTS_RATIO)]


def worth_compacting(segments: Sequence[Segment], living: Mapping[int, int]) -> list[Segment]:
    """Those of a version's that maintenance makes one of: each with too many dead chunks, and small ones beside.

    `living` says how many of a segment's chunks the version shows."""
    ascending = sorted(segments, key=lambda each: each.count)
    dying = [each for each in ascending if _is_dying(each, living)]
    begun = dying or ascending[:1]
    others = [each for each in ascending if each not in begun]
    chosen = [*begun, *_absorbed(sum(each.count for each in begun), others, 1)]
    return chosen if dying or len(chosen) > 1 else []


def _is_dying(segment: Segment, living: Mapping[int, int]) -> bool:
    return living[segment.id] < (1 - MOST_DEAD) * segment.count


def _absorbed(size: int, ascending: Sequence[Segment], ratio: int) -> Sequence[Segment]:
    """The smallest, as many as leave room for the one that takes them in; and up to the last that is no more than `ratio`
    times as large as all before it, so that a chunk is copied only when its segment grows by a share of it."""
    taken = max(0, len(ascending) + 1 - MOST_SEGMENTS)
    for number, each in enumerate(ascending, start=1):
        if each.count <= ratio * size:
            taken = max(taken, number)
        size += each.count
    return ascending[:taken]


def compact(
    catalog: Catalog, kb: str, vectors: ChromaIndex, version: int, *, progress: Progress = unwatched
) -> Compaction | None:
    """Make one segment of those of a version that are worth it; None where none are. Hold the build lock.

    Searches that run meanwhile find the same chunks before and after."""
    with catalog.reading() as connection:
        segments = version_segments(connection, kb, version)
        living = living_counts(connection, kb, version, segments)
    chosen = worth_compacting(segments, living)
    if not chosen:
        return None
    model, dimension = chosen[0].model, chosen[0].dimension
    with catalog.writing() as connection:
        segment, collection = open_segment(connection, kb, model, dimension)
        count = add_living(connection, segment, kb, version, [each.id for each in chosen])
    if count:
        fill(catalog, vectors, segment, collection, model, total=count, progress=progress)
    rest = [each.id for each in segments if each not in chosen]
    with catalog.writing() as connection:
        if count:
            seal_segment(connection, segment, count)
            rest.append(segment)
        else:
            forget_segment(connection, segment)
        attach_segments(connection, kb, version, rest)
        analyze(connection, count)
    return Compaction(version, len(chosen), count, sum(each.count for each in chosen) - count)
