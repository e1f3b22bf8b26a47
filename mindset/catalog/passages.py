"""The visibility statement: what may be shown of a version, and to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mindset.catalog.connection import Connection, rows


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


# What anybody may see of a version, in one place: the placement belongs to the version, the document was not taken
# down, and the caller has one of its principals. Everything that reads passages is built on this condition.
VISIBLE = """p.since <= %(version)s AND (p.until IS NULL OR p.until > %(version)s)
    AND d.taken_down_at IS NULL AND d.acl && %(principals)s::text[]"""


def visible_passages(
    connection: Connection, kb: str, version: int, principals: Sequence[str], proposed: Sequence[str], limit: int
) -> list[Shown]:
    """Of the proposed chunks (best first), the first `limit` that the version shows to these principals.

    Every place where a chunk is visible is a row; rows come by proposal, then URI and ordinal."""
    found = rows(
        connection,
        f"""-- visible_passages: proposals in, what may be shown of them out; nothing else decides visibility
        WITH proposed AS (
          SELECT id, number FROM unnest(%(proposed)s::text[]) WITH ORDINALITY AS proposal(id, number) ORDER BY number
        ), chosen AS (
          -- In the order of the proposals, so that it stops at the limit instead of looking all of them up.
          SELECT proposed.id, proposed.number FROM proposed CROSS JOIN LATERAL (
            SELECT FROM placement p JOIN document d ON d.kb = p.kb AND d.uri = p.uri
            WHERE p.kb = %(kb)s AND p.chunk = proposed.id AND {VISIBLE} LIMIT 1) AS seen
          ORDER BY proposed.number LIMIT %(limit)s
        )
        SELECT v.number - 1, c.id, c.text, p.uri, p.content_hash, r.title, p.heading_path, p.ordinal, p.start, p."end"
        FROM chosen v
        JOIN placement p ON p.kb = %(kb)s AND p.chunk = v.id
        JOIN document d ON d.kb = p.kb AND d.uri = p.uri
        JOIN chunk c ON c.kb = p.kb AND c.id = p.chunk
        JOIN revision r ON r.kb = p.kb AND r.uri = p.uri AND r.content_hash = p.content_hash
        WHERE {VISIBLE}
        ORDER BY v.number, p.uri, p.ordinal""",  # noqa: S608  # VISIBLE is the constant above
        kb=kb, version=version, principals=list(principals), proposed=list(proposed), limit=limit,
    )  # fmt: skip
    return [Shown(*each) for each in found]


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
