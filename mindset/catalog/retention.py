"""What no retained version needs any more, and forgetting it.

Retained is every version that is not retired. What is forgotten can be had again from its source and from the model."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from mindset.catalog.connection import Connection, Writing, rows, scalar
from mindset.catalog.embeddings import partition


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many rows were deleted, by table."""

    placements: int
    revisions: int
    documents: int
    chunks: int


def forget_texts(connection: Writing, kb: str) -> Forgotten:
    """Delete placements that no retained version shows, and the texts and vanished documents that had only those.

    A document that was taken down stays known, so that it is not shown should it come back."""
    parameters = {"kb": kb}
    placements = connection.execute(
        """DELETE FROM placement p WHERE p.kb = %(kb)s AND p.until IS NOT NULL AND NOT EXISTS (
             SELECT FROM version v WHERE v.kb = p.kb AND v.state <> 'retired'
               AND v.number >= p.since AND v.number < p.until)""",
        parameters,
    ).rowcount
    gone = """d.kb = %(kb)s AND d.vanished_at IS NOT NULL AND d.placed_hash IS NULL
              AND NOT EXISTS (SELECT FROM placement p WHERE p.kb = d.kb AND p.uri = d.uri)"""
    # Without its hashes a document that comes back is read again, and so has a revision again.
    connection.execute(
        f"UPDATE document d SET content_hash = NULL, bytes_hash = NULL WHERE {gone}",  # noqa: S608  # a constant
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
        f"DELETE FROM document d WHERE {gone} AND d.taken_down_at IS NULL",  # noqa: S608  # a constant
        parameters,
    ).rowcount
    chunks = connection.execute(
        """DELETE FROM chunk c WHERE c.kb = %(kb)s AND NOT EXISTS (
             SELECT FROM placement p WHERE p.kb = c.kb AND p.chunk = c.id)""",
        parameters,
    ).rowcount
    return Forgotten(placements, revisions, documents, chunks)


def models(connection: Connection) -> list[str]:
    """Every model of which there are vectors; found by one look into the index for each."""
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


def forget_embeddings(connection: Writing, model: str) -> int:
    """Delete a model's vectors of texts that no knowledge base with a retained version of that model has.

    Returns how many. Vectors belong to texts, wherever they stand, so all knowledge bases are asked. Raises
    ServiceUnavailable where a model that nobody uses is read for long, such as by a backup."""
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
             SELECT FROM chunk c WHERE c.id = e.text_hash AND c.kb = ANY(%(users)s))""",
        {"model": model, "users": users},
    ).rowcount


def await_forgetting(connection: Writing, model: str) -> None:
    """Wait until no vectors of the model are being forgotten, before asking which are missing."""
    connection.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 3))", [f"forget {model}"])
