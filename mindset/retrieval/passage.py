"""A passage: a retrieved text and every place where it occurs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where a passage's text occurs: characters `start` to `end` of one revision of a document."""

    uri: str
    content_hash: str
    title: str
    heading_path: tuple[str, ...]
    ordinal: int
    start: int
    end: int


@dataclass(frozen=True)
class Passage:
    """One chunk, or several adjacent chunks of a document. Ranks start at 1; the first place is the one to cite."""

    rank: int
    chunk_ids: tuple[str, ...]
    text: str
    places: tuple[Place, ...]
    media_type: str = "text/markdown"
    """Of `text`: `text/markdown` or `text/plain`."""
    language: str = "english"
    """The language whose words the version's analysis reduces to stems; `simple`: none."""
    original: str | None = None
    """The text as the document has it, if `text` was changed for a model."""

    @property
    def place(self) -> Place:
        return self.places[0]
