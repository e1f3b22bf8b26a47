"""Quarantine: documents that cannot be used, with their reasons."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mindset.catalog.build import BuildConnection
from mindset.catalog.transactions import Connection, rows


@dataclass(frozen=True, slots=True)
class RejectedDocument:
    """A document that cannot be used, and the reason."""

    uri: str
    etag: str
    reason: str


def quarantine_documents(
    connection: BuildConnection, kb: str, rejected: Collection[RejectedDocument], acl: Sequence[str]
) -> None:
    """Quarantine documents with their reasons. Their last usable revisions remain in service.

    `acl` applies to documents seen for the first time."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO document (kb, uri, etag, acl, has_own_acl, quarantined_at, quarantine_reason)
               VALUES (%s, %s, %s, %s, false, now(), %s)
               ON CONFLICT (kb, uri) DO UPDATE SET
                 etag = EXCLUDED.etag, bytes_hash = NULL, removed_at = NULL,
                 quarantined_at = coalesce(document.quarantined_at, now()),
                 quarantine_reason = EXCLUDED.quarantine_reason""",
            [(kb, document.uri, document.etag, list(acl), document.reason) for document in rejected],
        )


def quarantine_revisions(connection: BuildConnection, kb: str, reasons: dict[str, str], chunking: str) -> None:
    """Quarantine documents whose current revision cannot be chunked; their placed revision becomes current again.

    Their bytes are not read again until they change. Their placements are marked with this chunking, so that the same
    revision is not planned every night."""
    connection.execute(
        """UPDATE document d SET content_hash = placed_hash,
             placed_chunking = CASE WHEN placed_hash IS NOT NULL THEN %(chunking)s END,
             quarantined_at = coalesce(quarantined_at, now()), quarantine_reason = rejected.reason
           FROM unnest(%(uris)s::text[], %(reasons)s::text[]) AS rejected(uri, reason)
           WHERE d.kb = %(kb)s AND d.uri = rejected.uri""",
        {"kb": kb, "chunking": chunking, "uris": list(reasons), "reasons": list(reasons.values())},
    )


def quarantined_documents(connection: Connection, kb: str) -> list[tuple[str, str]]:
    """Return URI and reason of every quarantined document that still exists at its source."""
    return rows(
        connection,
        """SELECT uri, quarantine_reason FROM document
           WHERE kb = %(kb)s AND quarantined_at IS NOT NULL AND removed_at IS NULL
           UNION ALL
           SELECT uri, r.reason FROM embedding_rejection r JOIN document USING (kb, uri, content_hash)
           WHERE kb = %(kb)s AND quarantined_at IS NULL AND removed_at IS NULL ORDER BY uri""",
        kb=kb,
    )
