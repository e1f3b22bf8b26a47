"""Chunks and where they stand, in intervals of versions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import LiteralString

from mindset.catalog.connection import Connection, Writing, copy_rows, rows
from mindset.chunking.chunk import Chunk
from mindset.chunking.chunker import Placed


@dataclass(frozen=True, slots=True)
class DocumentPlacements:
    """All the chunks of one revision of a document."""

    uri: str
    content_hash: str
    placed: Sequence[Placed]


@dataclass(frozen=True, slots=True)
class PlacementChanges:
    """What staged documents changed."""

    opened: int
    closed: int


def place(
    connection: Writing, kb: str, version: int, language: str, chunking: str, documents: Sequence[DocumentPlacements]
) -> PlacementChanges:
    """Make these the open placements of their documents, from `version` on.

    Can be repeated within one version, also with other texts: what the version opened itself is taken back, what
    it closed stays closed for it and is opened anew."""
    _stage(connection, documents)
    connection.execute(
        """INSERT INTO chunk (kb, id, context, text, language)
           SELECT DISTINCT ON (chunk) %(kb)s, chunk, context, text, %(language)s::regconfig FROM staged
           ON CONFLICT (kb, id) DO UPDATE SET language = EXCLUDED.language
             WHERE chunk.language <> EXCLUDED.language""",
        {"kb": kb, "language": language},
    )
    uris = [each.uri for each in documents]
    # A placement that stays as it is in every respect stays open; versions then share it.
    kept = """SELECT FROM staged n WHERE n.uri = p.uri AND n.ordinal = p.ordinal AND n.chunk = p.chunk
              AND n.content_hash = p.content_hash AND n.start = p.start AND n."end" = p."end" """
    closed = _close(connection, kb, version, uris, f"AND NOT EXISTS ({kept})")
    opened = connection.execute(
        """INSERT INTO placement (kb, uri, ordinal, since, chunk, content_hash, start, "end", heading_path)
           SELECT %(kb)s, uri, ordinal, %(version)s, chunk, content_hash, start, "end", heading_path
           FROM staged
           ON CONFLICT (kb, uri, ordinal) WHERE until IS NULL DO NOTHING""",  # what is open still is what stays
        {"kb": kb, "version": version},
    ).rowcount
    connection.execute(
        """UPDATE document d SET placed_hash = done.content_hash, placed_chunking = %(chunking)s
           FROM unnest(%(uris)s::text[], %(hashes)s::text[]) AS done(uri, content_hash)
           WHERE d.kb = %(kb)s AND d.uri = done.uri""",
        {"kb": kb, "chunking": chunking, "uris": uris, "hashes": [each.content_hash for each in documents]},
    )
    connection.execute("DROP TABLE staged")
    return PlacementChanges(opened, closed)


def displace(connection: Writing, kb: str, version: int, uris: Collection[str]) -> int:
    """Close all placements of documents that are gone; returns how many."""
    closed = _close(connection, kb, version, list(uris), "")
    connection.execute(
        "UPDATE document SET placed_hash = NULL, placed_chunking = NULL WHERE kb = %s AND uri = ANY(%s)",
        [kb, list(uris)],
    )
    return closed


@dataclass(frozen=True, slots=True)
class Unembedded:
    """The version's chunks placed from version `since` on that a model has not embedded yet.

    A shard takes the ids whose first eight digits leave its number when divided by `shards`."""

    kb: str
    version: int
    since: int
    model: str
    shard: int = 0
    shards: int = 1

    def count(self, connection: Connection) -> int:
        """How many there are now."""
        return int(rows(connection, f"SELECT count(DISTINCT p.chunk) {_UNEMBEDDED}", **asdict(self))[0][0])

    def page(self, connection: Connection, after: str, limit: int) -> list[str]:
        """Ids in order, those behind `after`, at most `limit`."""
        found = rows(
            connection,
            f"SELECT DISTINCT p.chunk {_UNEMBEDDED} AND p.chunk > %(after)s ORDER BY p.chunk LIMIT %(limit)s",
            after=after, limit=limit, **asdict(self),
        )  # fmt: skip
        return [chunk for (chunk,) in found]


_UNEMBEDDED: LiteralString = """FROM placement p
    WHERE p.kb = %(kb)s AND p.since BETWEEN %(since)s AND %(version)s AND (p.until IS NULL OR p.until > %(version)s)
      AND (('x' || substr(p.chunk, 1, 8))::bit(32)::bigint %% %(shards)s) = %(shard)s
      AND NOT EXISTS (SELECT FROM embedding e WHERE e.model = %(model)s AND e.text_hash = p.chunk)"""


def read_chunks(connection: Connection, kb: str, chunks: Sequence[str]) -> list[Chunk]:
    """The texts of these chunks, in the order given."""
    found = rows(
        connection,
        """SELECT c.context, c.text FROM unnest(%(chunks)s::text[]) WITH ORDINALITY AS asked(id, number)
           JOIN chunk c ON c.kb = %(kb)s AND c.id = asked.id ORDER BY asked.number""",
        kb=kb,
        chunks=list(chunks),
    )
    return [Chunk(*each) for each in found]


def visible_chunks(connection: Connection, kb: str, version: int) -> Iterator[str]:
    """Ids of all chunks that stand somewhere in the version, in order."""
    found = rows(
        connection,
        """SELECT DISTINCT chunk FROM placement
           WHERE kb = %(kb)s AND since <= %(version)s AND (until IS NULL OR until > %(version)s)
           ORDER BY chunk""",
        kb=kb,
        version=version,
    )
    return (chunk for (chunk,) in found)


def _stage(connection: Writing, documents: Iterable[DocumentPlacements]) -> None:
    connection.execute(
        """CREATE TEMPORARY TABLE staged (
             uri text, content_hash text, ordinal int, chunk text, context text, text text,
             start int, "end" int, heading_path text[]
           ) ON COMMIT DROP"""
    )
    copy_rows(
        connection,
        "staged",
        ["text", "text", "int4", "text", "text", "text", "int4", "int4", "text[]"],
        (
            (d.uri, d.content_hash, p.ordinal, p.chunk.id, p.chunk.context, p.chunk.text, p.cut.start, p.cut.end,
             list(p.cut.heading_path))
            for d in documents for p in d.placed
        ),
    )  # fmt: skip
    connection.execute("ANALYZE staged")


def _close(connection: Writing, kb: str, version: int, uris: list[str], unless: str) -> int:
    """Take back what `version` itself opened, and end what earlier ones did."""
    which = "p.kb = %(kb)s AND p.uri = ANY(%(uris)s) AND p.until IS NULL"
    parameters = {"kb": kb, "version": version, "uris": uris}
    # Both statements are made of the constants above and of `place`'s.
    connection.execute(f"DELETE FROM placement p WHERE {which} AND p.since = %(version)s {unless}", parameters)  # noqa: S608
    ended = f"UPDATE placement p SET until = %(version)s WHERE {which} AND p.since < %(version)s {unless}"  # noqa: S608
    return connection.execute(ended, parameters).rowcount
