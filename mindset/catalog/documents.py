"""Documents and their revisions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

from mindset.catalog.build import BuildConnection
from mindset.catalog.transactions import Connection, WriteConnection, copy_rows, rows
from mindset.errors import UnknownDocument


class DocumentState(NamedTuple):
    """A document's stored state, which shows whether its bytes have changed."""

    etag: str
    bytes_hash: str | None
    removed: bool
    quarantined: bool


@dataclass(frozen=True, slots=True)
class FetchedDocument:
    """A fetched and parsed document; `content_hash` identifies the revision."""

    uri: str
    etag: str
    bytes_hash: str
    content_hash: str
    acl: tuple[str, ...]
    has_own_acl: bool
    """Whether the document states its `acl` itself. Otherwise it is that of the knowledge base."""
    media_type: str
    title: str
    metadata: dict[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class DocumentText:
    """The part of a document's current revision that chunking needs."""

    uri: str
    content_hash: str
    media_type: str
    title: str
    text: str


def register(connection: BuildConnection, kb: str) -> None:
    """Insert the knowledge base's row unless it exists."""
    connection.execute("INSERT INTO knowledge_base (name) VALUES (%s) ON CONFLICT DO NOTHING", [kb])


def document_states(connection: Connection, kb: str) -> dict[str, DocumentState]:
    """Return the state of every document by URI, including removed ones."""
    found = rows(
        connection,
        """SELECT uri, etag, bytes_hash, removed_at IS NOT NULL, quarantined_at IS NOT NULL
           FROM document WHERE kb = %(kb)s""",
        kb=kb,
    )
    return {row[0]: DocumentState(*row[1:]) for row in found}


def store_documents(connection: BuildConnection, kb: str, documents: Sequence[FetchedDocument]) -> None:
    """Make these the current revisions and end their quarantine.

    Rights apply immediately; texts become visible with the next version."""
    connection.execute(
        """CREATE TEMPORARY TABLE fetched (
             uri text, etag text, bytes_hash text, content_hash text, acl text[], has_own_acl boolean,
             media_type text, title text, metadata jsonb, text text
           ) ON COMMIT DROP"""
    )
    copy_rows(
        connection,
        "fetched",
        ["text", "text", "text", "text", "text[]", "bool", "text", "text", "jsonb", "text"],
        (
            (
                d.uri,
                d.etag,
                d.bytes_hash,
                d.content_hash,
                list(d.acl),
                d.has_own_acl,
                d.media_type,
                d.title,
                d.metadata,
                d.text,
            )
            for d in documents
        ),
    )
    connection.execute(
        """INSERT INTO document (kb, uri, etag, bytes_hash, content_hash, acl, has_own_acl)
           SELECT %(kb)s, uri, etag, bytes_hash, content_hash, acl, has_own_acl FROM fetched
           ON CONFLICT (kb, uri) DO UPDATE SET
             etag = EXCLUDED.etag, bytes_hash = EXCLUDED.bytes_hash, content_hash = EXCLUDED.content_hash,
             acl = EXCLUDED.acl, has_own_acl = EXCLUDED.has_own_acl,
             removed_at = NULL, quarantined_at = NULL, quarantine_reason = NULL""",
        {"kb": kb},
    )
    connection.execute(
        """INSERT INTO revision (kb, uri, content_hash, media_type, title, metadata, text)
           SELECT %(kb)s, uri, content_hash, media_type, title, metadata, text FROM fetched
           ON CONFLICT DO NOTHING""",
        {"kb": kb},
    )
    connection.execute("DROP TABLE fetched")


def narrow_rights(connection: BuildConnection, kb: str, acl: Sequence[str]) -> None:
    """Apply a narrowed `acl` of the knowledge base to all documents without their own, whether or not they can be read.

    Quarantined and removed documents would otherwise keep the wider rights. Nothing is widened here: a document that is
    read gets its exact rights by `store_documents`. Where it is not known whether the rights are the document's own,
    only the names in both remain; `user:`, which no caller has, stands for none."""
    connection.execute(
        """UPDATE document SET acl = CASE
             WHEN has_own_acl IS FALSE OR '*' = ANY(acl) THEN %(acl)s::text[]
             WHEN acl && %(acl)s::text[] THEN ARRAY(SELECT unnest(acl) INTERSECT SELECT unnest(%(acl)s::text[]) ORDER BY 1)
             ELSE ARRAY['user:'] END
           WHERE kb = %(kb)s AND has_own_acl IS NOT TRUE AND NOT acl <@ %(acl)s::text[] AND '*' <> ALL(%(acl)s::text[])
             AND acl <> ARRAY['user:']""",
        {"kb": kb, "acl": list(acl)},
    )


def touch_documents(connection: BuildConnection, kb: str, etags: dict[str, str]) -> None:
    """Store new ETags of documents whose bytes are unchanged, and mark them as present."""
    connection.execute(
        """UPDATE document SET etag = seen.etag, removed_at = NULL
           FROM unnest(%(uris)s::text[], %(etags)s::text[]) AS seen(uri, etag)
           WHERE document.kb = %(kb)s AND document.uri = seen.uri""",
        {"kb": kb, "uris": list(etags), "etags": list(etags.values())},
    )


def documents_with_chunks(connection: Connection, kb: str, version: int, chunks: Sequence[str]) -> list[str]:
    """Return the URIs of the documents in which these chunks occur, in order."""
    found = rows(
        connection,
        """SELECT DISTINCT uri FROM placement
           WHERE kb = %(kb)s AND chunk_id = ANY(%(chunks)s)
             AND valid_from <= %(version)s AND (valid_to IS NULL OR valid_to > %(version)s)
           ORDER BY uri""",
        kb=kb,
        version=version,
        chunks=list(chunks),
    )
    return [uri for (uri,) in found]


def mark_removed(connection: BuildConnection, kb: str, uris: Collection[str]) -> None:
    """Mark documents as removed from their source; the next version does not contain them."""
    connection.execute(
        "UPDATE document SET removed_at = now() WHERE kb = %s AND uri = ANY(%s) AND removed_at IS NULL",
        [kb, list(uris)],
    )


_REJECTED: LiteralString = """EXISTS (
    SELECT FROM embedding_rejection r WHERE r.kb = document.kb AND r.uri = document.uri
      AND r.content_hash = document.content_hash AND r.model = %(model)s AND r.chunking = %(chunking)s)"""


def unplaced_documents(connection: Connection, kb: str, chunking: str, model: str) -> list[str]:
    """Return the URIs whose open placements do not match the current revision and this chunking, in order.

    Without those whose texts the model rejects."""
    found = rows(
        connection,
        f"""SELECT uri FROM document
           WHERE kb = %(kb)s AND removed_at IS NULL AND content_hash IS NOT NULL
             AND (placed_hash, placed_chunking) IS DISTINCT FROM (content_hash, %(chunking)s) AND NOT {_REJECTED}
           ORDER BY uri""",  # noqa: S608  # a constant
        kb=kb,
        chunking=chunking,
        model=model,
    )
    return [uri for (uri,) in found]


def has_unplaced_or_removed(connection: Connection, kb: str, chunking: str, model: str) -> bool:
    """Return whether `unplaced_documents` or `removed_documents` would return anything."""
    found = rows(
        connection,
        f"""SELECT EXISTS (
              SELECT FROM document
              WHERE kb = %(kb)s AND (
                removed_at IS NULL AND content_hash IS NOT NULL
                  AND (placed_hash, placed_chunking) IS DISTINCT FROM (content_hash, %(chunking)s) AND NOT {_REJECTED}
                OR removed_at IS NOT NULL AND placed_hash IS NOT NULL))""",  # noqa: S608  # a constant
        kb=kb,
        chunking=chunking,
        model=model,
    )
    return bool(found[0][0])


def removed_documents(connection: Connection, kb: str) -> list[str]:
    """Return the URIs of documents that were removed from their source but still have open placements."""
    found = rows(
        connection,
        """SELECT uri FROM document
           WHERE kb = %(kb)s AND removed_at IS NOT NULL AND placed_hash IS NOT NULL ORDER BY uri""",
        kb=kb,
    )
    return [uri for (uri,) in found]


def document_texts(connection: Connection, kb: str, uris: Sequence[str]) -> Iterator[DocumentText]:
    """Return the current revisions of these documents."""
    found = rows(
        connection,
        """SELECT uri, content_hash, media_type, title, text
           FROM document JOIN revision USING (kb, uri, content_hash)
           WHERE kb = %(kb)s AND uri = ANY(%(uris)s) ORDER BY uri""",
        kb=kb,
        uris=list(uris),
    )
    return (DocumentText(*row) for row in found)


def document_statistics(connection: Connection, kb: str, since: datetime | None) -> list[dict[str, Any]]:
    """Return statistics of current revisions for the quality report; with `since`, only of those fetched from then on."""
    found = rows(
        connection,
        """SELECT uri, title, length(text), md5(text),
             (length(text) - length(replace(text, chr(65533), '')))::float8 / greatest(length(text), 1)
           FROM document JOIN revision USING (kb, uri, content_hash)
           WHERE kb = %(kb)s AND removed_at IS NULL AND (%(since)s::timestamptz IS NULL OR fetched_at >= %(since)s)
           ORDER BY uri""",
        kb=kb,
        since=since,
    )
    names = ("uri", "title", "characters", "text_hash", "replacement_character_ratio")
    return [dict(zip(names, row, strict=True)) for row in found]


def take_down(connection: WriteConnection, kb: str, uri: str, reason: str) -> None:
    """Hide a document in every version from this commit on. Raises UnknownDocument."""
    changed = connection.execute(
        "UPDATE document SET taken_down_at = now(), taken_down_reason = %s WHERE kb = %s AND uri = %s",
        [reason, kb, uri],
    ).rowcount
    if not changed:
        raise UnknownDocument(f"{kb} has no document at {uri!r}. Use a URI as search results show it.")
