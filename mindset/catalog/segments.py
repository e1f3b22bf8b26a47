"""Segments: which Chroma collections exist, what they hold, and which versions need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mindset.catalog.connection import Connection, Writing, rows, scalar
from mindset.errors import IndexDamaged, UnknownVersion


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


def add_unindexed(connection: Writing, segment: int, kb: str, version: int, since: int, held: Sequence[int]) -> int:
    """Make members of the chunks that the version shows, placed from version `since` on, and that no `held` one holds.

    Returns how many."""
    return connection.execute(
        """INSERT INTO segment_chunk (segment, chunk)
           SELECT DISTINCT %(segment)s::bigint, p.chunk FROM placement p
           WHERE p.kb = %(kb)s AND p.since BETWEEN %(since)s AND %(version)s
             AND (p.until IS NULL OR p.until > %(version)s)
             AND NOT EXISTS (SELECT FROM segment_chunk s WHERE s.segment = ANY(%(held)s) AND s.chunk = p.chunk)""",
        {"segment": segment, "kb": kb, "version": version, "since": since, "held": list(held)},
    ).rowcount


def add_living(connection: Writing, segment: int, kb: str, version: int, of: Sequence[int]) -> int:
    """Make members of those chunks of other segments that the version shows; returns how many."""
    return connection.execute(
        """INSERT INTO segment_chunk (segment, chunk)
           SELECT %(segment)s, s.chunk FROM segment_chunk s
           WHERE s.segment = ANY(%(of)s) AND EXISTS (
             SELECT FROM placement p WHERE p.kb = %(kb)s AND p.chunk = s.chunk
               AND p.since <= %(version)s AND (p.until IS NULL OR p.until > %(version)s))""",
        {"segment": segment, "kb": kb, "version": version, "of": list(of)},
    ).rowcount


def forget_segment(connection: Writing, segment: int) -> None:
    """Take back a segment that turned out to have nothing to hold."""
    connection.execute("DELETE FROM segment WHERE id = %s AND state = 'writing'", [segment])


def seal_segment(connection: Writing, segment: int, count: int) -> None:
    """Note that a segment's collection holds what its members say; it is never written again.

    Raises IndexDamaged where it was dropped meanwhile, by a build that took this one for dead."""
    sealed = connection.execute(
        "UPDATE segment SET state = 'sealed', count = %s WHERE id = %s AND state = 'writing'",
        [count, segment],
    ).rowcount
    if not sealed:
        raise IndexDamaged(f"Segment {segment} was dropped while it was written. The stage writes it again.")


def forget_dead(connection: Writing, segment: int) -> int:
    """Forget members that no unretired version of those that list the segment shows; returns how many are left, which is
    what the segment counts from now on: until it is rebuilt so, its collection is damaged.

    Their vectors may be gone, or never have been made for this model since their text came back. A version in the making that
    shows one finds it in no segment, and puts it into its own."""
    connection.execute(
        """DELETE FROM segment_chunk s WHERE s.segment = %s AND NOT EXISTS (
             SELECT FROM placement p WHERE p.kb = (SELECT kb FROM segment WHERE id = s.segment) AND p.chunk = s.chunk
               AND EXISTS (
                 SELECT FROM version_segment l JOIN version v USING (kb, number)
                 WHERE l.segment = s.segment AND v.state <> 'retired'
                   AND v.number >= p.since AND (p.until IS NULL OR v.number < p.until)))""",
        [segment],
    )
    return int(
        scalar(
            connection,
            """UPDATE segment SET count = (SELECT count(*) FROM segment_chunk s WHERE s.segment = segment.id)
               WHERE id = %s RETURNING count""",
            segment,
        )
    )


def check_embedded(connection: Connection, segment: int, model: str) -> None:
    """Raise UnknownVersion where a member has no vector, before anything is written."""
    missing = scalar(
        connection,
        """SELECT count(*) FROM segment_chunk s WHERE s.segment = %s
             AND NOT EXISTS (SELECT FROM embedding e WHERE e.model = %s AND e.text_hash = s.chunk)""",
        segment,
        model,
    )
    if missing:
        raise UnknownVersion(
            f"{missing} texts of segment {segment} have lost their vectors in Postgres. Restore it from a backup; or change "
            "the model or the chunking of the knowledge base, and the next night embeds everything anew."
        )


def replace_collection(connection: Writing, segment: int, collection: str, count: int) -> None:
    """Point a segment at the collection that it was rebuilt in."""
    connection.execute(
        "UPDATE segment SET collection = %s, count = %s WHERE id = %s",
        [collection, count, segment],
    )


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


def living_counts(
    connection: Connection, kb: str, version: int, segments: Sequence[Segment], limit: int | None = None
) -> dict[int, int]:
    """{segment: how many of its chunks the version shows}, counted up to `limit`."""
    found = rows(
        connection,
        """SELECT asked.segment, count(living.chunk) FROM unnest(%(segments)s::bigint[]) AS asked(segment)
           LEFT JOIN LATERAL (
             SELECT s.chunk FROM segment_chunk s WHERE s.segment = asked.segment AND EXISTS (
               SELECT FROM placement p WHERE p.kb = %(kb)s AND p.chunk = s.chunk
                 AND p.since <= %(version)s AND (p.until IS NULL OR p.until > %(version)s))
             LIMIT %(limit)s) AS living ON true
           GROUP BY asked.segment""",
        kb=kb, version=version, segments=[each.id for each in segments], limit=limit,
    )  # fmt: skip
    return dict(found)


def segment_members(connection: Connection, segment: int, after: str = "", limit: int | None = None) -> list[str]:
    """Chunk ids of a segment in order: those behind `after`, at most `limit`."""
    found = rows(
        connection,
        """SELECT chunk FROM segment_chunk WHERE segment = %(segment)s AND chunk > %(after)s
           ORDER BY chunk LIMIT %(limit)s""",
        segment=segment,
        after=after,
        limit=limit,
    )
    return [chunk for (chunk,) in found]


def sample_members(connection: Connection, segment: int) -> list[str]:
    """Some of a segment's chunk ids, at most one for each first digit, whatever its size."""
    found = rows(
        connection,
        """SELECT DISTINCT member.chunk FROM unnest(string_to_array('0123456789abcdef', NULL)) AS digit
           CROSS JOIN LATERAL (SELECT chunk FROM segment_chunk WHERE segment = %(segment)s AND chunk >= digit
                               ORDER BY chunk LIMIT 1) AS member ORDER BY member.chunk""",
        segment=segment,
    )
    return [chunk for (chunk,) in found]


def attach_segments(connection: Writing, kb: str, version: int, segments: Sequence[int]) -> None:
    """Make these exactly the segments of a version.

    Raises IndexDamaged where one was dropped meanwhile, by a build or maintenance that took the lock of this one."""
    connection.execute("DELETE FROM version_segment WHERE kb = %s AND number = %s", [kb, version])
    attached = connection.execute(
        """INSERT INTO version_segment (kb, number, segment)
           SELECT %s, %s, id FROM segment WHERE id = ANY(%s) AND state = 'sealed' FOR SHARE""",
        [kb, version, list(segments)],
    ).rowcount
    if attached != len(segments):
        raise IndexDamaged(
            f"{len(segments) - attached} segments of version {version} were dropped meanwhile. The stage chooses anew."
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
