"""Documents and their revisions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from mindset.catalog.connection import Connection, Writing, copy_rows, rows
from mindset.errors import UnknownDocument


class Known(NamedTuple):
    """What the catalog knows of a document's bytes, to tell whether they changed."""

    etag: str
    bytes_hash: str | None
    vanished: bool
    quarantined: bool


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document as read and parsed, ready to be stored; `content_hash` names the revision."""

    uri: str
    etag: str
    bytes_hash: str
    content_hash: str
    acl: tuple[str, ...]
    media_type: str
    title: str
    metadata: dict[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A document that could not be used, and why."""

    uri: str
    etag: str
    reason: str


@dataclass(frozen=True, slots=True)
class DocumentText:
    """What chunking needs of a document's current revision."""

    uri: str
    content_hash: str
    media_type: str
    title: str
    text: str


def register(connection: Writing, kb: str) -> None:
    """Make sure that the knowledge base has its row."""
    connection.execute("INSERT INTO knowledge_base (name) VALUES (%s) ON CONFLICT DO NOTHING", [kb])


def known_documents(connection: Connection, kb: str) -> dict[str, Known]:
    """Every document by URI, vanished ones too."""
    found = rows(
        connection,
        """SELECT uri, etag, bytes_hash, vanished_at IS NOT NULL, quarantined_at IS NOT NULL
           FROM document WHERE kb = %(kb)s""",
        kb=kb,
    )
    return {row[0]: Known(*row[1:]) for row in found}


def store_documents(connection: Writing, kb: str, documents: Sequence[Fetched]) -> None:
    """Make these the current revisions: rights act at once, texts with the next version. Ends a quarantine."""
    connection.execute(
        """CREATE TEMPORARY TABLE fetched (
             uri text, etag text, bytes_hash text, content_hash text, acl text[],
             media_type text, title text, metadata jsonb, text text
           ) ON COMMIT DROP"""
    )
    copy_rows(
        connection,
        "fetched",
        ["text", "text", "text", "text", "text[]", "text", "text", "jsonb", "text"],
        (
            (
                d.uri,
                d.etag,
                d.bytes_hash,
                d.content_hash,
                list(d.acl),
                d.media_type,
                d.title,
                d.metadata,
                d.text,
            )
            for d in documents
        ),
    )
    connection.execute(
        """INSERT INTO document (kb, uri, etag, bytes_hash, content_hash, acl)
           SELECT %(kb)s, uri, etag, bytes_hash, content_hash, acl FROM fetched
           ON CONFLICT (kb, uri) DO UPDATE SET
             etag = EXCLUDED.etag, bytes_hash = EXCLUDED.bytes_hash, content_hash = EXCLUDED.content_hash,
             acl = EXCLUDED.acl, vanished_at = NULL, quarantined_at = NULL, quarantine_reason = NULL""",
        {"kb": kb},
    )
    connection.execute(
        """INSERT INTO revision (kb, uri, content_hash, media_type, title, metadata, text)
           SELECT %(kb)s, uri, content_hash, media_type, title, metadata, text FROM fetched
           ON CONFLICT DO NOTHING""",
        {"kb": kb},
    )
    connection.execute("DROP TABLE fetched")


def touch_documents(connection: Writing, kb: str, etags: dict[str, str]) -> None:
    """Note new change marks of documents whose bytes stayed the same, and that they are there (again)."""
    connection.execute(
        """UPDATE document SET etag = seen.etag, vanished_at = NULL
           FROM unnest(%(uris)s::text[], %(etags)s::text[]) AS seen(uri, etag)
           WHERE document.kb = %(kb)s AND document.uri = seen.uri""",
        {"kb": kb, "uris": list(etags), "etags": list(etags.values())},
    )


def quarantine_documents(connection: Writing, kb: str, refused: Collection[Refused], acl: Sequence[str]) -> None:
    """Set documents aside with their reasons; the last good revision of each goes on being served.

    `acl` is for documents seen for the first time."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO document (kb, uri, etag, acl, quarantined_at, quarantine_reason)
               VALUES (%s, %s, %s, %s, now(), %s)
               ON CONFLICT (kb, uri) DO UPDATE SET
                 etag = EXCLUDED.etag, bytes_hash = NULL, vanished_at = NULL,
                 quarantined_at = coalesce(document.quarantined_at, now()),
                 quarantine_reason = EXCLUDED.quarantine_reason""",
            [(kb, each.uri, each.etag, list(acl), each.reason) for each in refused],
        )


