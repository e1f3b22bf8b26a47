"""Segments: which Chroma collections exist, which chunks they contain, and which versions use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mindset.catalog.build import BuildConnection
from mindset.catalog.collections import creator, new_collection
from mindset.catalog.transactions import Connection, rows, scalar
from mindset.errors import IndexDamaged, UnknownVersion


@dataclass(frozen=True, slots=True)
class Segment:
    """A sealed segment: the Chroma collection `collection` with `count` vectors."""

    id: int
    collection: str
    model: str
    dimension: int
    count: int


def open_segment(connection: BuildConnection, kb: str, model: str, dimension: int) -> tuple[int, str]:
    """Register a segment before it is written. Returns its id and the name of its collection. Raises CopiedDatabase."""
    collection = new_collection(connection, kb)
    segment = scalar(
        connection,
        """INSERT INTO segment (kb, model, dimension, collection, installation, state)
           VALUES (%s, %s, %s, %s, %s, 'writing') RETURNING id""",
        kb, model, dimension, collection, creator(collection),
    )  # fmt: skip
    return int(segment), collection


def add_unindexed_chunks(
    connection: BuildConnection, segment: int, kb: str, version: int, from_version: int, existing: Sequence[int]
) -> int:
    """Add the version's chunks that were placed since `from_version` and are in none of the `existing` segments.

    Returns the number of chunks added."""
    return connection.execute(
        """INSERT INTO segment_chunk (segment_id, chunk_id)
           SELECT DISTINCT %(segment)s::bigint, p.chunk_id FROM placement p
           WHERE p.kb = %(kb)s AND p.valid_from BETWEEN %(from_version)s AND %(version)s
             AND (p.valid_to IS NULL OR p.valid_to > %(version)s)
             AND NOT EXISTS (SELECT FROM segment_chunk s WHERE s.segment_id = ANY(%(existing)s) AND s.chunk_id = p.chunk_id)""",
        {"segment": segment, "kb": kb, "version": version, "from_version": from_version, "existing": list(existing)},
    ).rowcount


def add_visible_chunks(connection: BuildConnection, segment: int, kb: str, version: int, sources: Sequence[int]) -> int:
    """Add those chunks of the `sources` segments that belong to the version. Returns the number of chunks added."""
    return connection.execute(
        """INSERT INTO segment_chunk (segment_id, chunk_id)
           SELECT %(segment)s, s.chunk_id FROM segment_chunk s
           WHERE s.segment_id = ANY(%(sources)s) AND EXISTS (
             SELECT FROM placement p WHERE p.kb = %(kb)s AND p.chunk_id = s.chunk_id
               AND p.valid_from <= %(version)s AND (p.valid_to IS NULL OR p.valid_to > %(version)s))""",
        {"segment": segment, "kb": kb, "version": version, "sources": list(sources)},
    ).rowcount


def delete_segment(connection: BuildConnection, segment: int) -> None:
    """Delete a segment that turned out to be empty."""
    connection.execute("DELETE FROM segment WHERE id = %s AND state = 'writing'", [segment])


def seal_segment(connection: BuildConnection, segment: int, count: int) -> None:
    """Seal a segment, whose collection now contains exactly its members and is never written again.

    Raises IndexDamaged if another build, which assumed that this one was killed, dropped the segment."""
    sealed = connection.execute(
        "UPDATE segment SET state = 'sealed', count = %s WHERE id = %s AND state = 'writing'",
        [count, segment],
    ).rowcount
    if not sealed:
        raise IndexDamaged(f"Segment {segment} was dropped while it was being written. The stage writes it again.")


def delete_dead_members(connection: BuildConnection, segment: int) -> int:
    """Delete members that belong to no unretired version that uses the segment. Returns the number that remain.

    The segment's count is set to it, so its collection is regarded as damaged until it is rebuilt. Vectors of dead members
    may have been deleted, or may never have been computed again for this model after their text returned. If a version
    that is being built contains such a chunk, it is in no segment, so the build adds it to its own."""
    connection.execute(
        """DELETE FROM segment_chunk s WHERE s.segment_id = %s AND NOT EXISTS (
             SELECT FROM placement p WHERE p.kb = (SELECT kb FROM segment WHERE id = s.segment_id) AND p.chunk_id = s.chunk_id
               AND EXISTS (
                 SELECT FROM version_segment l JOIN version v USING (kb, number)
                 WHERE l.segment_id = s.segment_id AND v.state <> 'retired'
                   AND v.number >= p.valid_from AND (p.valid_to IS NULL OR v.number < p.valid_to)))""",
        [segment],
    )
    return int(
        scalar(
            connection,
            """UPDATE segment SET count = (SELECT count(*) FROM segment_chunk s WHERE s.segment_id = segment.id)
               WHERE id = %s RETURNING count""",
            segment,
        )
    )


def check_embedded(connection: Connection, segment: int, model: str) -> None:
    """Raise UnknownVersion if a member has no vector; call it before anything is written."""
    missing = scalar(
        connection,
        """SELECT count(*) FROM segment_chunk s WHERE s.segment_id = %s
             AND NOT EXISTS (SELECT FROM embedding e WHERE e.model = %s AND e.chunk_id = s.chunk_id)""",
        segment,
        model,
    )
    if missing:
        raise UnknownVersion(
            f"Postgres lacks the vectors of {missing} texts of segment {segment}. Restore them from a backup; or change the "
            "model or the chunking of the knowledge base, and the next night embeds everything again."
        )


def next_collection(connection: BuildConnection, segment: int) -> str:
    """Register the collection into which a segment is rebuilt, and return its name. Raises CopiedDatabase.

    It is a segment without members until `replace_collection`, so that it is not taken for an orphan, and so that the next
    build or maintenance drops it if this one is killed."""
    kb, model, dimension = rows(connection, "SELECT kb, model, dimension FROM segment WHERE id = %(id)s", id=segment)[0]
    return open_segment(connection, kb, model, dimension)[1]


def replace_collection(connection: BuildConnection, segment: int, collection: str, count: int) -> None:
    """Point a segment to the collection into which it was rebuilt, and record the previous one as dropped.

    Raises IndexDamaged if another process of the build, which assumed that this one was killed, dropped the new collection."""
    registered = connection.execute(
        "DELETE FROM segment WHERE collection = %s AND state = 'writing'", [collection]
    ).rowcount
    if not registered:
        raise IndexDamaged(f"Collection {collection} was dropped while segment {segment} was rebuilt. Try again.")
    previous = rows(
        connection, "SELECT kb, model, dimension, collection, installation FROM segment WHERE id = %(id)s", id=segment
    )[0]
    connection.execute(
        "UPDATE segment SET collection = %s, installation = %s, count = %s WHERE id = %s",
        [collection, creator(collection), count, segment],
    )
    connection.execute(
        """INSERT INTO segment (kb, model, dimension, collection, installation, state)
           VALUES (%s, %s, %s, %s, %s, 'dropped')""",
        previous,
    )


def mark_dropped(connection: BuildConnection, segment: int) -> None:
    """Mark a segment's collection as dropped and delete its members and postings."""
    connection.execute("DELETE FROM postings WHERE segment_id = %s", [segment])
    connection.execute("DELETE FROM segment_chunk WHERE segment_id = %s", [segment])
    connection.execute("UPDATE segment SET state = 'dropped' WHERE id = %s", [segment])


