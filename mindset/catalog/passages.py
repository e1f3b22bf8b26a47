"""Passages of a version that a caller may read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from mindset.catalog.filters import Filter
from mindset.catalog.transactions import Connection, rows
from mindset.catalog.visibility import visibility


@dataclass(frozen=True, slots=True)
class VisibleChunk:
    """A chunk that the caller may read, at one of its places."""

    candidate: int
    """Index of the chunk among the candidates."""
    chunk_id: str
    text: str
    uri: str
    content_hash: str
    title: str
    heading_path: list[str]
    ordinal: int
    start: int
    end: int
    media_type: str


MAX_PLACES = 100
"""Maximum number of places returned per chunk, since a boilerplate text may occur in every document."""


def visible_passages(
    connection: Connection,
    kb: str,
    version: int,
    principals: Sequence[str],
    candidates: Sequence[str],
    limit: int,
    where: Filter | None = None,
) -> list[VisibleChunk]:
    """Return the first `limit` candidates (chunk ids, best first) that the version contains and the principals may read.

    There is one row per place, at most `MAX_PLACES` for a chunk, ordered by candidate, URI and ordinal."""
    condition = visibility(where)
    found = rows(
        connection,
        f"""/* visible_passages: the only statement that decides which candidates a caller may read */
        WITH candidate AS (
          SELECT id, number
          FROM json_array_elements_text(%(candidates)s::json) WITH ORDINALITY AS entry(id, number) ORDER BY number
        ), chosen AS (
          -- In the order of the candidates, so that it stops at the limit instead of looking up all of them.
          SELECT candidate.id, candidate.number FROM candidate CROSS JOIN LATERAL (
            SELECT FROM placement p JOIN document d ON d.kb = p.kb AND d.uri = p.uri
            WHERE p.kb = %(kb)s AND p.chunk_id = candidate.id AND {condition.sql} LIMIT 1) AS visible
          ORDER BY candidate.number LIMIT %(limit)s
        )
        SELECT v.number - 1, c.id, c.text, p.uri, p.content_hash, r.title, p.heading_path, p.ordinal, p.start, p."end",
               r.media_type
        FROM chosen v
        CROSS JOIN LATERAL (
          SELECT p.* FROM placement p JOIN document d ON d.kb = p.kb AND d.uri = p.uri
          WHERE p.kb = %(kb)s AND p.chunk_id = v.id AND {condition.sql}
          ORDER BY p.uri, p.ordinal LIMIT %(max_places)s) AS p
        JOIN chunk c ON c.kb = p.kb AND c.id = p.chunk_id
        JOIN revision r ON r.kb = p.kb AND r.uri = p.uri AND r.content_hash = p.content_hash
        ORDER BY v.number, p.uri, p.ordinal""",  # noqa: S608  # constants and placeholders
        kb=kb, version=version, principals=list(principals), limit=limit, max_places=MAX_PLACES,
        # As JSON, because psycopg takes 0.3 ms to write an array of a hundred ids.
        candidates=json.dumps(candidates), **condition.parameters,
    )  # fmt: skip
    return [VisibleChunk(*row) for row in found]
