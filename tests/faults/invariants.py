"""What must hold after any crash and one more night, checked from outside: by SQL and against an undisturbed twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mindset.catalog.connection import rows
from mindset.catalog.embeddings import read_embeddings
from mindset.catalog.releases import live_version
from mindset.catalog.segments import segment_members, version_segments
from mindset.chunking.chunker import cut_document
from mindset.embedding.registry import model_id, open_embedder
from mindset.installation import Installation
from mindset.parsing.formats import parse

Placement = tuple[str, int, str, int, int]
"""URI, ordinal, chunk id, start, end."""


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
    """Assert that the live version shows the documents as they are, whole and findable."""
    definition = installation.knowledge_base(kb)
    model = model_id(definition.embedding)
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
        open_releases = rows(connection, "SELECT count(*) FROM release WHERE kb = %(kb)s AND until IS NULL", kb=kb)
        building = rows(connection, "SELECT number FROM version WHERE kb = %(kb)s AND state = 'building'", kb=kb)
        writing = rows(connection, "SELECT id FROM segment WHERE kb = %(kb)s AND state = 'writing'", kb=kb)
        segments = version_segments(connection, kb, version)
        members = {segment.id: segment_members(connection, segment.id) for segment in segments}
        texts = {
            chunk: (context, text)
            for chunk, context, text in rows(connection, "SELECT id, context, text FROM chunk WHERE kb = %(kb)s", kb=kb)
        }
    assert shown == undisturbed(installation, kb, folder)
    assert open_releases == [(1,)]
    assert building == []
    assert writing == []

    visible = {chunk for _, _, chunk, _, _ in shown}
    held = [chunk for chunks in members.values() for chunk in chunks]
    assert len(held) == len(set(held)), "a chunk is in two segments"
    assert visible <= set(held)

    embedder = open_embedder(definition.embedding, installation.settings)
    for segment in segments:
        with installation.catalog.reading() as connection:
            stored = list(read_embeddings(connection, model, members[segment.id]))
        ids = [chunk for chunks, _ in stored for chunk in chunks]
        vectors = np.concatenate([each for _, each in stored])
        assert ids == members[segment.id]
        installation.vectors.verify(segment.collection, ids, (ids, vectors))
        seen = [(chunk, vector) for chunk, vector in zip(ids, vectors, strict=True) if chunk in visible]
        fresh = embedder.embed_passages([_embedded(*texts[chunk]) for chunk, _ in seen])
        for (_, vector), expected in zip(seen, fresh, strict=True):
            np.testing.assert_allclose(vector, expected, atol=1e-5)
    embedder.close()


def _embedded(context: str, text: str) -> str:
    from mindset.chunking.chunk import Chunk

    return Chunk(context, text).embedded
