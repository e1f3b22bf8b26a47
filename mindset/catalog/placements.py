"""Placements: which chunks occur where, in which interval of versions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import LiteralString

from mindset.catalog.build import BuildConnection
from mindset.catalog.transactions import Connection, copy_rows, rows
from mindset.chunking.chunk import Chunk
from mindset.chunking.chunker import PlacedChunk


@dataclass(frozen=True, slots=True)
class DocumentPlacements:
    """All chunks of one revision of a document."""

    uri: str
    content_hash: str
    chunks: Sequence[PlacedChunk]


@dataclass(frozen=True, slots=True)
class PlacementChanges:
    """The number of placements opened and closed."""

    opened: int
    closed: int


def place_documents(
    connection: BuildConnection,
    kb: str,
    version: int,
    chunking: str,
    documents: Sequence[DocumentPlacements],
) -> PlacementChanges:
    """Make these the open placements of their documents from `version` on.

    May be repeated within a version, also with other texts: placements that the version opened itself are replaced, and
    those that it closed stay closed."""
    _stage(connection, documents)
    # Another process of the same build may place the same documents: one after the other.
    connection.execute(
        "SELECT FROM document WHERE kb = %s AND uri = ANY(%s) ORDER BY uri FOR NO KEY UPDATE",
        [kb, [document.uri for document in documents]],
    )
    connection.execute(
        """INSERT INTO chunk (kb, id, context, text)
           SELECT DISTINCT ON (chunk_id) %(kb)s, chunk_id, context, text FROM staged ON CONFLICT DO NOTHING""",
        {"kb": kb},
    )
    uris = [document.uri for document in documents]
    # An unchanged placement stays open, so that versions share it.
    unchanged = """SELECT FROM staged n WHERE n.uri = p.uri AND n.ordinal = p.ordinal AND n.chunk_id = p.chunk_id
              AND n.content_hash = p.content_hash AND n.start = p.start AND n."end" = p."end" """
    closed = _close(connection, kb, version, uris, f"AND NOT EXISTS ({unchanged})")
    opened = connection.execute(
        """INSERT INTO placement (kb, uri, ordinal, valid_from, chunk_id, content_hash, start, "end", heading_path)
           SELECT %(kb)s, uri, ordinal, %(version)s, chunk_id, content_hash, start, "end", heading_path
           FROM staged
           ON CONFLICT (kb, uri, ordinal) WHERE valid_to IS NULL DO NOTHING""",  # whatever is still open is unchanged
        {"kb": kb, "version": version},
    ).rowcount
    connection.execute(
        """UPDATE document d SET placed_hash = placed.content_hash, placed_chunking = %(chunking)s
           FROM unnest(%(uris)s::text[], %(hashes)s::text[]) AS placed(uri, content_hash)
           WHERE d.kb = %(kb)s AND d.uri = placed.uri""",
        {"kb": kb, "chunking": chunking, "uris": uris, "hashes": [document.content_hash for document in documents]},
    )
    connection.execute("DROP TABLE staged")
    return PlacementChanges(opened, closed)


def close_placements(connection: BuildConnection, kb: str, version: int, uris: Collection[str]) -> int:
    """Close all placements of removed documents and return their number."""
    closed = _close(connection, kb, version, list(uris), "")
    connection.execute(
        "UPDATE document SET placed_hash = NULL, placed_chunking = NULL WHERE kb = %s AND uri = ANY(%s)",
        [kb, list(uris)],
    )
    return closed


@dataclass(frozen=True, slots=True)
class UnembeddedChunks:
    """The version's chunks that were placed since `from_version` and that the model has not embedded yet.

    A chunk belongs to the shard (first eight digits of its id) modulo `shards`."""

    kb: str
    version: int
    from_version: int
    model: str
    shard: int = 0
    shards: int = 1

    def count(self, connection: Connection) -> int:
        """Return their current number."""
        return int(rows(connection, f"SELECT count(DISTINCT p.chunk_id) {_UNEMBEDDED}", **asdict(self))[0][0])

    def page(self, connection: Connection, after: str, limit: int) -> list[str]:
        """Return at most `limit` chunk ids that follow `after`, in order."""
        found = rows(
            connection,
            f"SELECT DISTINCT p.chunk_id {_UNEMBEDDED} AND p.chunk_id > %(after)s ORDER BY p.chunk_id LIMIT %(limit)s",
            after=after, limit=limit, **asdict(self),
        )  # fmt: skip
        return [chunk_id for (chunk_id,) in found]


_UNEMBEDDED: LiteralString = """FROM placement p
    WHERE p.kb = %(kb)s AND p.valid_from BETWEEN %(from_version)s AND %(version)s
      AND (p.valid_to IS NULL OR p.valid_to > %(version)s)
      AND (('x' || substr(p.chunk_id, 1, 8))::bit(32)::bigint %% %(shards)s) = %(shard)s
      AND NOT EXISTS (SELECT FROM embedding e WHERE e.model = %(model)s AND e.chunk_id = p.chunk_id)"""


def read_chunks(connection: Connection, kb: str, chunk_ids: Sequence[str]) -> list[Chunk]:
    """Return the chunks with these ids, in the same order."""
    found = rows(
        connection,
        """SELECT c.context, c.text FROM unnest(%(chunk_ids)s::text[]) WITH ORDINALITY AS requested(id, number)
           JOIN chunk c ON c.kb = %(kb)s AND c.id = requested.id ORDER BY requested.number""",
        kb=kb,
        chunk_ids=list(chunk_ids),
    )
    return [Chunk(*row) for row in found]


def visible_chunks(connection: Connection, kb: str, version: int) -> Iterator[str]:
    """Return the ids of all chunks of the version, in order."""
    found = rows(
        connection,
        """SELECT DISTINCT chunk_id FROM placement
           WHERE kb = %(kb)s AND valid_from <= %(version)s AND (valid_to IS NULL OR valid_to > %(version)s)
           ORDER BY chunk_id""",
        kb=kb,
        version=version,
    )
    return (chunk_id for (chunk_id,) in found)


def _stage(connection: BuildConnection, documents: Iterable[DocumentPlacements]) -> None:
    connection.execute(
        """CREATE TEMPORARY TABLE staged (
             uri text, content_hash text, ordinal int, chunk_id text, context text, text text,
             start int, "end" int, heading_path text[]
           ) ON COMMIT DROP"""
    )
    copy_rows(
        connection,
        "staged",
        ["text", "text", "int4", "text", "text", "text", "int4", "int4", "text[]"],
        (
            (d.uri, d.content_hash, p.ordinal, p.chunk.id, p.chunk.context, p.chunk.text, p.span.start, p.span.end,
             list(p.span.heading_path))
            for d in documents for p in d.chunks
        ),
    )  # fmt: skip
    connection.execute("ANALYZE staged")


def _close(connection: BuildConnection, kb: str, version: int, uris: list[str], unless: str) -> int:
    """Delete placements that `version` opened itself, and close those that earlier versions opened."""
    selection = "p.kb = %(kb)s AND p.uri = ANY(%(uris)s) AND p.valid_to IS NULL"
    parameters = {"kb": kb, "version": version, "uris": uris}
    # Both statements are made of the constants above and of `place_documents`'s.
    connection.execute(f"DELETE FROM placement p WHERE {selection} AND p.valid_from = %(version)s {unless}", parameters)  # noqa: S608
    update = f"UPDATE placement p SET valid_to = %(version)s WHERE {selection} AND p.valid_from < %(version)s {unless}"  # noqa: S608
    return connection.execute(update, parameters).rowcount
