"""Segments, from their members in Postgres to verified collections in Chroma, and back to health."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import numpy as np
import structlog

from mindset.builds.batches import ahead, rested
from mindset.builds.progress import Progress, unwatched
from mindset.catalog.connection import Catalog
from mindset.catalog.embeddings import read_embeddings
from mindset.catalog.releases import served
from mindset.catalog.segments import (
    Segment,
    check_embedded,
    forget_dead,
    replace_collection,
    sample_members,
    segment_members,
    version_segments,
)
from mindset.catalog.versions import pending_version
from mindset.errors import IndexDamaged
from mindset.index.chroma import BATCH, REMEDY, ChromaIndex, Vectors

_log = structlog.get_logger()

_SECOND_LOOK_S = 1.0

_Batch = tuple[list[str], Vectors]


def fill(
    catalog: Catalog,
    vectors: ChromaIndex,
    segment: int,
    collection: str,
    model: str,
    *,
    total: int,
    share: float = 1.0,
    progress: Progress = unwatched,
) -> None:
    """Write a segment's `total` members into a collection and verify it; once more from the start if it does not verify.

    Raises UnknownVersion where a member has no vector, IndexDamaged where the second attempt does not verify either."""
    with catalog.reading() as connection:
        check_embedded(connection, segment, model)
    for attempt in (1, 2):
        batches = _embedded_members(catalog, segment, model)
        for done in vectors.write(collection, ahead(batches) if share == 1 else rested(batches, share)):
            progress(done, total)
        try:
            vectors.check_members(collection, _members(catalog, segment))
            vectors.check_sample(collection, _sample(catalog, segment, model))
            return
        except IndexDamaged as damage:
            _log.warning("segment does not verify", collection=collection, attempt=attempt, error=str(damage))
            vectors.drop(collection)
            if attempt == 2:
                raise


def restore_segment(catalog: Catalog, vectors: ChromaIndex, segment: Segment, *, thorough: bool = False) -> bool:
    """Rebuild a segment from Postgres if it is damaged, without calling a model; returns whether it was.

    The quick look compares the count and a sample; `thorough` compares every id and every vector. Raises UnknownVersion where
    a vector is lost in Postgres too."""
    if damage := _damage(catalog, vectors, segment, thorough=thorough):
        _log.warning("segment damaged, rebuilding it from Postgres", segment=segment.id, error=str(damage))
        collection = f"{segment.collection[: -len(str(uuid.UUID(int=0)))]}{uuid.uuid4()}"
        with catalog.writing() as connection:
            left = forget_dead(connection, segment.id)
        fill(catalog, vectors, segment.id, collection, segment.model, total=left)
        with catalog.writing() as connection:
            replace_collection(connection, segment.id, collection, left)
        vectors.drop(segment.collection)
        return True
    return False


def _damage(catalog: Catalog, vectors: ChromaIndex, segment: Segment, *, thorough: bool) -> IndexDamaged | None:
    """What is wrong with a segment, seen twice: a server that once answers with an error must not cost a rebuild."""
    seen: IndexDamaged | None = None
    for pause in (_SECOND_LOOK_S, 0):
        try:
            _look(catalog, vectors, segment, thorough=thorough)
        except IndexDamaged as damage:
            seen = damage
            time.sleep(pause)
        else:
            return None
    return seen


def _look(catalog: Catalog, vectors: ChromaIndex, segment: Segment, *, thorough: bool) -> None:
    """Raise IndexDamaged where a collection is not what Postgres says."""
    if thorough:
        vectors.check_members(segment.collection, _members(catalog, segment.id))
        vectors.check_vectors(segment.collection, _embedded_members(catalog, segment.id, segment.model))
    elif (found := vectors.count(segment.collection)) != segment.count:
        raise IndexDamaged(f"{segment.collection} holds {found} of {segment.count} vectors. {REMEDY}")
    vectors.check_sample(segment.collection, _sample(catalog, segment.id, segment.model))


def restore_live(catalog: Catalog, kb: str, vectors: ChromaIndex) -> tuple[str, ...]:
    """Look at the segments of what is live and of what waits to be, and rebuild those that are damaged.

    For nights that build nothing: they may still evaluate and release what an earlier one has built."""
    with catalog.reading() as connection:
        live = served(connection, kb)
        pending = pending_version(connection, kb)
        waiting = version_segments(connection, kb, pending) if pending else []
    segments = {each.id: each for each in (*(live.segments if live else ()), *waiting)}
    return tuple(each.collection for each in segments.values() if restore_segment(catalog, vectors, each))


def _members(catalog: Catalog, segment: int) -> Iterator[list[str]]:
    """Chunk ids in order, in batches; a transaction each, since writing them to Chroma may take an hour."""
    last = ""
    while True:
        with catalog.reading() as connection:
            chunks = segment_members(connection, segment, after=last, limit=BATCH)
        if not chunks:
            return
        yield chunks
        last = chunks[-1]


def _embedded_members(catalog: Catalog, segment: int, model: str) -> Iterator[_Batch]:
    for chunks in _members(catalog, segment):
        with catalog.reading() as connection:
            batches = list(read_embeddings(connection, model, chunks))
        yield from batches


def _sample(catalog: Catalog, segment: int, model: str) -> _Batch:
    with catalog.reading() as connection:
        chosen = sample_members(connection, segment)
        return next(read_embeddings(connection, model, chosen), ([], np.empty((0, 0), dtype=np.float32)))
