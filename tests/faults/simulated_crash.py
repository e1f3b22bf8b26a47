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


class SimulatedCrash(BaseException):
    """The simulated death; a BaseException, so that no handler catches it."""


@dataclass
class StepLimit:
    """Counts down write steps; None never ends."""

    steps: int | None = None

    def count(self) -> None:
        """Count one step. Raises SimulatedCrash after the last one."""
        if self.steps is not None:
            self.steps -= 1
            if self.steps < 0:
                raise SimulatedCrash


class CrashingCatalog(Catalog):
    """Dies before a transaction, right before its commit, or right after it."""

    def __init__(self, url: str, limit: StepLimit) -> None:
        super().__init__(url)
        self._limit = limit

    @contextmanager
    def writing(self) -> Iterator[WriteConnection]:
        self._limit.count()
        with super().writing() as connection:
            yield connection
            self._limit.count()
        self._limit.count()


class CrashingIndex(ChromaIndex):
    """Dies before or after a batch of vectors, or before or after the deletion of a collection."""

    def __init__(self, url: str, limit: StepLimit) -> None:
        super().__init__(url)
        self._limit = limit

    def write(self, collection: str, batches: Iterable[tuple[Sequence[str], Vectors]]) -> Iterator[int]:
        self._limit.count()
        for written in super().write(collection, batches):
            self._limit.count()
            yield written

    def drop(self, collection: str) -> None:
        self._limit.count()
        super().drop(collection)
        self._limit.count()


@contextmanager
def crashing_installation(settings: Settings, limit: StepLimit) -> Iterator[Installation]:
    """Open an installation whose stores share a limit."""
    assert settings.postgres_url and settings.chroma_url
    with CrashingCatalog(settings.postgres_url.get_secret_value(), limit) as catalog:
        installation = Installation(settings, catalog)
        installation.vectors = CrashingIndex(settings.chroma_url, limit)
        try:
            yield installation
        finally:
            installation.close()
