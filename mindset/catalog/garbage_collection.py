"""Garbage collection: delete texts and vectors that no retained version needs.

A version is retained until it is retired. Deleted texts can be read again from their source, vectors computed again."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from mindset.catalog.build import BuildConnection
from mindset.catalog.embeddings import partition
from mindset.catalog.transactions import Connection, rows, scalar


@dataclass(frozen=True, slots=True)
class DeletedCounts:
    """The number of rows deleted from each table."""

    placements: int
    revisions: int
    documents: int
    chunks: int


def delete_unused_texts(connection: BuildConnection, kb: str) -> DeletedCounts:
    """Delete placements that belong to no retained version, and the texts and removed documents that only they used.

    The row of a document that was taken down is kept, so that it stays hidden if it returns to its source."""
    parameters = {"kb": kb}
    placements = connection.execute(
        """DELETE FROM placement p WHERE p.kb = %(kb)s AND p.valid_to IS NOT NULL AND NOT EXISTS (
             SELECT FROM version v WHERE v.kb = p.kb AND v.state <> 'retired'
               AND v.number >= p.valid_from AND v.number < p.valid_to)""",
        parameters,
    ).rowcount
    removed = """d.kb = %(kb)s AND d.removed_at IS NOT NULL AND d.placed_hash IS NULL
              AND NOT EXISTS (SELECT FROM placement p WHERE p.kb = d.kb AND p.uri = d.uri)"""
    # Without its hashes, a document that returns to its source is read again and gets a new revision.
    connection.execute(
        f"UPDATE document d SET content_hash = NULL, bytes_hash = NULL WHERE {removed}",  # noqa: S608  # a constant
        parameters,
    )
    revisions = connection.execute(
        """DELETE FROM revision r WHERE r.kb = %(kb)s
             AND NOT EXISTS (
               SELECT FROM document d WHERE d.kb = r.kb AND d.uri = r.uri
                 AND r.content_hash IN (d.content_hash, d.placed_hash))
             AND NOT EXISTS (
               SELECT FROM placement p WHERE p.kb = r.kb AND p.uri = r.uri AND p.content_hash = r.content_hash)""",
        parameters,
    ).rowcount
    documents = connection.execute(
        f"DELETE FROM document d WHERE {removed} AND d.taken_down_at IS NULL",  # noqa: S608  # a constant
        parameters,
    ).rowcount
    chunks = connection.execute(
        """DELETE FROM chunk c WHERE c.kb = %(kb)s AND NOT EXISTS (
             SELECT FROM placement p WHERE p.kb = c.kb AND p.chunk_id = c.id)""",
        parameters,
    ).rowcount
    return DeletedCounts(placements, revisions, documents, chunks)


def embedding_models(connection: Connection) -> list[str]:
    """Return every model that has vectors, with one index lookup per model."""
    found = rows(
        connection,
        """WITH RECURSIVE known AS (
             SELECT min(model) AS model FROM embedding
             UNION ALL
             SELECT (SELECT min(model) FROM embedding e WHERE e.model > known.model) FROM known
             WHERE known.model IS NOT NULL
           )
           SELECT model FROM known WHERE model IS NOT NULL""",
    )
    return [model for (model,) in found]


def delete_unused_embeddings(connection: BuildConnection, model: str) -> int:
    """Delete a model's vectors whose text occurs in no knowledge base with a retained version of that model.

    Returns the number deleted. Vectors are shared between knowledge bases, so all of them are checked. Raises
    ServiceUnavailable if the vectors of an unused model are being read for long, for example by a backup."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 3))", [f"forget {model}"])
    users = [
        kb
        for (kb,) in rows(
            connection, "SELECT DISTINCT kb FROM version WHERE model = %(model)s AND state <> 'retired'", model=model
        )
    ]
    if not users:
        count = int(scalar(connection, "SELECT count(*) FROM embedding WHERE model = %s", model))
        connection.execute("SET LOCAL lock_timeout = '2s'")
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(partition(model))))
        return count
    return connection.execute(
        """DELETE FROM embedding e WHERE e.model = %(model)s AND NOT EXISTS (
             SELECT FROM chunk c WHERE c.id = e.chunk_id AND c.kb = ANY(%(users)s))""",
        {"model": model, "users": users},
    ).rowcount


def wait_for_embedding_deletion(connection: BuildConnection, model: str) -> None:
    """Wait until no vectors of the model are being deleted; call it before checking which are missing."""
    connection.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 3))", [f"forget {model}"])
