"""The index stage: write the version's new vectors and words to a sealed segment and mark the version as ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mindset.catalog.placements import UnembeddedChunks
from mindset.catalog.planner_statistics import analyze
from mindset.catalog.pool import Catalog
from mindset.catalog.postings import analyze_segment, store_postings
from mindset.catalog.segments import (
    Segment,
    add_unindexed_chunks,
    add_visible_chunks,
    attach_segments,
    delete_segment,
    mark_dropped,
    open_segment,
    seal_segment,
    unfinished_segments,
    version_segments,
    visible_counts,
)
from mindset.catalog.versions import finish_version, first_unindexed_version, get_version, newest_version
from mindset.config.knowledge_base import KnowledgeBase
from mindset.embedding.registry import model_id
from mindset.errors import UnknownVersion
from mindset.pipeline.collections import drop_collection
from mindset.pipeline.compaction import segments_to_merge
from mindset.pipeline.postings import add_postings
from mindset.pipeline.progress import Progress, no_progress
from mindset.pipeline.segments import fill_segment, restore_segment
from mindset.text.words import analyzer_named
from mindset.vector_index.chroma import ChromaIndex


@dataclass(frozen=True)
class IndexReport:
    """What indexing wrote, and which damaged segments it rebuilt."""

    version: int
    added: int
    """Number of chunks that no segment contained before."""

    segments: int
    """Number of segments of the version."""

    merged: int
    """Number of segments merged into the new one: small ones if there were too many, and the rest of mostly dead ones."""

    rebuilt: tuple[str, ...]
    """Collections that were damaged and rebuilt."""


def index(
    catalog: Catalog,
    kb: KnowledgeBase,
    vectors: ChromaIndex,
    version: int,
    *,
    duty_cycle: float = 1.0,
    progress: Progress = no_progress,
) -> IndexReport:
    """Give the version its segments: those of the previous version that it still needs, and a new one for the rest.

    `duty_cycle` is the fraction of the time spent on writing. Raises UnknownVersion if the version is not embedded yet,
    IndexDamaged if a written segment fails verification twice."""
    model = model_id(kb.embedding)
    with catalog.reading() as connection:
        from_version = first_unindexed_version(connection, kb.name, version, model)
        if missing := UnembeddedChunks(kb.name, version, from_version, model).count(connection):
            raise UnknownVersion(f"{missing} texts of version {version} have no vector yet. Run the embed stage first.")
        unfinished = unfinished_segments(connection, kb.name)
        current = get_version(connection, kb.name, version)
        assert current  # `first_unindexed_version` raises if there is none
        analyzer = analyzer_named(current.ranking.analysis)
        previous = newest_version(connection, kb.name)
        inherited = (
            version_segments(connection, kb.name, previous.number) if previous and previous.model == model else []
        )
        visible = visible_counts(connection, kb.name, version, inherited, limit=1)
        kept = segments_to_keep(inherited, visible, model)
    for number, collection in unfinished:
        drop_collection(catalog, vectors, collection)
        with catalog.writing() as connection:
            mark_dropped(connection, number)
    rebuilt = tuple(segment.collection for segment in kept if restore_segment(catalog, vectors, segment))

    with catalog.writing() as connection:
        new, collection = open_segment(connection, kb.name, model, kb.embedding.dimension)
        added = add_unindexed_chunks(connection, new, kb.name, version, from_version, [segment.id for segment in kept])
        merged: list[Segment] = []
        if added:
            visible = visible_counts(connection, kb.name, version, kept, limit=added + 1)
            merged = segments_to_merge(added, kept, visible)
        copied = add_visible_chunks(connection, new, kb.name, version, [segment.id for segment in merged])
    if added:
        fill_segment(
            catalog, vectors, new, collection, model, total=added + copied, duty_cycle=duty_cycle, progress=progress
        )
    segments = [segment.id for segment in kept if segment not in merged]
    add_postings(catalog, segments, analyzer)
    postings = analyze_segment(catalog, new, analyzer) if added else None
    with catalog.writing() as connection:
        if postings:
            seal_segment(connection, new, added + copied)
            store_postings(connection, new, analyzer.name, postings)
            segments.append(new)
        else:
            delete_segment(connection, new)
        attach_segments(connection, kb.name, version, segments)
        analyze(connection, added + copied)
        finish_version(connection, kb.name, version)
    return IndexReport(version, added, len(segments), len(merged), rebuilt)


def segments_to_keep(inherited: Sequence[Segment], visible: Mapping[int, int], model: str) -> list[Segment]:
    """Return the segments of the model that have visible chunks; `visible` is {segment id: number of visible chunks}."""
    return [segment for segment in inherited if visible[segment.id] and segment.model == model]
