"""Writing, verifying and repairing segments: Postgres is the source, Chroma the copy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import structlog

from mindset.catalog.build import Build
from mindset.catalog.embeddings import read_embeddings
from mindset.catalog.pool import Catalog
from mindset.catalog.releases import version_snapshot
from mindset.catalog.segments import (
    Segment,
    check_embedded,
    delete_dead_members,
    mark_dropped,
    next_collection,
    replace_collection,
    sample_members,
    segment_members,
    version_segments,
)
from mindset.catalog.versions import pending_version
from mindset.errors import IndexDamaged
from mindset.pipeline.collections import drop_collection
from mindset.pipeline.concurrency import prefetch, throttle
from mindset.pipeline.postings import add_missing_postings
from mindset.pipeline.progress import Progress, no_progress
from mindset.vector_index.chroma import BATCH, REMEDY, ChromaIndex, Vectors

_log = structlog.get_logger()

_RECHECK_DELAY_S = 1.0

_Batch = tuple[list[str], Vectors]


def fill_segment(
    catalog: Catalog,
    vectors: ChromaIndex,
    segment: int,
    collection: str,
    model: str,
    *,
    total: int,
    duty_cycle: float = 1.0,
    progress: Progress = no_progress,
) -> None:
    """Write a segment's `total` members to a collection and verify it. A failed verification is retried once.

    Raises UnknownVersion if a member has no vector, IndexDamaged if the second attempt fails as well."""
    with catalog.reading() as connection:
        check_embedded(connection, segment, model)
    for attempt in (1, 2):
        batches = _embedded_members(catalog, segment, model)
        paced = prefetch(batches) if duty_cycle == 1 else throttle(batches, duty_cycle)
        for done in vectors.write(collection, paced):
            progress(done, total)
        try:
            vectors.check_members(collection, _members(catalog, segment))
            vectors.check_sample(collection, _sample(catalog, segment, model))
            return
        except IndexDamaged as damage:
            _log.warning("segment verification failed", collection=collection, attempt=attempt, error=str(damage))
            drop_collection(catalog, vectors, collection)
            if attempt == 2:
                raise


def restore_segment(build: Build, vectors: ChromaIndex, segment: Segment, *, thorough: bool = False) -> bool:
    """Rebuild a segment from Postgres if it is damaged, without calling a model. Returns whether it was damaged.

    The default check compares the count and a sample; `thorough` compares every id and vector. Raises UnknownVersion if
    Postgres lacks a vector too."""
    damage = _find_damage(build.catalog, vectors, segment, thorough=thorough)
    if not damage:
        return False
    _log.warning("segment damaged, rebuilding it from Postgres", segment=segment.id, error=str(damage))
    rebuild_segment(build, vectors, segment)
    return True


def rebuild_segment(build: Build, vectors: ChromaIndex, segment: Segment) -> None:
    """Write a segment to a new collection. The previous one is dropped if this installation created it.

    Raises UnknownVersion if a member has no vector, IndexDamaged if the collection fails verification twice."""
    with build.writing() as connection:
        collection = next_collection(connection, segment.id)
        remaining = delete_dead_members(connection, segment.id)
    fill_segment(build.catalog, vectors, segment.id, collection, segment.model, total=remaining)
    with build.writing() as connection:
        replace_collection(connection, segment.id, collection, remaining)
    drop_collection(
        build.catalog, vectors, segment.collection
    )  # safe even for an orphan: this transaction has replaced it


def drop_segments(build: Build, vectors: ChromaIndex, segments: Sequence[tuple[int, str]]) -> None:
    """Drop unused segments, given as (id, collection).

    First the catalog, then Chroma: an orphan cannot mark a segment, so it cannot drop the collection that the current build
    writes. A kill in between leaves a collection that maintenance drops."""
    for segment, collection in segments:
        with build.writing() as connection:
            mark_dropped(connection, segment)
        drop_collection(build.catalog, vectors, collection)


def restore_live(build: Build, kb: str, vectors: ChromaIndex) -> tuple[str, ...]:
    """Check the segments of the live version and of the one whose release is due, and rebuild what is damaged or missing.

    For nights that build nothing but may still evaluate and release what an earlier night has built."""
    add_missing_postings(build, kb)
    with build.reading() as connection:
        live = version_snapshot(connection, kb)
        pending = pending_version(connection, kb)
        pending_segments = version_segments(connection, kb, pending) if pending else []
    segments = {segment.id: segment for segment in (*(live.segments if live else ()), *pending_segments)}
    return tuple(segment.collection for segment in segments.values() if restore_segment(build, vectors, segment))


def _find_damage(catalog: Catalog, vectors: ChromaIndex, segment: Segment, *, thorough: bool) -> IndexDamaged | None:
    """Check a segment, and check it again after a failure: one error of the server must not cost a rebuild."""
    found: IndexDamaged | None = None
    for delay_s in (_RECHECK_DELAY_S, 0):
        try:
            _check(catalog, vectors, segment, thorough=thorough)
        except IndexDamaged as damage:
            found = damage
            time.sleep(delay_s)
        else:
            return None
    return found


def _check(catalog: Catalog, vectors: ChromaIndex, segment: Segment, *, thorough: bool) -> None:
    """Raise IndexDamaged if a collection differs from what Postgres says."""
    if thorough:
        vectors.check_members(segment.collection, _members(catalog, segment.id))
        vectors.check_vectors(segment.collection, _embedded_members(catalog, segment.id, segment.model))
    elif (count := vectors.count(segment.collection)) != segment.count:
        raise IndexDamaged(f"Collection {segment.collection} holds {count} of {segment.count} vectors. {REMEDY}")
    vectors.check_sample(segment.collection, _sample(catalog, segment.id, segment.model))


def _members(catalog: Catalog, segment: int) -> Iterator[list[str]]:
    """Yield chunk ids in order and in batches, one transaction each, since writing them to Chroma may take an hour."""
    last = ""
    while True:
        with catalog.reading() as connection:
            chunk_ids = segment_members(connection, segment, after=last, limit=BATCH)
        if not chunk_ids:
            return
        yield chunk_ids
        last = chunk_ids[-1]


def _embedded_members(catalog: Catalog, segment: int, model: str) -> Iterator[_Batch]:
    for chunk_ids in _members(catalog, segment):
        with catalog.reading() as connection:
            batches = list(read_embeddings(connection, model, chunk_ids))
        yield from batches


def _sample(catalog: Catalog, segment: int, model: str) -> _Batch:
    with catalog.reading() as connection:
        chunk_ids = sample_members(connection, segment)
        return next(read_embeddings(connection, model, chunk_ids), ([], np.empty((0, 0), dtype=np.float32)))
