"""Compaction: keep segments few and free of dead chunks, so that a search takes about as long as over one segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mindset.catalog.build import Build
from mindset.catalog.planner_statistics import analyze
from mindset.catalog.postings import analyze_segment, store_postings
from mindset.catalog.segments import (
    Segment,
    add_visible_chunks,
    attach_segments,
    delete_segment,
    open_segment,
    seal_segment,
    version_segments,
    visible_counts,
)
from mindset.catalog.versions import get_version
from mindset.pipeline.progress import Progress, no_progress
from mindset.pipeline.segments import fill_segment
from mindset.text.words import analyzer_named
from mindset.vector_index.chroma import ChromaIndex

# Each segment is searched separately. On two cores, three take 1.6 times as long as one, four 2.3 times, six 2.7 times
# (benchmarks/growth).
MAX_SEGMENTS = 3

# A night merges a segment that is at most this many times as large as all smaller ones together. With 1, the middle segment
# grows until it is as large as the largest while every night copies the smallest: over 1,000 equal nights, each chunk is
# copied 41 times. With 3 it is copied 13 times; with 6 as often, and more often over fewer nights.
_MERGE_RATIO = 3

# A search proposes dead chunks and discards them afterwards: if a fifth are dead, so are a fifth of the candidates.
MAX_DEAD_RATIO = 0.2


@dataclass(frozen=True)
class Compaction:
    """Segments merged into one: their number, the chunks copied, and the dead chunks dropped."""

    version: int
    segments: int
    copied: int
    dead: int


def segments_to_merge(written: int, segments: Sequence[Segment], visible: Mapping[int, int]) -> list[Segment]:
    """Return the segments of a version that a nightly run merges into its new segment of `written` chunks.

    These are mostly dead segments with at most `written` visible chunks, and the smallest others if there would be more
    than MAX_SEGMENTS. Usually none, so that a night costs what changed. `visible` is the number of each segment's chunks
    that belong to the version, counted up to `written` + 1."""
    dead = [segment for segment in segments if visible[segment.id] <= written and _is_mostly_dead(segment, visible)]
    others = sorted((segment for segment in segments if segment not in dead), key=lambda segment: segment.count)
    if len(others) < MAX_SEGMENTS:
        return dead
    return [*dead, *_smallest(written + sum(visible[segment.id] for segment in dead), others, _MERGE_RATIO)]


def segments_to_compact(segments: Sequence[Segment], visible: Mapping[int, int]) -> list[Segment]:
    """Return the segments of a version that maintenance merges: those with too many dead chunks, and small ones.

    `visible` is the number of each segment's chunks that belong to the version."""
    ascending = sorted(segments, key=lambda segment: segment.count)
    dead = [segment for segment in ascending if _is_mostly_dead(segment, visible)]
    first = dead or ascending[:1]
    others = [segment for segment in ascending if segment not in first]
    selected = [*first, *_smallest(sum(segment.count for segment in first), others, 1)]
    return selected if dead or len(selected) > 1 else []


def _is_mostly_dead(segment: Segment, visible: Mapping[int, int]) -> bool:
    return visible[segment.id] < (1 - MAX_DEAD_RATIO) * segment.count


def _smallest(size: int, ascending: Sequence[Segment], ratio: int) -> Sequence[Segment]:
    """Return the smallest segments to merge into one of `size` chunks.

    As many as needed to keep at most MAX_SEGMENTS, and all up to the last one that is at most `ratio` times as large as
    those before it together, so that a chunk is copied only when its segment grows in proportion."""
    taken = max(0, len(ascending) + 1 - MAX_SEGMENTS)
    for number, segment in enumerate(ascending, start=1):
        if segment.count <= ratio * size:
            taken = max(taken, number)
        size += segment.count
    return ascending[:taken]


def compact(
    build: Build, kb: str, vectors: ChromaIndex, version: int, *, progress: Progress = no_progress
) -> Compaction | None:
    """Merge those segments of a version that are worth it, or return None.

    Concurrent searches find the same chunks before and after."""
    with build.reading() as connection:
        segments = version_segments(connection, kb, version)
        visible = visible_counts(connection, kb, version, segments)
        current = get_version(connection, kb, version)
    selected = segments_to_compact(segments, visible)
    if not selected or current is None:
        return None
    analyzer = analyzer_named(current.ranking.analysis)
    model, dimension = selected[0].model, selected[0].dimension
    with build.writing() as connection:
        new, collection = open_segment(connection, kb, model, dimension)
        count = add_visible_chunks(connection, new, kb, version, [segment.id for segment in selected])
    if count:
        fill_segment(build.catalog, vectors, new, collection, model, total=count, progress=progress)
    postings = analyze_segment(build.catalog, new, analyzer) if count else None
    remaining = [segment.id for segment in segments if segment not in selected]
    with build.writing() as connection:
        if postings:
            seal_segment(connection, new, count)
            store_postings(connection, new, analyzer.name, postings)
            remaining.append(new)
        else:
            delete_segment(connection, new)
        attach_segments(connection, kb, version, remaining)
        analyze(connection, count)
    return Compaction(version, len(selected), count, sum(segment.count for segment in selected) - count)
