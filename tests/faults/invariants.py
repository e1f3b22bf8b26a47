"""What must hold after any crash and one more night, checked from outside: by SQL and against an undisturbed twin."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mindset.catalog.connection import Connection, rows
from mindset.catalog.releases import live_version
from mindset.catalog.segments import version_segments
from mindset.chunking.chunk import Chunk
from mindset.chunking.chunker import cut_document
from mindset.embedding.protocol import Embedder
from mindset.embedding.registry import open_embedder
from mindset.installation import Installation
from mindset.knowledge_base import Embedding
from mindset.parsing.formats import parse
from mindset.settings import Settings
from tests.faults.chroma import Outside

Placement = tuple[str, int, str, int, int]
"""URI, ordinal, chunk id, start, end."""

MOST_SEGMENTS = 3


def undisturbed(installation: Installation, kb: str, folder: Path) -> set[Placement]:
    """What a night that nothing disturbs shows: the documents, parsed and cut."""
    definition = installation.knowledge_base(kb)
    found: set[Placement] = set()
    for file in sorted(folder.rglob("*.md")):
        uri = file.relative_to(folder).as_posix()
        parsed = parse(uri, file.read_bytes())
        for placed in cut_document(parsed.text, parsed.title, parsed.media_type, definition.chunking):
            found.add((uri, placed.ordinal, placed.chunk.id, placed.cut.start, placed.cut.end))
    return found


def check_invariants(installation: Installation, kb: str, folder: Path) -> None:
    """Assert that the live version shows the documents as they are, whole and findable, and that nothing is half-built."""
    with installation.catalog.reading() as connection:
        version = live_version(connection, kb)
        assert version is not None
        shown = set(
            rows(
                connection,
                """SELECT uri, ordinal, chunk, start, "end" FROM placement
                   WHERE kb = %(kb)s AND since <= %(version)s AND (until IS NULL OR until > %(version)s)""",
                kb=kb,
                version=version,
            )
        )
        assert unfinished(connection, kb) == []
    assert shown == undisturbed(installation, kb, folder)
    check_segments(installation, kb)
    check_vectors(installation, kb)


def unfinished(connection: Connection, kb: str) -> list[tuple[str, int]]:
    """Versions in the making and segments half-written."""
    return rows(
        connection,
        """SELECT 'version', number FROM version WHERE kb = %(kb)s AND state = 'building'
           UNION ALL SELECT 'segment', id FROM segment WHERE kb = %(kb)s AND state = 'writing'""",
        kb=kb,
    )


def check_segments(installation: Installation, kb: str) -> None:
    """Assert that one version is live, and that each version finds each of its chunks in exactly one of its segments."""
    with installation.catalog.reading() as connection:
        live = rows(connection, "SELECT count(*) FROM release WHERE kb = %(kb)s AND until IS NULL", kb=kb)
        misplaced = rows(
            connection,
            """SELECT v.number, shown.chunk, count(held.segment) FROM version v
               CROSS JOIN LATERAL (
                 SELECT DISTINCT chunk FROM placement p
                 WHERE p.kb = v.kb AND p.since <= v.number AND (p.until IS NULL OR p.until > v.number)) AS shown
               LEFT JOIN LATERAL (
                 SELECT s.segment FROM version_segment l JOIN segment g ON g.id = l.segment AND g.state = 'sealed'
                 JOIN segment_chunk s ON s.segment = g.id AND s.chunk = shown.chunk
                 WHERE l.kb = v.kb AND l.number = v.number) AS held ON true
               WHERE v.kb = %(kb)s AND v.state IN ('ready', 'rejected')
               GROUP BY v.number, shown.chunk HAVING count(held.segment) <> 1""",
            kb=kb,
        )
        numbers = rows(
            connection,
            """SELECT v.number, count(*) FROM version v JOIN version_segment l USING (kb, number)
               WHERE kb = %(kb)s AND v.state <> 'retired' GROUP BY v.number HAVING count(*) > %(most)s""",
            kb=kb,
            most=MOST_SEGMENTS,
        )
    assert live == [(1,)]
    assert misplaced == [], "version, chunk, number of its segments that hold it"
    assert numbers == [], "version, number of its segments"


def check_vectors(installation: Installation, kb: str) -> None:
    """Assert that Chroma holds exactly what Postgres says, and for each text that is shown the vector made of it now."""
    outside = Outside(installation.settings.chroma_url or "")
    found: dict[str, NDArray[np.float32]] = {}
    with installation.catalog.reading() as connection:
        version = live_version(connection, kb)
        assert version is not None
        for segment in version_segments(connection, kb, version):
            vectors = outside.vectors(segment.collection)
            members = rows(
                connection, "SELECT chunk FROM segment_chunk WHERE segment = %(segment)s", segment=segment.id
            )
            assert set(vectors) == {chunk for (chunk,) in members}, f"segment {segment.id}"
            found |= vectors
        chunks = rows(
            connection,
            """SELECT id, context, text FROM chunk c WHERE kb = %(kb)s AND EXISTS (
                 SELECT FROM placement p WHERE p.kb = c.kb AND p.chunk = c.id
                   AND p.since <= %(version)s AND (p.until IS NULL OR p.until > %(version)s))""",
            kb=kb,
            version=version,
        )
    fresh = embedder().embed_passages([Chunk(context, text).embedded for _, context, text in chunks])
    held: NDArray[np.float32] = np.stack([found[chunk] for chunk, _, _ in chunks])
    assert float(np.abs(held - fresh).max()) < 1e-5


def check_tidiness(installation: Installation, kb: str) -> None:
    """Assert that after maintenance Chroma holds the collections that some version needs, and no other."""
    with installation.catalog.reading() as connection:
        needed = rows(
            connection,
            """SELECT collection FROM segment s WHERE kb = %(kb)s AND EXISTS (
                 SELECT FROM version_segment l JOIN version v USING (kb, number)
                 WHERE l.segment = s.id AND v.state <> 'retired')""",
            kb=kb,
        )
    assert Outside(installation.settings.chroma_url or "").collections(kb) == {name for (name,) in needed}


@cache
def embedder() -> Embedder:
    """The model that every test corpus is embedded with."""
    return open_embedder(Embedding(), Settings())
