"""The protocol of sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """A document in the listing of a source. If its `etag` is unchanged, its bytes are unchanged."""

    uri: str
    etag: str
    size: int
    rejection: str | None = None
    """Why `fetch` will reject the entry, if the listing already shows it."""


class Source(Protocol):
    """A source of documents."""

    def list(self) -> Iterator[SourceEntry]:
        """Yield all current entries in any order. Raises SourceUnavailable, also if there are none."""
        ...

    def fetch(self, entry: SourceEntry) -> bytes:
        """Return the bytes of a document. Raises DocumentRejected with reason and remedy."""
        ...
