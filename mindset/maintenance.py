"""Maintenance: retire and forget old versions, compact the current ones, drop and rebuild. Safe beside queries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from mindset.builds.compaction import Compaction, compact
from mindset.builds.progress import Progress, unwatched
from mindset.builds.segments import restore_segment
from mindset.catalog.answers import make_partitions
from mindset.catalog.connection import Catalog
from mindset.catalog.idempotency import forget_requests
from mindset.catalog.releases import live_version, lock_channel
from mindset.catalog.retention import Forgotten, forget_embeddings, forget_texts, models
from mindset.catalog.segments import known_collections, mark_dropped, needed_segments, unneeded_segments
from mindset.catalog.versions import pending_version, retire_versions
from mindset.errors import IndexDamaged, MindsetError, ServiceUnavailable, UnknownVersion
from mindset.index.chroma import ChromaIndex
from mindset.knowledge_base import KnowledgeBase

_log = structlog.get_logger()


@dataclass(frozen=True)
class MaintenanceReport:
    """What maintenance did."""

    retired: tuple[int, ...]
    forgotten: Forgotten
    embeddings: int
    """Vectors that no text needs any more, of all knowledge bases."""

    compacted: tuple[Compaction, ...]
    dropped: int
    checked: int
    rebuilt: tuple[str, ...]
    put_off: tuple[str, ...]
    """What is left to the next one, since somebody reads it for long, such as a backup."""


def maintain(
    catalog: Catalog,
    kb: KnowledgeBase,
    vectors: ChromaIndex,
    *,
    compacting: Progress = unwatched,
    checking: Progress = unwatched,
) -> MaintenanceReport:
    """Bring segments and versions of a knowledge base in order. Hold the build lock: it drops half-written segments.

    Raises ServiceUnavailable; what was done before stays done, and the next one does the rest. Raises IndexDamaged or
    UnknownVersion for a segment that cannot be rebuilt, after it has looked at the others."""
    put_off: list[str] = []
    with _unless_read("partitions of the answer log", put_off), catalog.writing() as connection:
        make_partitions(connection)
    with catalog.writing() as connection:
        forget_requests(connection)
        lock_channel(connection, kb.name, "live")  # what is promoted meanwhile must not be retired
        retired = retire_versions(connection, kb.name, kb.keep_versions)
    with catalog.writing() as connection:
        forgotten = forget_texts(connection, kb.name)
    embeddings = _forget_embeddings(catalog, put_off)
    compacted = _compact_current(catalog, kb.name, vectors, compacting)
    dropped = _drop_unneeded(catalog, kb.name, vectors) + _drop_orphans(catalog, kb.name, vectors)
    with catalog.reading() as connection:
        needed = needed_segments(connection, kb.name)
    rebuilt: list[str] = []
    broken: list[MindsetError] = []
    for done, segment in enumerate(needed, start=1):
        try:
            if restore_segment(catalog, vectors, segment, thorough=True):
                rebuilt.append(segment.collection)
        except (IndexDamaged, UnknownVersion) as failure:
            broken.append(failure)
        checking(done, len(needed))
    if broken:  # one that another attempt may mend comes first
        raise next((each for each in broken if isinstance(each, IndexDamaged)), broken[0])
    return MaintenanceReport(
        tuple(retired), forgotten, embeddings, compacted, dropped, len(needed), tuple(rebuilt), tuple(put_off)
    )


@contextmanager
def _unless_read(what: str, put_off: list[str]) -> Iterator[None]:
    """For what can wait: where its lock is not had in time it is put off."""
    try:
        yield
    except ServiceUnavailable as busy:
        _log.warning("put off", what=what, error=str(busy))
        put_off.append(what)


def _forget_embeddings(catalog: Catalog, put_off: list[str]) -> int:
    with catalog.reading() as connection:
        known = models(connection)
    count = 0
    for model in known:
        with _unless_read(f"vectors of {model}", put_off), catalog.writing() as connection:
            count += forget_embeddings(connection, model)
    return count


def _compact_current(catalog: Catalog, kb: str, vectors: ChromaIndex, progress: Progress) -> tuple[Compaction, ...]:
    """Of what is asked, and of what waits to be; others are left as they are until they go."""
    with catalog.reading() as connection:
        current = {live_version(connection, kb), pending_version(connection, kb)}
    done = (
        compact(catalog, kb, vectors, number, progress=progress) for number in sorted(each for each in current if each)
    )
    return tuple(each for each in done if each)


def _drop_unneeded(catalog: Catalog, kb: str, vectors: ChromaIndex) -> int:
    with catalog.reading() as connection:
        unneeded = unneeded_segments(connection, kb)
    for segment, collection in unneeded:
        # First the catalog, then Chroma: a kill between the two leaves an orphan, which is dropped as such.
        with catalog.writing() as connection:
            mark_dropped(connection, segment)
        vectors.drop(collection)
    return len(unneeded)


def _drop_orphans(catalog: Catalog, kb: str, vectors: ChromaIndex) -> int:
    """Collections that bear this knowledge base's name and that the catalog does not know."""
    own = {name for name in vectors.collections() if name[:-37] == kb}  # name-<uuid>
    # After Chroma: what is made in between is in neither.
    with catalog.reading() as connection:
        known = known_collections(connection)
    for name in own - known:
        vectors.drop(name)
    return len(own - known)
