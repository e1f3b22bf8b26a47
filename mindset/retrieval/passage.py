"""A passage: a chunk as retrieved, with every place where it stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where a passage's text stands: characters `start` to `end` of the text of one revision of a document."""

    uri: str
    content_hash: str
    title: str
    heading_path: tuple[str, ...]
    ordinal: int
    start: int
    end: int


@dataclass(frozen=True)
class Passage:
    """A text worth showing: its rank counts from 1, its first place is the one to cite."""

    rank: int
    chunk_ids: tuple[str, ...]
    text: str
    places: tuple[Place, ...]

    @property
    def place(self) -> Place:
        return self.places[0]
