"""Maintenance: retire old versions, delete what only they use, compact, check and rebuild. Safe during queries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from mindset.catalog.answer_log import create_partitions
from mindset.catalog.build import Build
from mindset.catalog.collections import orphaned_collections
from mindset.catalog.garbage_collection import (
    DeletedCounts,
    delete_unused_embeddings,
    delete_unused_texts,
    embedding_models,
)
from mindset.catalog.idempotency import delete_old_requests
from mindset.catalog.installation import own_id
from mindset.catalog.postings import delete_unused_postings
from mindset.catalog.releases import live_version, lock_channel
from mindset.catalog.retention import ExpiredCounts, Retention, delete_expired
from mindset.catalog.segments import Segment, unused_segments, used_segments
from mindset.catalog.versions import pending_version, retire_versions
from mindset.config.knowledge_base import KnowledgeBase
from mindset.errors import IndexDamaged, MindsetError, ServiceUnavailable, UnknownVersion
from mindset.pipeline.collections import drop_collection
from mindset.pipeline.compaction import Compaction, compact
from mindset.pipeline.postings import add_missing_postings
from mindset.pipeline.progress import Progress, no_progress
from mindset.pipeline.segments import drop_segments, restore_segment
from mindset.vector_index.chroma import ChromaIndex

_log = structlog.get_logger()


@dataclass(frozen=True)
class MaintenanceReport:
    """What maintenance did."""

    retired: tuple[int, ...]
    deleted: DeletedCounts
    embeddings_deleted: int
    """Number of vectors, of all knowledge bases, that no text uses any more."""

    compacted: tuple[Compaction, ...]
    dropped: int
    checked: int
    rebuilt: tuple[str, ...]
    expired: ExpiredCounts
    """History deleted because of its age."""

    postponed: tuple[str, ...]
    """Work left to the next run because a long-running reader, such as a backup, holds a lock."""


def maintain(
    build: Build,
    kb: KnowledgeBase,
    vectors: ChromaIndex,
    *,
    retention: Retention = Retention(),  # noqa: B008  # immutable
    compacting: Progress = no_progress,
    checking: Progress = no_progress,
) -> MaintenanceReport:
    """Maintain a knowledge base's versions and segments.

    Raises CopiedDatabase before it changes anything. Raises ServiceUnavailable; completed work is kept, and the next run
    does the rest. Raises IndexDamaged or UnknownVersion if a segment cannot be rebuilt, after checking the others, and
    BuildTakenOver."""
    postponed: list[str] = []
    with build.reading() as connection:
        own_id(connection)
    with _or_postpone("partitions of the answer log", postponed), build.writing() as connection:
        create_partitions(connection)
    with build.writing() as connection:
        delete_old_requests(connection)
        lock_channel(connection, kb.name, "live")  # a version promoted meanwhile must not be retired
        retired = retire_versions(connection, kb.name, kb.keep_versions)
    with build.writing() as connection:
        deleted = delete_unused_texts(connection, kb.name)
    embeddings_deleted = _delete_embeddings(build, postponed)
    compacted = _compact_current(build, kb.name, vectors, compacting)
    dropped = _drop_unused(build, kb.name, vectors) + _drop_orphans(build, kb.name, vectors)
    with build.writing() as connection:
        delete_unused_postings(connection, kb.name)
    add_missing_postings(build, kb.name)
    with build.writing(alone=True) as connection:
        expired = delete_expired(connection, kb.name, retention)
    with build.reading() as connection:
        segments = used_segments(connection, kb.name)
    rebuilt = _rebuild_damaged(build, vectors, segments, checking)
    return MaintenanceReport(
        tuple(retired),
        deleted,
        embeddings_deleted,
        compacted,
        dropped,
        len(segments),
        rebuilt,
        expired,
        tuple(postponed),
    )


@contextmanager
def _or_postpone(work: str, postponed: list[str]) -> Iterator[None]:
    """Postpone work that can wait if its lock is not granted in time."""
    try:
        yield
    except ServiceUnavailable as busy:
        _log.warning("maintenance postponed", work=work, error=str(busy))
        postponed.append(work)


def _delete_embeddings(build: Build, postponed: list[str]) -> int:
    with build.reading() as connection:
        models = embedding_models(connection)
    count = 0
    for model in models:
        with _or_postpone(f"vectors of {model}", postponed), build.writing() as connection:
            count += delete_unused_embeddings(connection, model)
    return count


def _compact_current(build: Build, kb: str, vectors: ChromaIndex, progress: Progress) -> tuple[Compaction, ...]:
    """Compact the live version and the one whose release is due. Other versions are only kept until they are retired."""
    with build.reading() as connection:
        current = {live_version(connection, kb), pending_version(connection, kb)}
    versions = sorted(version for version in current if version)
    compactions = (compact(build, kb, vectors, version, progress=progress) for version in versions)
    return tuple(compaction for compaction in compactions if compaction)


def _drop_unused(build: Build, kb: str, vectors: ChromaIndex) -> int:
    with build.reading() as connection:
        unused = unused_segments(connection, kb)
    drop_segments(build, vectors, unused)
    return len(unused)


def _drop_orphans(build: Build, kb: str, vectors: ChromaIndex) -> int:
    """Drop collections that this installation created for the knowledge base, and that a kill or a restored backup left."""
    existing = vectors.collections()
    # A build transaction, though it only reads: whoever lost the build drops nothing.
    with build.writing() as connection:
        orphans = orphaned_collections(connection, kb, existing)
    return sum(drop_collection(build.catalog, vectors, orphan) for orphan in orphans)


def _rebuild_damaged(
    build: Build, vectors: ChromaIndex, segments: list[Segment], checking: Progress
) -> tuple[str, ...]:
    rebuilt: list[str] = []
    failures: list[MindsetError] = []
    for done, segment in enumerate(segments, start=1):
        try:
            if restore_segment(build, vectors, segment, thorough=True):
                rebuilt.append(segment.collection)
        except (IndexDamaged, UnknownVersion) as failure:
            failures.append(failure)
        checking(done, len(segments))
    if failures:  # prefer one that a retry may fix
        raise next((failure for failure in failures if isinstance(failure, IndexDamaged)), failures[0])
    return tuple(rebuilt)
