"""Stores under a process that dies: after so many steps of writing it goes no further."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mindset.catalog.connection import Catalog, Writing
from mindset.index.chroma import ChromaIndex, Vectors
from mindset.installation import Installation
from mindset.settings import Settings


class Killed(BaseException):
    """The process ends here: nobody catches this."""


@dataclass
class Fuse:
    """Burns down with each step; without a length it lasts for ever."""

    steps: int | None = None

    def burn(self) -> None:
        """One step more. Raises Killed at the end."""
        if self.steps is not None:
            self.steps -= 1
            if self.steps < 0:
                raise Killed


class MortalCatalog(Catalog):
    """Dies before a transaction, just before its commit, or just behind it."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self._fuse = fuse

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        self._fuse.burn()
        with super().writing() as connection:
            yield connection
            self._fuse.burn()
        self._fuse.burn()


class MortalIndex(ChromaIndex):
    """Dies before or after a batch of vectors, or around the end of a collection."""

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
    """An installation whose stores die with the fuse."""
    assert settings.postgres_url and settings.chroma_url
    with MortalCatalog(settings.postgres_url.get_secret_value(), fuse) as catalog:
        installation = Installation(settings, catalog)
        installation.vectors = MortalIndex(settings.chroma_url, fuse)
        try:
            yield installation
        finally:
            installation.close()
