"""Maintenance: retire old versions, drop what nobody needs, rebuild what is damaged. Safe beside queries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from psycopg import sql

from mindset.builds.index import restore_segment
from mindset.builds.progress import Progress, unwatched
from mindset.catalog.connection import Catalog, Writing, scalar
from mindset.catalog.releases import lock_channel
from mindset.catalog.segments import known_collections, mark_dropped, needed_segments, unneeded_segments
from mindset.catalog.versions import retire_versions
from mindset.index.chroma import ChromaIndex
from mindset.knowledge_base import KnowledgeBase


@dataclass(frozen=True)
class MaintenanceReport:
    """What maintenance did."""

    retired: tuple[int, ...]
    dropped: int
    checked: int
    rebuilt: tuple[str, ...]


def maintain(
    catalog: Catalog,
    kb: KnowledgeBase,
    vectors: ChromaIndex,
    progress: Progress = unwatched,
) -> MaintenanceReport:
    """Bring segments and versions of a knowledge base in order. Hold the build lock: it drops half-written segments.

    Raises ServiceUnavailable; what was done before stays done."""
    with catalog.writing() as connection:
        _make_partitions(connection)
        lock_channel(connection, kb.name, "live")  # what is promoted meanwhile must not be retired
        retired = retire_versions(connection, kb.name, kb.keep_versions)
        unneeded = unneeded_segments(connection, kb.name)
    for segment, collection in unneeded:
        # First the catalog, then Chroma: a kill between the two leaves an orphan, which the next line of defence drops.
        with catalog.writing() as connection:
            mark_dropped(connection, segment)
        vectors.drop(collection)
    orphans = _drop_orphans(catalog, kb, vectors)
    with catalog.reading() as connection:
        needed = needed_segments(connection, kb.name)
    rebuilt = []
    for done, segment_row in enumerate(needed, start=1):
        if restore_segment(catalog, vectors, segment_row, thorough=True):
            rebuilt.append(segment_row.collection)
        progress(done, len(needed))
    return MaintenanceReport(tuple(retired), len(unneeded) + orphans, len(needed), tuple(rebuilt))


def _drop_orphans(catalog: Catalog, kb: KnowledgeBase, vectors: ChromaIndex) -> int:
    """Collections that bear this knowledge base's name and that the catalog does not know."""
    with catalog.reading() as connection:
        known = known_collections(connection)
    own = {name for name in vectors.collections() if name[:-37] == kb.name}  # name-<uuid>
    for name in own - known:
        vectors.drop(name)
    return len(own - known)


def _make_partitions(connection: Writing, days: int = 7) -> None:
    """Partitions of the answer log for the days ahead, so that a day can be dropped at once."""
    today: date = scalar(connection, "SELECT CURRENT_DATE")  # the server's, as the log's own default
    for day in (today + timedelta(days=each) for each in range(1, days + 1)):
        connection.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF answer_log FOR VALUES FROM ({}) TO ({})").format(
                sql.Identifier(f"answer_log_p_{day:%Y%m%d}"), sql.Literal(day), sql.Literal(day + timedelta(days=1))
            )
        )
