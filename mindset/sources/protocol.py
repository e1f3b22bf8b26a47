"""What a source is: a cheap listing with change marks, and the bytes of one document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One document as the listing shows it; an unchanged `etag` promises unchanged bytes."""

    uri: str
    etag: str
    size: int
    rejection: str | None = None
    """Why `fetch` rejects it, where the listing knows already."""


class Source(Protocol):
    """A place that documents come from."""

    def list(self) -> Iterator[SourceEntry]:
        """Everything there now, in any order. Raises SourceUnavailable, also when nothing at all is there."""
        ...

    def fetch(self, listed: SourceEntry) -> bytes:
        """The bytes of a document. Raises DocumentRejected with the reason and the remedy."""
        ...
