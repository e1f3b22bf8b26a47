"""Renewing an installation's id, so that a copy of a database and its original share nothing any more."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from mindset.catalog.build_lock import BuildLock
from mindset.catalog.installation import (
    has_other_knowledge_bases,
    knowledge_base_names,
    read_installation,
    renew_id,
)
from mindset.catalog.pool import Catalog
from mindset.catalog.segments import Segment, copied_segments, mark_dropped, unused_segments
from mindset.catalog.transactions import WriteConnection
from mindset.errors import IndexDamaged, MindsetError, UnknownVersion
from mindset.pipeline.progress import Progress, no_progress
from mindset.pipeline.segments import rebuild_segment
from mindset.vector_index.chroma import ChromaIndex


@dataclass(frozen=True)
class RenewalReport:
    """What a renewal did."""

    installation: str
    """The installation's id from now on."""
    resumed: bool
    """Whether this run completed one that was interrupted after the id had changed."""
    segments: int
    """Number of segments written to collections of their own."""
    abandoned: int
    """Number of segments that were unfinished or unused: only their rows are marked as dropped, not their collections."""


@dataclass(frozen=True)
class _Start:
    installation: str
    resumed: bool
    abandoned: int


def renew(catalog: Catalog, vectors: ChromaIndex, *, progress: Progress = no_progress) -> RenewalReport:
    """Give the installation a new id, and write every segment that it needs to a new collection, without calling a model.

    No collection is dropped, since the original may use it, and questions are answered meanwhile. If it is interrupted, the
    next call continues. Raises BuildInProgress while a knowledge base is built or maintained, ServiceUnavailable, and
    IndexDamaged or UnknownVersion if a segment cannot be written, after writing the others."""
    with ExitStack() as stack:
        locks: dict[str, BuildLock] = {}
        start = None
        while start is None:  # until no knowledge base was added meanwhile
            with catalog.reading() as connection:
                names = knowledge_base_names(connection)
            locks |= {
                kb: stack.enter_context(catalog.build_lock(kb, allow_copy=True)) for kb in names if kb not in locks
            }
            with catalog.writing() as connection:
                start = _start(connection, locks)
        with catalog.reading() as connection:
            segments = [(kb, segment) for kb in locks for segment in copied_segments(connection, kb)]
        _rebuild(vectors, locks, segments, progress)
    return RenewalReport(start.installation, start.resumed, len(segments), start.abandoned)


def _start(connection: WriteConnection, locks: dict[str, BuildLock]) -> _Start | None:
    """Change the id, unless an interrupted renewal did. Returns None if a knowledge base is not locked yet."""
    if has_other_knowledge_bases(connection, locks):
        return None
    installation = read_installation(connection)
    if not installation.is_copy and any(copied_segments(connection, kb) for kb in locks):
        return _Start(installation.id, resumed=True, abandoned=0)
    abandoned = 0
    for kb, lock in locks.items():
        fenced = lock.build.fence_in(connection)
        for segment, _ in unused_segments(connection, kb):
            mark_dropped(fenced, segment)
            abandoned += 1
    return _Start(renew_id(connection), resumed=False, abandoned=abandoned)


def _rebuild(
    vectors: ChromaIndex,
    locks: dict[str, BuildLock],
    segments: list[tuple[str, Segment]],
    progress: Progress,
) -> None:
    failures: list[MindsetError] = []
    for done, (kb, segment) in enumerate(segments, start=1):
        locks[kb].ensure()  # Postgres may have restarted
        try:
            rebuild_segment(locks[kb].build, vectors, segment)
        except (IndexDamaged, UnknownVersion) as failure:
            failures.append(failure)
        progress(done, len(segments))
    if failures:
        raise failures[0]