def version_segments(connection: Connection, kb: str, version: int) -> list[Segment]:
    """Return a version's sealed segments, oldest first."""
    found = rows(
        connection,
        """SELECT s.id, s.collection, s.model, s.dimension, s.count
           FROM version_segment v JOIN segment s ON s.id = v.segment_id AND s.state = 'sealed'
           WHERE v.kb = %(kb)s AND v.number = %(version)s ORDER BY s.id""",
        kb=kb,
        version=version,
    )
    return [Segment(*row) for row in found]


def visible_counts(
    connection: Connection, kb: str, version: int, segments: Sequence[Segment], limit: int | None = None
) -> dict[int, int]:
    """Return {segment id: number of its chunks that belong to the version}, counted up to `limit`."""
    found = rows(
        connection,
        """SELECT requested.segment, count(visible.chunk_id) FROM unnest(%(segments)s::bigint[]) AS requested(segment)
           LEFT JOIN LATERAL (
             SELECT s.chunk_id FROM segment_chunk s WHERE s.segment_id = requested.segment AND EXISTS (
               SELECT FROM placement p WHERE p.kb = %(kb)s AND p.chunk_id = s.chunk_id
                 AND p.valid_from <= %(version)s AND (p.valid_to IS NULL OR p.valid_to > %(version)s))
             LIMIT %(limit)s) AS visible ON true
           GROUP BY requested.segment""",
        kb=kb, version=version, segments=[segment.id for segment in segments], limit=limit,
    )  # fmt: skip
    return dict(found)


def segment_members(connection: Connection, segment: int, after: str = "", limit: int | None = None) -> list[str]:
    """Return at most `limit` chunk ids of a segment that follow `after`, in order."""
    found = rows(
        connection,
        """SELECT chunk_id FROM segment_chunk WHERE segment_id = %(segment)s AND chunk_id > %(after)s
           ORDER BY chunk_id LIMIT %(limit)s""",
        segment=segment,
        after=after,
        limit=limit,
    )
    return [chunk_id for (chunk_id,) in found]


