"""The visibility statement, and full-text search under the same rule."""

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
_VISIBLE = """p.since <= %(version)s AND (p.until IS NULL OR p.until > %(version)s)
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
          SELECT id, number FROM unnest(%(proposed)s::text[]) WITH ORDINALITY AS proposal(id, number)
        ), visible AS (
          SELECT proposed.number, p.*, dense_rank() OVER (ORDER BY proposed.number) AS place
          FROM proposed
          JOIN placement p ON p.kb = %(kb)s AND p.chunk = proposed.id
          JOIN document d ON d.kb = p.kb AND d.uri = p.uri
          WHERE {_VISIBLE}
        )
        SELECT v.number - 1, c.id, c.text, v.uri, v.content_hash, r.title, v.heading_path, v.ordinal, v.start, v."end"
        FROM visible v
        JOIN chunk c ON c.kb = v.kb AND c.id = v.chunk
        JOIN revision r ON r.kb = v.kb AND r.uri = v.uri AND r.content_hash = v.content_hash
        WHERE v.place <= %(limit)s
        ORDER BY v.number, v.uri, v.ordinal""",  # noqa: S608  # _VISIBLE is the constant above
        kb=kb, version=version, principals=list(principals), proposed=list(proposed), limit=limit,
    )  # fmt: skip
    return [Shown(*each) for each in found]


def lexical_candidates(
    connection: Connection, kb: str, version: int, principals: Sequence[str], question: str, language: str, limit: int
) -> list[str]:
    """Chunk ids by full-text rank, best first: any of the question's words, visible ones only.

    Ranked before visibility is looked at (four times as many), since the rank is the cheaper condition."""
    found = rows(
        connection,
        f"""-- lexical_candidates: an OR query ranked by ts_rank without length normalisation
        WITH asked AS (
          SELECT replace(plainto_tsquery(%(language)s::regconfig, %(question)s)::text, '&', '|')::tsquery AS words
        ), ranked AS (
          SELECT c.id, ts_rank(c.tsv, asked.words, 0) AS score
          FROM chunk c, asked WHERE c.kb = %(kb)s AND c.tsv @@ asked.words
          ORDER BY score DESC, c.id LIMIT %(limit)s * 4
        )
        SELECT id FROM ranked
        WHERE EXISTS (
          SELECT FROM placement p JOIN document d ON d.kb = p.kb AND d.uri = p.uri
          WHERE p.kb = %(kb)s AND p.chunk = ranked.id AND {_VISIBLE})
        ORDER BY score DESC, id LIMIT %(limit)s""",  # noqa: S608  # _VISIBLE is the constant above
        kb=kb, version=version, principals=list(principals), question=question, language=language, limit=limit,
    )  # fmt: skip
    return [chunk for (chunk,) in found]


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
