"""Chunks for tests of retrieval."""

from __future__ import annotations

from mindset.catalog.passages import VisibleChunk


def visible_chunk(
    chunk_id: str, ordinal: int, uri: str = "a.md", candidate: int = 0, start: int | None = None
) -> VisibleChunk:
    """Return a chunk of ten characters that starts eleven characters after the previous one."""
    start = 11 * ordinal if start is None else start
    return VisibleChunk(
        candidate,
        chunk_id,
        f"text {ordinal}",
        uri,
        "hash",
        "Title",
        ["Title", "Part"],
        ordinal,
        start,
        start + 10,
        "text/markdown",
    )
