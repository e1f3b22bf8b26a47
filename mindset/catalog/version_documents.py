"""Documents as a version contains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mindset.catalog.transactions import Connection, rows
from mindset.catalog.visibility import VISIBLE


@dataclass(frozen=True, slots=True)
class VersionDocument:
    """A document's revision in a version."""

    uri: str
    content_hash: str
    media_type: str
    title: str
    text: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DocumentSummary:
    """A document's revision in a version, without its text."""

    uri: str
    content_hash: str
    media_type: str
    title: str
    metadata: dict[str, Any]


def list_version_documents(
    connection: Connection, kb: str, version: int, principals: Sequence[str], prefix: str, after: str, limit: int
) -> list[DocumentSummary]:
    """Return the documents that the principals may read, ordered by URI, whose URI has the prefix and follows `after`."""
    found = rows(
        connection,
        f"""SELECT d.uri, r.content_hash, r.media_type, r.title, r.metadata
            FROM document d
            CROSS JOIN LATERAL (
              SELECT p.content_hash FROM placement p WHERE p.kb = d.kb AND p.uri = d.uri AND {VISIBLE} LIMIT 1) AS visible
            JOIN revision r ON r.kb = d.kb AND r.uri = d.uri AND r.content_hash = visible.content_hash
            WHERE d.kb = %(kb)s AND d.uri > %(after)s AND starts_with(d.uri, %(prefix)s)
            ORDER BY d.uri LIMIT %(limit)s""",  # noqa: S608  # VISIBLE is a constant
        kb=kb, version=version, principals=list(principals), prefix=prefix, after=after, limit=limit,
    )  # fmt: skip
    return [DocumentSummary(*row) for row in found]


def document_placements(
    connection: Connection, kb: str, version: int, uri: str, content_hash: str
) -> list[tuple[str, list[str], int, int]]:
    """Return chunk id, heading path, start and end of a revision's chunks in the version, in order.

    Does not check rights."""
    return rows(
        connection,
        """SELECT chunk_id, heading_path, start, "end" FROM placement
           WHERE kb = %(kb)s AND uri = %(uri)s AND content_hash = %(content_hash)s
             AND valid_from <= %(version)s AND (valid_to IS NULL OR valid_to > %(version)s)
           ORDER BY ordinal""",
        kb=kb, uri=uri, content_hash=content_hash, version=version,
    )  # fmt: skip


def version_document(
    connection: Connection, kb: str, version: int, principals: Sequence[str], uri: str
) -> VersionDocument | None:
    """Return the version's revision of a document; None if there is none or the principals may not read it."""
    found = rows(
        connection,
        f"""SELECT r.uri, r.content_hash, r.media_type, r.title, r.text, r.metadata
            FROM placement p
            JOIN document d ON d.kb = p.kb AND d.uri = p.uri
            JOIN revision r ON r.kb = p.kb AND r.uri = p.uri AND r.content_hash = p.content_hash
            WHERE p.kb = %(kb)s AND p.uri = %(uri)s AND {VISIBLE} LIMIT 1""",  # noqa: S608  # VISIBLE is a constant
        kb=kb, version=version, principals=list(principals), uri=uri,
    )  # fmt: skip
    return VersionDocument(*found[0]) if found else None


def readable_uris(connection: Connection, kb: str, principals: Sequence[str], uris: Sequence[str]) -> set[str]:
    """Return those of the URIs whose documents the principals may read, in any version."""
    found = rows(
        connection,
        """SELECT uri FROM document
           WHERE kb = %(kb)s AND uri = ANY(%(uris)s) AND taken_down_at IS NULL AND acl && %(principals)s::text[]""",
        kb=kb,
        uris=list(uris),
        principals=list(principals),
    )
    return {uri for (uri,) in found}


def document_text(connection: Connection, kb: str, version: int, uri: str) -> str | None:
    """Return the text of the version's revision of a document, for matching evidence. Does not check rights."""
    found = rows(
        connection,
        """SELECT r.text FROM revision r WHERE r.kb = %(kb)s AND r.uri = %(uri)s AND EXISTS (
             SELECT FROM placement p
             WHERE p.kb = r.kb AND p.uri = r.uri AND p.content_hash = r.content_hash
               AND p.valid_from <= %(version)s AND (p.valid_to IS NULL OR p.valid_to > %(version)s))""",
        kb=kb,
        uri=uri,
        version=version,
    )
    return found[0][0] if found else None
