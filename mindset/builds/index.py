"""Index: the version's new vectors become a sealed segment, and the version is ready."""

from __future__ import annotations

from dataclasses import dataclass

from mindset.builds.compaction import overflowing
from mindset.builds.progress import Progress, unwatched
from mindset.builds.segments import fill, restore_segment
from mindset.catalog.connection import Catalog
from mindset.catalog.lexical import analyze
from mindset.catalog.placements import Unembedded
from mindset.catalog.segments import (
    add_living,
    add_unindexed,
    attach_segments,
    forget_segment,
    living_counts,
    mark_dropped,
    open_segment,
    seal_segment,
    unfinished_segments,
    version_segments,
)
from mindset.catalog.versions import finish_version, first_unbuilt, newest_version
from mindset.embedding.registry import model_id
from mindset.errors import UnknownVersion
from mindset.index.chroma import ChromaIndex
from mindset.knowledge_base import KnowledgeBase


@dataclass(frozen=True)
class IndexReport:
    """What indexing wrote, and which damaged segments it had to rebuild."""

    version: int
    added: int
    """Chunks that no segment held yet."""

    segments: int
    """How many the version is searched in."""

    merged: int
    """How many segments the new one took in: small ones where there were too many, and what was left of dead ones."""

    rebuilt: tuple[str, ...]


def index(
    catalog: Catalog,
    kb: KnowledgeBase,
    vectors: ChromaIndex,
    version: int,
    *,
    share: float = 1.0,
    progress: Progress = unwatched,
) -> IndexReport:
    """Give the version its segments: those of the version before that it still needs, and a new one of what they lack.

    `share` of the time is spent on writing. Raises UnknownVersion before the version is embedded, IndexDamaged where
    what was written does not verify twice."""
    model = model_id(kb.embedding)
    with catalog.reading() as connection:
        since = first_unbuilt(connection, kb.name, version, model)
        if missing := Unembedded(kb.name, version, since, model).count(connection):
            raise UnknownVersion(f"{missing} texts of version {version} have no vector yet. Run the embed stage first.")
        left_over = unfinished_segments(connection, kb.name)
        before = newest_version(connection, kb.name)
        held = version_segments(connection, kb.name, before.number) if before and before.model == model else []
        shown = living_counts(connection, kb.name, version, held, limit=1)
        kept = [each for each in held if shown[each.id] and each.model == model]
    for number, collection in left_over:
        vectors.drop(collection)
        with catalog.writing() as connection:
            mark_dropped(connection, number)
    rebuilt = tuple(each.collection for each in kept if restore_segment(catalog, vectors, each))

    with catalog.writing() as connection:
        segment, collection = open_segment(connection, kb.name, model, kb.embedding.dimension)
        added = add_unindexed(connection, segment, kb.name, version, since, [each.id for each in kept])
        merged = (
            overflowing(added, kept, living_counts(connection, kb.name, version, kept, limit=added + 1))
            if added
            else []
        )
        copied = add_living(connection, segment, kb.name, version, [each.id for each in merged])
    if added:
        fill(catalog, vectors, segment, collection, model, total=added + copied, share=share, progress=progress)
    segments = [each.id for each in kept if each not in merged]
    with catalog.writing() as connection:
        if added:
            seal_segment(connection, segment, added + copied)
            segments.append(segment)
        else:
            forget_segment(connection, segment)
        attach_segments(connection, kb.name, version, segments)
        analyze(connection, added + copied)
        finish_version(connection, kb.name, version)
    return IndexReport(version, added, len(segments), len(merged), rebuilt)
