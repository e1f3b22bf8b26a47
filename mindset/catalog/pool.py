"""The pool of connections to Postgres, and the transactions opened on it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg_pool import ConnectionPool, PoolTimeout

from mindset.catalog.build_lock import BuildLock
from mindset.catalog.connection_options import merged_options
from mindset.catalog.errors import translated_errors
from mindset.catalog.transactions import Connection, WriteConnection

# Postgres' defaults assume spinning disks and JIT-compile statements that finish before they are compiled; ours take
# milliseconds and read from memory or an SSD. Dates of documents without a time zone are compared as UTC.
_OPTIONS = "-c random_page_cost=1.1 -c jit=off -c timezone=UTC"


# Without keepalives, a network that drops all packets is noticed after 15 minutes, and all threads wait meanwhile.
_CLIENT_KEEPALIVES = {
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

T = TypeVar("T")


STATEMENT_TIMEOUT_S = 2.0
"""Default timeout of a single read statement, which normally takes milliseconds."""

REQUEST_TIMEOUT_S = 10.0
"""Timeout of reading on behalf of a client, so that a few slow statements cannot occupy all connections."""

# Maximum wait for a connection of the pool.
_POOL_TIMEOUT_S = 10.0

# The server's timeout is rounded up to a multiple of this, because changing it costs a round trip.
_TIMEOUT_STEP_S = 0.25

# When the transaction that a thread has opened must end, in seconds of `time.monotonic`.
_thread = threading.local()

# A connection used this recently is handed out without checking that it is still open.
_TRUSTED_S = 1.0


class _Pooled(psycopg.Connection[Any]):
    """A connection that remembers when it was last used, and its statement timeout.

    Nothing waits for the server longer than the deadline of the thread: the server's own timeout does not help if the
    server hangs, or the network is slow."""

    used_at = -float("inf")
    timeout_ms = 0
    """Its statement timeout; 0 means the one it was opened with, usually none."""

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for the server as psycopg does, but at most until the thread's deadline."""
        left = getattr(_thread, "ends_at", math.inf) - time.monotonic()
        if left < math.inf:
            timeout = max(left, 0.0) if timeout is None else min(timeout, max(left, 0.0))
        return super().wait(gen, interval, timeout)

    def set_timeout(self, timeout_ms: int) -> None:
        """Set the statement timeout; 0 restores the server's, or the URL's.

        With one, also use generic plans: planning a short statement took longer than running it.

        Costs a round trip, but only if the timeout differs from that of the previous use. Call it outside a transaction."""
        if timeout_ms != self.timeout_ms:
            if timeout_ms:
                self.execute(
                    "SELECT set_config('statement_timeout', %s, false), "
                    "set_config('plan_cache_mode', 'force_generic_plan', false)",
                    [str(timeout_ms)],
                )
            else:
                self.execute("RESET statement_timeout; RESET plan_cache_mode")
            self.timeout_ms = timeout_ms