def sample_members(connection: Connection, segment: int) -> list[str]:
    """Return a sample of a segment's chunk ids: the first one for each leading hexadecimal digit."""
    found = rows(
        connection,
        """SELECT DISTINCT member.chunk_id FROM unnest(string_to_array('0123456789abcdef', NULL)) AS digit
           CROSS JOIN LATERAL (SELECT chunk_id FROM segment_chunk WHERE segment_id = %(segment)s AND chunk_id >= digit
                               ORDER BY chunk_id LIMIT 1) AS member ORDER BY member.chunk_id""",
        segment=segment,
    )
    return [chunk_id for (chunk_id,) in found]


def attach_segments(connection: BuildConnection, kb: str, version: int, segments: Sequence[int]) -> None:
    """Replace a version's segments.

    Raises IndexDamaged if one was dropped meanwhile by a build or maintenance that took over the lock."""
    connection.execute("DELETE FROM version_segment WHERE kb = %s AND number = %s", [kb, version])
    attached = connection.execute(
        """INSERT INTO version_segment (kb, number, segment_id)
           SELECT %s, %s, id FROM segment WHERE id = ANY(%s) AND state = 'sealed' FOR SHARE""",
        [kb, version, list(segments)],
    ).rowcount
    if attached != len(segments):
        raise IndexDamaged(
            f"{len(segments) - attached} segments of version {version} were dropped meanwhile. A retry of the stage uses others."
        )


def check_indexed(connection: Connection, kb: str, version: int, from_version: int) -> None:
    """Raise IndexDamaged if a chunk placed since `from_version` is in none of the version's segments.

    Another process of the same build may have placed it after the segment's members were chosen."""
    missing = rows(
        connection,
        """SELECT count(DISTINCT p.chunk_id) FROM placement p
           WHERE p.kb = %(kb)s AND p.valid_from BETWEEN %(from_version)s AND %(version)s
             AND (p.valid_to IS NULL OR p.valid_to > %(version)s)
             AND NOT EXISTS (
               SELECT FROM version_segment l JOIN segment_chunk s USING (segment_id)
               WHERE l.kb = p.kb AND l.number = %(version)s AND s.chunk_id = p.chunk_id)""",
        kb=kb, version=version, from_version=from_version,
    )[0][0]  # fmt: skip
    if missing:
        raise IndexDamaged(
            f"{missing} chunks were placed in version {version} of {kb} while its segment was written. "
            "A retry of the stage adds them; if they have no vector, the next night does."
        )


def unfinished_segments(connection: Connection, kb: str) -> list[tuple[int, str]]:
    """Return id and collection of segments that a killed build left unfinished."""
    return rows(connection, "SELECT id, collection FROM segment WHERE kb = %(kb)s AND state = 'writing'", kb=kb)


def unused_segments(connection: Connection, kb: str) -> list[tuple[int, str]]:
    """Return id and collection of unfinished segments and of sealed ones that no unretired version uses."""
    return rows(
        connection,
        """SELECT s.id, s.collection FROM segment s
           WHERE s.kb = %(kb)s AND s.state IN ('writing', 'sealed') AND NOT EXISTS (
             SELECT FROM version_segment l JOIN version v USING (kb, number)
             WHERE l.segment_id = s.id AND v.state <> 'retired')""",
        kb=kb,
    )


def used_segments(connection: Connection, kb: str) -> list[Segment]:
    """Return the sealed segments that an unretired version uses."""
    found = rows(
        connection,
        """SELECT s.id, s.collection, s.model, s.dimension, s.count FROM segment s
           WHERE s.kb = %(kb)s AND s.state = 'sealed' AND EXISTS (
             SELECT FROM version_segment l JOIN version v USING (kb, number)
             WHERE l.segment_id = s.id AND v.state <> 'retired')
           ORDER BY s.id""",
        kb=kb,
    )
    return [Segment(*row) for row in found]


def copied_segments(connection: Connection, kb: str) -> list[Segment]:
    """Return the sealed segments that an unretired version uses and whose collection another installation created."""
    found = rows(
        connection,
        """SELECT s.id, s.collection, s.model, s.dimension, s.count FROM segment s
           WHERE s.kb = %(kb)s AND s.state = 'sealed' AND s.installation <> (SELECT id FROM installation) AND EXISTS (
             SELECT FROM version_segment l JOIN version v USING (kb, number)
             WHERE l.segment_id = s.id AND v.state <> 'retired')
           ORDER BY s.id""",
        kb=kb,
    )
    return [Segment(*row) for row in found]
