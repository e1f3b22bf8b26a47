"""The visibility statement: what may be shown of a version, and to whom."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mindset.catalog.connection import Connection, rows
from mindset.catalog.filters import Condition, Filter, condition


@dataclass(frozen=True, slots=True)
class Shown:
    """A visible chunk at one of its places, as the visibility statement gives it."""

    proposal: int
    chunk: str
    text: str
    uri: str
    content_hash: str
    title: str
    heading_path: list[str]
    ordinal: int
    start: int
    end: int


PLACES = 100
"""How many places of one chunk are told: a text that stands in every document must not bring all of them along."""

# What anybody may see of a version, in one place: the placement belongs to the version, the document was not taken
# down, and the caller has one of its principals. Everything that reads passages is built on this condition.
VISIBLE = """p.since <= %(version)s AND (p.until IS NULL OR p.until > %(version)s)
    AND d.taken_down_at IS NULL AND d.acl && %(principals)s::text[]"""


def visible(where: Filter | None) -> Condition:
    """What a caller may see, of the documents that a filter names; its filter looks at the revision that stands there."""
    if where is None:
        return Condition(VISIBLE)
    filtered = condition(where)
    filtered.sql = f"""{VISIBLE} AND EXISTS (
      SELECT FROM revision f WHERE f.kb = p.kb AND f.uri = p.uri AND f.content_hash = p.content_hash AND {filtered.sql})"""
    return filtered


def visible_passages(
    connection: Connection,
    kb: str,
    version: int,
    principals: Sequence[str],
    proposed: Sequence[str],
    limit: int,
    where: Filter | None = None,
) -> list[Shown]:
    """Of the proposed chunks (best first), the first `limit` that the version shows to these principals.

    Every place where a chunk is visible is a row, up to `PLACES` of them; rows come by proposal, then URI and ordinal."""
    shown = visible(where)
    found = rows(
        connection,
        f"""/* visible_passages: proposals in, what may be shown of them out; nothing else decides visibility */
        WITH proposed AS (
          SELECT id, number
          FROM json_array_elements_text(%(proposed)s::json) WITH ORDINALITY AS proposal(id, number) ORDER BY number
        ), chosen AS (
          -- In the order of the proposals, so that it stops at the limit instead of looking all of them up.
          SELECT proposed.id, proposed.number FROM proposed CROSS JOIN LATERAL (
            SELECT FROM placement p JOIN document d ON d.kb = p.kb AND d.uri = p.uri
            WHERE p.kb = %(kb)s AND p.chunk = proposed.id AND {shown.sql} LIMIT 1) AS seen
          ORDER BY proposed.number LIMIT %(limit)s
        )
        SELECT v.number - 1, c.id, c.text, p.uri, p.content_hash, r.title, p.heading_path, p.ordinal, p.start, p."end"
        FROM chosen v
        CROSS JOIN LATERAL (
          SELECT p.* FROM placement p JOIN document d ON d.kb = p.kb AND d.uri = p.uri
          WHERE p.kb = %(kb)s AND p.chunk = v.id AND {shown.sql}
          ORDER BY p.uri, p.ordinal LIMIT %(places)s) AS p
        JOIN chunk c ON c.kb = p.kb AND c.id = p.chunk
        JOIN revision r ON r.kb = p.kb AND r.uri = p.uri AND r.content_hash = p.content_hash
        ORDER BY v.number, p.uri, p.ordinal""",  # noqa: S608  # constants and placeholders
        kb=kb, version=version, principals=list(principals), limit=limit, places=PLACES,
        # Psycopg takes 0.3 ms to write an array of a hundred ids.
        proposed=json.dumps(proposed), **shown.parameters,
    )  # fmt: skip
    return [Shown(*each) for each in found]


@dataclass(frozen=True, slots=True)
class ShownDocument:
    """A document as a version shows it."""

    uri: str
    content_hash: str
    media_type: str
    title: str
    text: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ListedDocument:
    """A document as a version shows it, without its text."""

    uri: str
    content_hash: str
    media_type: str
    title: str
    metadata: dict[str, Any]


def listed_documents(
    connection: Connection, kb: str, version: int, principals: Sequence[str], prefix: str, after: str, limit: int
) -> list[ListedDocument]:
    """What a version shows to these principals, by URI: those that begin so, and come after one."""
    found = rows(
        connection,
        f"""SELECT d.uri, r.content_hash, r.media_type, r.title, r.metadata
            FROM document d
            CROSS JOIN LATERAL (
              SELECT p.content_hash FROM placement p WHERE p.kb = d.kb AND p.uri = d.uri AND {VISIBLE} LIMIT 1) AS shown
            JOIN revision r ON r.kb = d.kb AND r.uri = d.uri AND r.content_hash = shown.content_hash
            WHERE d.kb = %(kb)s AND d.uri > %(after)s AND starts_with(d.uri, %(prefix)s)
            ORDER BY d.uri LIMIT %(limit)s""",  # noqa: S608  # VISIBLE is the constant above
        kb=kb, version=version, principals=list(principals), prefix=prefix, after=after, limit=limit,
    )  # fmt: skip
    return [ListedDocument(*each) for each in found]


def places_of(
    connection: Connection, kb: str, version: int, uri: str, content_hash: str
) -> list[tuple[str, list[str], int, int]]:
    """Chunk, headings, start and end of what a version shows of a revision, in order; rights are not looked at."""
    return rows(
        connection,
        """SELECT chunk, heading_path, start, "end" FROM placement
           WHERE kb = %(kb)s AND uri = %(uri)s AND content_hash = %(content_hash)s
             AND since <= %(version)s AND (until IS NULL OR until > %(version)s)
           ORDER BY ordinal""",
        kb=kb, uri=uri, content_hash=content_hash, version=version,
    )  # fmt: skip


def shown_document(
    connection: Connection, kb: str, version: int, principals: Sequence[str], uri: str
) -> ShownDocument | None:
    """The revision that a version shows at a URI to these principals; None also where they only may not see it."""
    found = rows(
        connection,
        f"""SELECT r.uri, r.content_hash, r.media_type, r.title, r.text, r.metadata
            FROM placement p
            JOIN document d ON d.kb = p.kb AND d.uri = p.uri
            JOIN revision r ON r.kb = p.kb AND r.uri = p.uri AND r.content_hash = p.content_hash
            WHERE p.kb = %(kb)s AND p.uri = %(uri)s AND {VISIBLE} LIMIT 1""",  # noqa: S608  # VISIBLE is the constant above
        kb=kb, version=version, principals=list(principals), uri=uri,
    )  # fmt: skip
    return ShownDocument(*found[0]) if found else None


def readable(connection: Connection, kb: str, principals: Sequence[str], uris: Sequence[str]) -> set[str]:
    """Of these URIs, those of documents that the principals may read, in whatever version."""
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
    """The text of the revision that a version shows at a URI, for matching evidence; rights are not looked at."""
    found = rows(
        connection,
        """SELECT r.text FROM revision r WHERE r.kb = %(kb)s AND r.uri = %(uri)s AND EXISTS (
             SELECT FROM placement p
             WHERE p.kb = r.kb AND p.uri = r.uri AND p.content_hash = r.content_hash
               AND p.since <= %(version)s AND (p.until IS NULL OR p.until > %(version)s))""",
        kb=kb,
        uri=uri,
        version=version,
    )
    return found[0][0] if found else None