def refuse_revisions(connection: Writing, kb: str, reasons: dict[str, str], chunking: str) -> None:
    """Set aside documents whose current revision cannot be cut; what is placed stays placed, and is current again.

    Their bytes stay known: they are read and cut again when they change. The placements count as this chunking's,
    so that the same revision isn't planned every night."""
    connection.execute(
        """UPDATE document d SET content_hash = placed_hash,
             placed_chunking = CASE WHEN placed_hash IS NOT NULL THEN %(chunking)s END,
             quarantined_at = coalesce(quarantined_at, now()), quarantine_reason = refused.reason
           FROM unnest(%(uris)s::text[], %(reasons)s::text[]) AS refused(uri, reason)
           WHERE d.kb = %(kb)s AND d.uri = refused.uri""",
        {"kb": kb, "chunking": chunking, "uris": list(reasons), "reasons": list(reasons.values())},
    )


def documents_with_chunks(connection: Connection, kb: str, version: int, chunks: Sequence[str]) -> list[str]:
    """URIs of the documents that these chunks stand in, in order."""
    found = rows(
        connection,
        """SELECT DISTINCT uri FROM placement
           WHERE kb = %(kb)s AND chunk = ANY(%(chunks)s)
             AND since <= %(version)s AND (until IS NULL OR until > %(version)s)
           ORDER BY uri""",
        kb=kb,
        version=version,
        chunks=list(chunks),
    )
    return [uri for (uri,) in found]


def mark_vanished(connection: Writing, kb: str, uris: Collection[str]) -> None:
    """Note that documents are gone from their source: the next version does not show them."""
    connection.execute(
        "UPDATE document SET vanished_at = now() WHERE kb = %s AND uri = ANY(%s) AND vanished_at IS NULL",
        [kb, list(uris)],
    )


def quarantined(connection: Connection, kb: str) -> list[tuple[str, str]]:
    """URI and reason of everything set aside and still at its source."""
    return rows(
        connection,
        """SELECT uri, quarantine_reason FROM document
           WHERE kb = %(kb)s AND quarantined_at IS NOT NULL AND vanished_at IS NULL ORDER BY uri""",
        kb=kb,
    )


def unplaced_documents(connection: Connection, kb: str, chunking: str) -> list[str]:
    """URIs whose open placements do not show the current revision under this chunking, in order."""
    found = rows(
        connection,
        """SELECT uri FROM document
           WHERE kb = %(kb)s AND vanished_at IS NULL AND content_hash IS NOT NULL
             AND (placed_hash, placed_chunking) IS DISTINCT FROM (content_hash, %(chunking)s)
           ORDER BY uri""",
        kb=kb,
        chunking=chunking,
    )
    return [uri for (uri,) in found]


def departed_documents(connection: Connection, kb: str) -> list[str]:
    """URIs that are gone from their source and still have open placements."""
    found = rows(
        connection,
        """SELECT uri FROM document
           WHERE kb = %(kb)s AND vanished_at IS NOT NULL AND placed_hash IS NOT NULL ORDER BY uri""",
        kb=kb,
    )
    return [uri for (uri,) in found]


def document_texts(connection: Connection, kb: str, uris: Sequence[str]) -> Iterator[DocumentText]:
    """The current revisions of these documents."""
    found = rows(
        connection,
        """SELECT uri, content_hash, media_type, title, text
           FROM document JOIN revision USING (kb, uri, content_hash)
           WHERE kb = %(kb)s AND uri = ANY(%(uris)s) ORDER BY uri""",
        kb=kb,
        uris=list(uris),
    )
    return (DocumentText(*each) for each in found)


def document_measures(connection: Connection, kb: str, since: datetime | None) -> list[dict[str, Any]]:
    """Sizes and marks of current revisions, or of those that were read since a moment, for judging their quality."""
    found = rows(
        connection,
        """SELECT uri, title, length(text), md5(text),
             (length(text) - length(replace(text, chr(65533), '')))::float8 / greatest(length(text), 1)
           FROM document JOIN revision USING (kb, uri, content_hash)
           WHERE kb = %(kb)s AND vanished_at IS NULL AND (%(since)s::timestamptz IS NULL OR fetched_at >= %(since)s)
           ORDER BY uri""",
        kb=kb,
        since=since,
    )
    names = ("uri", "title", "characters", "text_hash", "replaced_share")
    return [dict(zip(names, each, strict=True)) for each in found]


def take_down(connection: Writing, kb: str, uri: str, reason: str) -> None:
    """Stop showing a document, in every version, from this commit on. Raises UnknownDocument."""
    changed = connection.execute(
        "UPDATE document SET taken_down_at = now(), taken_down_reason = %s WHERE kb = %s AND uri = %s",
        [reason, kb, uri],
    ).rowcount
    if not changed:
        raise UnknownDocument(f"{kb} has no document at {uri!r}. URIs are those that search results show.")
