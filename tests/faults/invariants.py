"""Invariants after any crash and one more nightly run, checked independently: by SQL and by repeating the work."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mindset.application import Installation
from mindset.catalog.releases import live_version
from mindset.catalog.segments import version_segments
from mindset.catalog.transactions import Connection, rows
from mindset.chunking.chunk import Chunk
from mindset.chunking.chunker import chunk_document
from mindset.config.build_options import Embedding
from mindset.config.settings import Settings
from mindset.embedding.protocol import Embedder
from mindset.embedding.registry import open_embedder
from mindset.parsing.registry import parse
from tests.faults.chroma import DirectChroma

Placement = tuple[str, int, str, int, int]
"""URI, ordinal, chunk id, start, end."""

MOST_SEGMENTS = 3


def undisturbed(installation: Installation, kb: str, folder: Path) -> set[Placement]:
    """Return the placements that an uninterrupted run produces, by parsing and chunking the documents here."""
    definition = installation.knowledge_base(kb)
    placements: set[Placement] = set()
    for file in sorted(folder.rglob("*.md")):
        uri = file.relative_to(folder).as_posix()
        parsed = parse(uri, file.read_bytes())
        for placed in chunk_document(parsed.text, parsed.title, parsed.media_type, definition.chunking):
            placements.add((uri, placed.ordinal, placed.chunk.id, placed.span.start, placed.span.end))
    return placements


def check_invariants(installation: Installation, kb: str, folder: Path) -> None:
    """Assert that the live version equals the documents, that its index is intact, and that no build is unfinished."""
    with installation.catalog.reading() as connection:
        version = live_version(connection, kb)
        assert version is not None
        placements = set(
            rows(
                connection,
                """SELECT uri, ordinal, chunk_id, start, "end" FROM placement
                   WHERE kb = %(kb)s AND valid_from <= %(version)s AND (valid_to IS NULL OR valid_to > %(version)s)""",
                kb=kb,
                version=version,
            )
        )
        assert unfinished(connection, kb) == []
    assert placements == undisturbed(installation, kb, folder)
    check_segments(installation, kb)
    check_vectors(installation, kb)


def unfinished(connection: Connection, kb: str) -> list[tuple[str, int]]:
    """Return the versions being built and the segments being written."""
    return rows(
        connection,
        """SELECT 'version', number FROM version WHERE kb = %(kb)s AND state = 'building'
           UNION ALL SELECT 'segment', id FROM segment WHERE kb = %(kb)s AND state = 'writing'""",
        kb=kb,
    )


def check_segments(installation: Installation, kb: str) -> None:
    """Assert that one version is live, and that each chunk of a version is in exactly one of its segments."""
    with installation.catalog.reading() as connection:
        live = rows(connection, "SELECT count(*) FROM release WHERE kb = %(kb)s AND replaced_at IS NULL", kb=kb)
        misplaced = rows(
            connection,
            """SELECT v.number, visible.chunk_id, count(indexed.segment_id) FROM version v
               CROSS JOIN LATERAL (
                 SELECT DISTINCT chunk_id FROM placement p
                 WHERE p.kb = v.kb AND p.valid_from <= v.number AND (p.valid_to IS NULL OR p.valid_to > v.number)) AS visible
               LEFT JOIN LATERAL (
                 SELECT s.segment_id FROM version_segment l JOIN segment g ON g.id = l.segment_id AND g.state = 'sealed'
                 JOIN segment_chunk s ON s.segment_id = g.id AND s.chunk_id = visible.chunk_id
                 WHERE l.kb = v.kb AND l.number = v.number) AS indexed ON true
               WHERE v.kb = %(kb)s AND v.state IN ('ready', 'rejected')
               GROUP BY v.number, visible.chunk_id HAVING count(indexed.segment_id) <> 1""",
            kb=kb,
        )
        too_many = rows(
            connection,
            """SELECT v.number, count(*) FROM version v JOIN version_segment l USING (kb, number)
               WHERE kb = %(kb)s AND v.state <> 'retired' GROUP BY v.number HAVING count(*) > %(most)s""",
            kb=kb,
            most=MOST_SEGMENTS,
        )
    assert live == [(1,)]
    assert misplaced == [], "version, chunk, number of the version's segments with this chunk"
    assert too_many == [], "version, number of its segments"


def check_vectors(installation: Installation, kb: str) -> None:
    """Assert that Chroma's ids equal Postgres's, and that each visible chunk has the vector of its text."""
    chroma = DirectChroma(installation.settings.chroma_url or "")
    stored: dict[str, NDArray[np.float32]] = {}
    with installation.catalog.reading() as connection:
        version = live_version(connection, kb)
        assert version is not None
        for segment in version_segments(connection, kb, version):
            vectors = chroma.vectors(segment.collection)
            members = rows(
                connection, "SELECT chunk_id FROM segment_chunk WHERE segment_id = %(segment)s", segment=segment.id
            )
            assert set(vectors) == {chunk for (chunk,) in members}, f"segment {segment.id}"
            stored |= vectors
        chunks = rows(
            connection,
            """SELECT id, context, text FROM chunk c WHERE kb = %(kb)s AND EXISTS (
                 SELECT FROM placement p WHERE p.kb = c.kb AND p.chunk_id = c.id
                   AND p.valid_from <= %(version)s AND (p.valid_to IS NULL OR p.valid_to > %(version)s))""",
            kb=kb,
            version=version,
        )
    fresh = embedder().embed_passages([Chunk(context, text).embedding_text for _, context, text in chunks])
    visible: NDArray[np.float32] = np.stack([stored[chunk] for chunk, _, _ in chunks])
    assert float(np.abs(visible - fresh).max()) < 1e-5


def check_tidiness(installation: Installation, kb: str) -> None:
    """Assert that after maintenance Chroma has exactly the collections of the versions that are not retired."""
    with installation.catalog.reading() as connection:
        needed = rows(
            connection,
            """SELECT collection FROM segment s WHERE kb = %(kb)s AND EXISTS (
                 SELECT FROM version_segment l JOIN version v USING (kb, number)
                 WHERE l.segment_id = s.id AND v.state <> 'retired')""",
            kb=kb,
        )
    assert DirectChroma(installation.settings.chroma_url or "").collections(kb) == {name for (name,) in needed}


@cache
def embedder() -> Embedder:
    """Return the embedder of all test corpora."""
    return open_embedder(Embedding(), Settings())
