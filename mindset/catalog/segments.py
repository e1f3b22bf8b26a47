"""Segments: which Chroma collections exist, what they hold, and which versions need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mindset.catalog.connection import Connection, Writing, copy_rows, rows
from mindset.errors import IndexDamaged


@dataclass(frozen=True, slots=True)
class Segment:
    """A sealed segment: `count` vectors under `collection`."""

    id: int
    collection: str
    model: str
    dimension: int
    count: int


def open_segment(connection: Writing, kb: str, model: str, dimension: int) -> tuple[int, str]:
    """Note a segment that is about to be written; returns its id and the name of its collection."""
    row = connection.execute(
        """INSERT INTO segment (kb, model, dimension, collection, state)
           VALUES (%s, %s, %s, %s || '-' || gen_random_uuid(), 'writing') RETURNING id, collection""",
        [kb, model, dimension, kb],
    ).fetchone()
    assert row
    return row[0], row[1]


def seal_segment(connection: Writing, segment: int, chunks: Sequence[str], digest: str) -> None:
    """Note what a verified segment holds; it is never written again.

    Raises IndexDamaged where it was dropped meanwhile, by a build that took this one for dead."""
    copy_rows(connection, "segment_chunk (segment, chunk)", ["int8", "text"], ((segment, chunk) for chunk in chunks))
    sealed = connection.execute(
        "UPDATE segment SET state = 'sealed', count = %s, digest = %s WHERE id = %s AND state = 'writing'",
        [len(chunks), digest, segment],
    ).rowcount
    if not sealed:
        raise IndexDamaged(f"Segment {segment} was dropped while it was written. The stage writes it again.")


def replace_collection(connection: Writing, segment: int, collection: str) -> None:
    """Point a segment at the collection that it was rebuilt in. Its members stay."""
    connection.execute("UPDATE segment SET collection = %s WHERE id = %s", [collection, segment])


def mark_dropped(connection: Writing, segment: int) -> None:
    """Note that a segment's collection is gone, and forget its members."""
    connection.execute("DELETE FROM segment_chunk WHERE segment = %s", [segment])
    connection.execute("UPDATE segment SET state = 'dropped' WHERE id = %s", [segment])


def version_segments(connection: Connection, kb: str, version: int) -> list[Segment]:
    """The sealed segments that a version is searched in, oldest first."""
    found = rows(
        connection,
        """SELECT s.id, s.collection, s.model, s.dimension, s.count
           FROM version_segment v JOIN segment s ON s.id = v.segment AND s.state = 'sealed'
           WHERE v.kb = %(kb)s AND v.number = %(version)s ORDER BY s.id""",
        kb=kb,
        version=version,
    )
    return [Segment(*each) for each in found]


def living_segments(connection: Connection, kb: str, version: int, of: int) -> list[Segment]:
    """Those of a version's sealed segments that hold a chunk which another version, `of`, shows."""
    living = rows(
        connection,
        """SELECT v.segment FROM version_segment v
           WHERE v.kb = %(kb)s AND v.number = %(version)s AND EXISTS (
             SELECT FROM segment_chunk s JOIN placement p ON p.kb = v.kb AND p.chunk = s.chunk
             WHERE s.segment = v.segment AND p.since <= %(of)s AND (p.until IS NULL OR p.until > %(of)s))""",
        kb=kb, version=version, of=of,
    )  # fmt: skip
    alive = {segment for (segment,) in living}
    return [each for each in version_segments(connection, kb, version) if each.id in alive]


def segment_members(connection: Connection, segment: int) -> list[str]:
    """Chunk ids of a sealed segment, in order."""
    found = rows(
        connection, "SELECT chunk FROM segment_chunk WHERE segment = %(segment)s ORDER BY chunk", segment=segment
    )
    return [chunk for (chunk,) in found]


def unindexed_chunks(connection: Connection, kb: str, version: int, model: str, segments: Sequence[int]) -> list[str]:
    """Chunks that the version shows, the model has embedded and none of these segments holds, in order."""
    found = rows(
        connection,
        """SELECT DISTINCT p.chunk FROM placement p
           WHERE p.kb = %(kb)s AND p.since <= %(version)s AND (p.until IS NULL OR p.until > %(version)s)
             AND EXISTS (SELECT FROM embedding e WHERE e.model = %(model)s AND e.text_hash = p.chunk)
             AND NOT EXISTS (SELECT FROM segment_chunk s WHERE s.segment = ANY(%(segments)s) AND s.chunk = p.chunk)
           ORDER BY p.chunk""",
        kb=kb, version=version, model=model, segments=list(segments),
    )  # fmt: skip
    return [chunk for (chunk,) in found]


def attach_segments(connection: Writing, kb: str, version: int, segments: Sequence[int]) -> None:
    """Make these exactly the segments of a version."""
    connection.execute("DELETE FROM version_segment WHERE kb = %s AND number = %s", [kb, version])
    connection.execute(
        "INSERT INTO version_segment (kb, number, segment) SELECT %s, %s, unnest(%s::bigint[])",
        [kb, version, list(segments)],
    )


def unfinished_segments(connection: Connection, kb: str) -> list[tuple[int, str]]:
    """Id and collection of segments that a killed build left half-written."""
    return rows(connection, "SELECT id, collection FROM segment WHERE kb = %(kb)s AND state = 'writing'", kb=kb)


def unneeded_segments(connection: Connection, kb: str) -> list[tuple[int, str]]:
    """Segments left half-written by a build that ended, and sealed ones that no unretired version lists."""
    return rows(
        connection,
        """SELECT s.id, s.collection FROM segment s
           WHERE s.kb = %(kb)s AND s.state IN ('writing', 'sealed') AND NOT EXISTS (
             SELECT FROM version_segment l JOIN version v USING (kb, number)
             WHERE l.segment = s.id AND v.state <> 'retired')""",
        kb=kb,
    )


def needed_segments(connection: Connection, kb: str) -> list[Segment]:
    """Sealed segments that some unretired version lists."""
    found = rows(
        connection,
        """SELECT s.id, s.collection, s.model, s.dimension, s.count FROM segment s
           WHERE s.kb = %(kb)s AND s.state = 'sealed' AND EXISTS (
             SELECT FROM version_segment l JOIN version v USING (kb, number)
             WHERE l.segment = s.id AND v.state <> 'retired')
           ORDER BY s.id""",
        kb=kb,
    )
    return [Segment(*each) for each in found]


def known_collections(connection: Connection) -> set[str]:
    """Collections of every segment, of all knowledge bases, that is not dropped."""
    return {name for (name,) in rows(connection, "SELECT collection FROM segment WHERE state <> 'dropped'")}
