"""Postings of segments: built from the texts of their chunks, and stored beside them for all processes that search."""

from __future__ import annotations

from collections.abc import Iterator

from mindset.catalog.build import BuildConnection
from mindset.catalog.pool import Catalog
from mindset.catalog.transactions import Connection, copy_rows, rows, scalar
from mindset.full_text.near_duplicates import signature
from mindset.full_text.postings import AnalyzedChunk, Postings, build_postings
from mindset.text.words import WordAnalyzer

# Postgres builds a row in memory, so postings of many millions of chunks are stored in several.
_PART_BYTES = 16_000_000

_BATCH = 5_000


def analyze_segment(catalog: Catalog, segment: int, analyzer: WordAnalyzer) -> Postings:
    """Return the postings of a segment's chunks; a chunk that no version needs any more may be missing."""
    return build_postings(_analyze(*chunk, analyzer) for chunk in _texts(catalog, segment))


def store_postings(connection: BuildConnection, segment: int, analysis: str, postings: Postings) -> None:
    """Store the postings of a segment, in place of earlier ones."""
    connection.execute("DELETE FROM postings WHERE segment_id = %s AND analysis = %s", [segment, analysis])
    data = postings.to_bytes()
    parts = range(0, len(data), _PART_BYTES)
    copy_rows(
        connection,
        "postings (segment_id, analysis, part, data)",
        ["int8", "text", "int4", "bytea"],
        ((segment, analysis, part, data[start : start + _PART_BYTES]) for part, start in enumerate(parts)),
    )


def read_postings(connection: Connection, segment: int, analysis: str) -> Postings | None:
    """Return the stored postings of a segment, or None if there are none."""
    found = connection.execute(
        "SELECT data FROM postings WHERE segment_id = %s AND analysis = %s ORDER BY part",
        [segment, analysis],
        binary=True,
    ).fetchall()
    return Postings.from_bytes(b"".join(data for (data,) in found)) if found else None


def missing_postings(connection: Connection, kb: str) -> list[tuple[int, str]]:
    """Return segment and analysis of all postings that retained versions need and that are not stored."""
    return rows(
        connection,
        """SELECT DISTINCT l.segment_id, v.ranking ->> 'analysis' AS analysis
           FROM version v JOIN version_segment l USING (kb, number) JOIN segment s ON s.id = l.segment_id
           WHERE v.kb = %(kb)s AND v.state <> 'retired' AND s.state = 'sealed' AND NOT EXISTS (
             SELECT FROM postings p WHERE p.segment_id = l.segment_id AND p.analysis = v.ranking ->> 'analysis')
           ORDER BY l.segment_id, analysis""",
        kb=kb,
    )


def has_postings(connection: Connection, segment: int, analysis: str) -> bool:
    """Return whether postings of a segment are stored."""
    return bool(
        scalar(
            connection,
            "SELECT EXISTS (SELECT FROM postings WHERE segment_id = %s AND analysis = %s)",
            segment,
            analysis,
        )
    )


def delete_unused_postings(connection: BuildConnection, kb: str) -> int:
    """Delete postings of an analysis that no retained version with their segment uses, and return their number."""
    return connection.execute(
        """DELETE FROM postings p USING segment s WHERE s.id = p.segment_id AND s.kb = %s AND NOT EXISTS (
             SELECT FROM version_segment l JOIN version v USING (kb, number)
             WHERE l.segment_id = s.id AND v.state <> 'retired' AND v.ranking ->> 'analysis' = p.analysis)""",
        [kb],
    ).rowcount


def _analyze(chunk_id: str, context: str, text: str, analyzer: WordAnalyzer) -> AnalyzedChunk:
    titles, title_length = analyzer.analyze(context)
    words, length = analyzer.analyze(text)
    weight = analyzer.title_weight
    return AnalyzedChunk(chunk_id, [*titles * weight, *words], title_length * weight + length, signature(words))


def _texts(catalog: Catalog, segment: int) -> Iterator[tuple[str, str, str]]:
    last = ""
    while True:
        with catalog.reading() as connection:
            found = rows(
                connection,
                """SELECT member.chunk_id, c.context, c.text FROM segment s
                   CROSS JOIN LATERAL (SELECT chunk_id FROM segment_chunk WHERE segment_id = s.id AND chunk_id > %(last)s
                                       ORDER BY chunk_id LIMIT %(limit)s) AS member
                   LEFT JOIN chunk c ON c.kb = s.kb AND c.id = member.chunk_id
                   WHERE s.id = %(segment)s ORDER BY member.chunk_id""",
                segment=segment,
                last=last,
                limit=_BATCH,
            )
        if not found:
            return
        yield from (row for row in found if row[1] is not None)
        last = found[-1][0]
