"""Documents that are quarantined for a model, because its provider rejects one of their texts."""

from __future__ import annotations

from collections.abc import Mapping

from mindset.catalog.build import BuildConnection
from mindset.catalog.transactions import Connection, scalar


def reject_documents(
    connection: BuildConnection, kb: str, model: str, chunking: str, reasons: Mapping[str, str]
) -> None:
    """Store {URI: reason} for the documents' current revisions. They are tried again with another revision, model or chunking."""
    connection.execute(
        """INSERT INTO embedding_rejection (kb, uri, content_hash, model, chunking, reason)
           SELECT d.kb, d.uri, d.content_hash, %(model)s, %(chunking)s, rejected.reason
           FROM unnest(%(uris)s::text[], %(reasons)s::text[]) AS rejected(uri, reason)
           JOIN document d ON d.kb = %(kb)s AND d.uri = rejected.uri
           ON CONFLICT (kb, uri) DO UPDATE SET
             content_hash = EXCLUDED.content_hash, model = EXCLUDED.model, chunking = EXCLUDED.chunking,
             reason = EXCLUDED.reason, rejected_at = now()""",
        {"kb": kb, "model": model, "chunking": chunking, "uris": list(reasons), "reasons": list(reasons.values())},
    )


def delete_outdated_rejections(connection: BuildConnection, kb: str, model: str, chunking: str) -> None:
    """Delete rejections of other models, of other chunkings and of earlier revisions."""
    connection.execute(
        """DELETE FROM embedding_rejection r USING document d
           WHERE r.kb = %s AND d.kb = r.kb AND d.uri = r.uri
             AND (r.model, r.chunking, r.content_hash) IS DISTINCT FROM (%s, %s, d.content_hash)""",
        [kb, model, chunking],
    )


def rejection_counts(connection: Connection, kb: str, version: int) -> tuple[int, int]:
    """Return the number of rejected documents, and of documents in the version."""
    rejected = scalar(
        connection,
        """SELECT count(*) FROM embedding_rejection r JOIN document d USING (kb, uri, content_hash)
           WHERE r.kb = %s AND d.removed_at IS NULL""",
        kb,
    )
    contained = scalar(
        connection,
        """SELECT count(DISTINCT uri) FROM placement
           WHERE kb = %s AND valid_from <= %s AND (valid_to IS NULL OR valid_to > %s)""",
        kb,
        version,
        version,
    )
    return int(rejected), int(contained)
