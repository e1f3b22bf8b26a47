"""The right to write: a build's transactions verify that no other build has taken over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType

from mindset.catalog.transactions import Connection, WriteConnection, scalar
from mindset.errors import BuildTakenOver

if TYPE_CHECKING:
    from mindset.catalog.pool import Catalog

BuildConnection = NewType("BuildConnection", WriteConnection)
"""A connection in a transaction of the current build; only `Build` makes one."""


@dataclass(frozen=True)
class Build:
    """A build of a knowledge base: a night, a stage that runs alone, or maintenance.

    Its token is the fence: a number that each build increases when it acquires the build lock. A process that went on
    after its build lost the lock cannot write, whatever it read before."""

    catalog: Catalog
    kb: str
    token: int

    def reading(self) -> AbstractContextManager[Connection]:
        """Open a read-only transaction. Only writes are fenced: what an orphan reads has no effect."""
        return self.catalog.reading()

    @contextmanager
    def writing(self, *, alone: bool = False) -> Iterator[BuildConnection]:
        """Open a write transaction, during which no other build can take over.

        With `alone`, no other transaction of this build runs at the same time either. Raises BuildTakenOver."""
        with self.catalog.writing() as connection:
            yield self.fence_in(connection, alone=alone)

    def fence_in(self, connection: WriteConnection, *, alone: bool = False) -> BuildConnection:
        """Make an open transaction one of this build, as `writing` does."""
        _enter(connection, self.kb, alone=alone)
        # A statement of its own: its snapshot must be newer than the lock.
        current = scalar(connection, "SELECT token FROM build WHERE kb = %s", self.kb)
        if current != self.token:
            raise BuildTakenOver(
                f"Build {self.token} of {self.kb} was taken over by build {current}, so this run writes nothing more. "
                "Nothing is lost: the other build continues its work."
            )
        return BuildConnection(connection)


def _enter(connection: WriteConnection, kb: str, *, alone: bool) -> None:
    """Wait for the fence and hold it until the transaction ends.

    Not a lock on the row of `build`: transactions that share it would starve the build that waits to take over, while
    advisory locks are granted in the order of requests."""
    if alone:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 6))", [fence(kb)])
    else:
        connection.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 6))", [fence(kb)])


def fence(kb: str) -> str:
    """Return the text whose hash with the seed 6 is the advisory lock of build transactions."""
    return f"build transactions of {kb}"