class Catalog:
    """The connection pool of one process. Transactions are opened here and committed at the end of their block.

    Every method raises ServiceUnavailable while Postgres is unreachable."""

    def __init__(self, url: str, pool_size: int = 8) -> None:
        self._url = url
        self._lost_at = -float("inf")
        self._pool = ConnectionPool[_Pooled](
            url,
            connection_class=_Pooled,
            min_size=1,
            max_size=pool_size,
            open=False,
            timeout=_POOL_TIMEOUT_S,
            # After a restart of the server, the pool must not hand out dead connections.
            check=self._check,
            kwargs={
                "application_name": "mindset",
                "connect_timeout": 5,
                "options": merged_options(url, _OPTIONS, fixed={"timezone"}),
                **_CLIENT_KEEPALIVES,
            },
        )

    def __enter__(self) -> Self:
        self._pool.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    @contextmanager
    def reading(self, timeout_s: float = 0) -> Iterator[Connection]:
        """Open a read-only transaction in which all statements see the same snapshot.

        `timeout_s` limits the whole transaction, including the wait for a connection; 0 means no limit."""
        with translated_errors(), self._connection(timeout_s) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            try:
                yield connection
            finally:
                if not _is_waiting(connection):
                    connection.rollback()
                    connection.read_only = None
                    connection.isolation_level = None

    @contextmanager
    def autocommit_reading(self, timeout_s: float = STATEMENT_TIMEOUT_S) -> Iterator[Connection]:
        """Yield a connection for single read statements without a transaction, which saves two round trips.

        `timeout_s` limits all of them together, and the wait for a connection. Prefer `read_once`, which also reconnects."""
        with translated_errors(), self._autocommit_reading(timeout_s) as connection:
            yield connection

    def read_once(self, read: Callable[[Connection], T], timeout_s: float = STATEMENT_TIMEOUT_S) -> T:
        """Return the result of `read`, which runs single read statements as in `autocommit_reading`.

        `read` is called a second time if the server closed the connection since its last use."""
        ends_at = time.monotonic() + timeout_s
        with translated_errors():
            lost_at = self._lost_at
            try:
                with self._autocommit_reading(timeout_s) as connection:
                    return read(connection)
            except (PoolTimeout, psycopg.errors.QueryCanceled):
                raise
            except psycopg.OperationalError:
                if self._lost_at == lost_at or time.monotonic() >= ends_at:
                    raise
            with self._autocommit_reading(ends_at - time.monotonic()) as connection:
                return read(connection)

    @contextmanager
    def writing(self) -> Iterator[WriteConnection]:
        """Open a transaction that is committed at the end of the block, or rolled back if the block raises."""
        with translated_errors(), self._connection() as connection:
            yield WriteConnection(connection)

    @contextmanager
    def _autocommit_reading(self, timeout_s: float) -> Iterator[_Pooled]:
        with self._connection(max(timeout_s, 0.001), autocommit=True) as connection:
            yield connection

    @contextmanager
    def _connection(self, timeout_s: float = 0, *, autocommit: bool = False) -> Iterator[_Pooled]:
        """Yield a pooled connection that must be returned after `timeout_s`; 0 means no limit."""
        outer = getattr(_thread, "ends_at", math.inf)
        ends_at = _thread.ends_at = min(outer, time.monotonic() + timeout_s if timeout_s else math.inf)
        try:
            with self._pool.connection(timeout=min(timeout_s or _POOL_TIMEOUT_S, _POOL_TIMEOUT_S)) as connection:
                try:
                    timeout_ms = _server_timeout_ms(ends_at)
                    if autocommit or timeout_ms != connection.timeout_ms:
                        connection.autocommit = True
                        connection.set_timeout(timeout_ms)
                        connection.autocommit = autocommit
                    yield connection
                finally:
                    if _is_waiting(connection):
                        connection.close()  # its server did not answer in time
                    if connection.closed:
                        self._lost_at = time.monotonic()
                    elif autocommit:
                        connection.autocommit = False
                    connection.used_at = time.monotonic()
        finally:
            _thread.ends_at = outer

    def _check(self, connection: _Pooled) -> None:
        """Raise if the connection is dead. A connection used within the last second is not checked, to save a round trip.

        Once any connection has been lost, all connections last used before that are checked."""
        if connection.used_at < max(self._lost_at, time.monotonic() - _TRUSTED_S):
            ConnectionPool.check_connection(connection)

    def build_lock(self, kb: str, holder: str = "", *, allow_copy: bool = False) -> BuildLock:
        """Return the lock that allows one build of a knowledge base at a time. `holder` names the build, for people.

        It cannot be acquired in a copy of another installation's database, unless `allow_copy` is true."""
        return BuildLock(self, self._url, kb, holder, allow_copy=allow_copy)


def _server_timeout_ms(ends_at: float) -> int:
    """Return the statement timeout for a deadline; 0 means none."""
    if ends_at == math.inf:
        return 0
    left = max(ends_at - time.monotonic(), 0.001)
    return round(math.ceil(left / _TIMEOUT_STEP_S) * _TIMEOUT_STEP_S * 1000)


def _is_waiting(connection: Connection) -> bool:
    """Return whether a statement was given up before the server answered, so that the connection cannot be used."""
    return connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE
