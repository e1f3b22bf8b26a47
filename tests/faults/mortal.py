"""Stores that simulate the death of the process after a number of write steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mindset.application import Installation
from mindset.catalog.pool import Catalog
from mindset.catalog.transactions import WriteConnection
from mindset.config.settings import Settings
from mindset.vector_index.chroma import ChromaIndex, Vectors


class Killed(BaseException):
    """The simulated death; a BaseException, so that no handler catches it."""


@dataclass
class Fuse:
    """Counts down write steps; None never ends."""

    steps: int | None = None

    def burn(self) -> None:
        """Count one step. Raises Killed after the last one."""
        if self.steps is not None:
            self.steps -= 1
            if self.steps < 0:
                raise Killed


class MortalCatalog(Catalog):
    """Dies before a transaction, right before its commit, or right after it."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self._fuse = fuse

    @contextmanager
    def writing(self) -> Iterator[WriteConnection]:
        self._fuse.burn()
        with super().writing() as connection:
            yield connection
            self._fuse.burn()
        self._fuse.burn()


class MortalIndex(ChromaIndex):
    """Dies before or after a batch of vectors, or before or after the deletion of a collection."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self._fuse = fuse

    def write(self, collection: str, batches: Iterable[tuple[Sequence[str], Vectors]]) -> Iterator[int]:
        self._fuse.burn()
        for written in super().write(collection, batches):
            self._fuse.burn()
            yield written

    def drop(self, collection: str) -> None:
        self._fuse.burn()
        super().drop(collection)
        self._fuse.burn()


@contextmanager
def mortal_installation(settings: Settings, fuse: Fuse) -> Iterator[Installation]:
    """Open an installation whose stores share a fuse."""
    assert settings.postgres_url and settings.chroma_url
    with MortalCatalog(settings.postgres_url.get_secret_value(), fuse) as catalog:
        installation = Installation(settings, catalog)
        installation.vectors = MortalIndex(settings.chroma_url, fuse)
        try:
            yield installation
        finally:
            installation.close()
