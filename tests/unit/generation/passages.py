"""Passages for tests."""

from __future__ import annotations

from mindset.retrieval.passage import Passage, Place


def passage(text: str, rank: int = 1, title: str = "Guide", heading_path: tuple[str, ...] = ()) -> Passage:
    """Return a passage with one place."""
    place = Place("file:///guide.md", "0" * 64, title, heading_path, 0, 0, len(text))
    return Passage(rank, (f"{rank:032x}",), text, (place,))
