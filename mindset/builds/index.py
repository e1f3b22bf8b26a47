"""Index: the version's new vectors become a sealed segment, and the version is ready."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from mindset.builds.progress import Progress, unwatched
from mindset.catalog.connection import Catalog
from mindset.catalog.embeddings import read_embeddings
from mindset.catalog.lexical import analyze
from mindset.catalog.placements import chunks_without_vector
from mindset.catalog.releases import served
from mindset.catalog.segments import (
    Segment,
    attach_segments,
    living_segments,
    mark_dropped,
    open_segment,
    replace_collection,
    seal_segment,
    segment_members,
    unfinished_segments,
    unindexed_chunks,
    version_segments,
)
from mindset.catalog.versions import finish_version, newest_version, pending_version
from mindset.embedding.registry import model_id
from mindset.errors import IndexDamaged, UnknownVersion
from mindset.index.chroma import BATCH, ChromaIndex, Vectors, digest
from mindset.knowledge_base import KnowledgeBase

_log = structlog.get_logger()

_SAMPLE = 16


@dataclass(frozen=True)
class IndexReport:
    """What indexing wrote, and which damaged segments it had to rebuild."""

    version: int
    added: int
    segments: int
    rebuilt: tuple[str, ...]


def index(
    catalog: Catalog, kb: KnowledgeBase, vectors: ChromaIndex, version: int, *, progress: Progress = unwatched
) -> IndexReport:
    """Give the version its segments: those of the version before that it still needs, and a new one of what they lack.

    Raises UnknownVersion before the version is embedded, IndexDamaged where what was written does not verify twice."""
    model = model_id(kb.embedding)
    with catalog.reading() as connection:
        if missing := chunks_without_vector(connection, kb.name, version, model):
            raise UnknownVersion(
                f"{len(missing)} texts of version {version} have no vector yet. Run the embed stage first."
            )
        left_over = unfinished_segments(connection, kb.name)
        before = newest_version(connection, kb.name)
        kept = living_segments(connection, kb.name, before.number, version) if before and before.model == model else []
    for number, collection in left_over:
        vectors.drop(collection)
        with catalog.writing() as connection:
            mark_dropped(connection, number)
    rebuilt = tuple(each.collection for each in kept if restore_segment(catalog, vectors, each))

    with catalog.reading() as connection:
        new = unindexed_chunks(connection, kb.name, version, model, [each.id for each in kept])
    segments = [each.id for each in kept]
    if new:
        segments.append(_write(catalog, kb, vectors, model, new, progress))
    with catalog.writing() as connection:
        attach_segments(connection, kb.name, version, segments)
        analyze(connection, len(new))
        finish_version(connection, kb.name, version)
    return IndexReport(version, len(new), len(segments), rebuilt)


def restore_segment(catalog: Catalog, vectors: ChromaIndex, segment: Segment, *, thorough: bool = False) -> bool:
    """Rebuild a segment from Postgres if it is damaged, without calling a model; returns whether it was.

    The quick look compares the count and a sample; `thorough` compares every id."""
    with catalog.reading() as connection:
        members = segment_members(connection, segment.id)
    sample = _sample(catalog, segment.model, members)
    try:
        if thorough:
            vectors.verify(segment.collection, members, sample)
        else:
            if (found := vectors.count(segment.collection)) != segment.count:
                raise IndexDamaged(f"{segment.collection} holds {found} of {segment.count} vectors.")
            vectors.check_sample(segment.collection, sample)
    except IndexDamaged as damage:
        _log.warning("segment damaged, rebuilding it from Postgres", segment=segment.id, error=str(damage))
        collection = f"{segment.collection[: -len(str(uuid.UUID(int=0)))]}{uuid.uuid4()}"
        _fill(catalog, vectors, collection, segment.model, members, unwatched)
        with catalog.writing() as connection:
            replace_collection(connection, segment.id, collection)
        vectors.drop(segment.collection)
        return True
    return False


def _write(
    catalog: Catalog, kb: KnowledgeBase, vectors: ChromaIndex, model: str, chunks: Sequence[str], progress: Progress
) -> int:
    with catalog.writing() as connection:
        segment, collection = open_segment(connection, kb.name, model, kb.embedding.dimension)
    _fill(catalog, vectors, collection, model, chunks, progress)
    with catalog.writing() as connection:
        seal_segment(connection, segment, chunks, digest(chunks))
    return segment


def _fill(
    catalog: Catalog, vectors: ChromaIndex, collection: str, model: str, chunks: Sequence[str], progress: Progress
) -> None:
    """Write a collection and verify it; once more from the start if the first attempt does not verify."""
    for attempt in (1, 2):
        with catalog.reading() as connection:
            batches = read_embeddings(connection, model, chunks, BATCH)
            for written in vectors.write(collection, batches):
                progress(written, len(chunks))
        try:
            vectors.verify(collection, chunks, _sample(catalog, model, chunks))
            return
        except IndexDamaged as damage:
            _log.warning("segment does not verify", collection=collection, attempt=attempt, error=str(damage))
            vectors.drop(collection)
            if attempt == 2:
                raise


def _sample(catalog: Catalog, model: str, chunks: Sequence[str]) -> tuple[list[str], Vectors]:
    step = max(1, len(chunks) // _SAMPLE)
    chosen = list(chunks[::step])[:_SAMPLE]
    with catalog.reading() as connection:
        return next(read_embeddings(connection, model, chosen), ([], np.empty((0, 0), dtype=np.float32)))


def restore_live(catalog: Catalog, kb: str, vectors: ChromaIndex) -> tuple[str, ...]:
    """Look at the segments of what is live and of what waits to be, and rebuild those that are damaged.

    For nights that build nothing: they may still evaluate and release what an earlier one has built."""
    with catalog.reading() as connection:
        live = served(connection, kb)
        pending = pending_version(connection, kb)
        waiting = version_segments(connection, kb, pending) if pending else []
    segments = {each.id: each for each in (*(live.segments if live else ()), *waiting)}
    return tuple(each.collection for each in segments.values() if restore_segment(catalog, vectors, each))
