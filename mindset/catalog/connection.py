"""Connections to Postgres: a pool, transactions, and the lock of a build."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, LiteralString, NewType, Self, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from mindset.errors import BuildInProgress, RequestRejected, ServiceUnavailable

Connection = psycopg.Connection[Any]
"""Enough to read; `reading()` gives one that cannot write."""

Writing = NewType("Writing", Connection)
"""A connection inside a transaction that commits when its block ends."""


# Statements here take milliseconds and read what is in memory or on an SSD: the defaults suppose spinning disks, and
# compile statements that are over before they are compiled.
# Dates of documents without a zone are compared as UTC, wherever the server stands.
_OPTIONS = "-c random_page_cost=1.1 -c jit=off -c timezone=UTC"

# Classes of SQLSTATE: a connection that broke, and a server that is stopped or not yet started.
_ENDING = ("08", "57P")

# Without them a network that drops everything is noticed after a quarter of an hour, and all threads wait for it.
_CLIENT_KEEPALIVES = {
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

T = TypeVar("T")

SCHEMA = "0004"
"""The revision of the catalog's schema that this release was written for: the last of `migrations/versions`."""

GLANCE_S = 2.0
"""How long a single reading statement may take unless told otherwise: it takes milliseconds."""

READ_S = 10.0
"""How long a statement may take that somebody outside asks for: a few endless ones would hold all connections."""

# A connection that was used so lately is handed out without asking the server whether it is still there.
_TRUSTED_S = 1.0

# The server's own: without them it keeps the lock of a machine that vanished for two hours, not for one minute.
_SERVER_KEEPALIVES = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"


class _Pooled(psycopg.Connection[Any]):
    """A connection that knows when it was used last, and how it was set up for that."""

    used_at = -float("inf")
    milliseconds = 0
    """What its statements may take; 0 is for ever."""

    def bound(self, milliseconds: int) -> None:
        """Bound each statement, and plan bounded ones once: they are short, and planning one took longer than running it.

        A round trip, but only for who uses the connection for something else than the one before. Outside a transaction."""
        if milliseconds != self.milliseconds:
            plans = "force_generic_plan" if milliseconds else "auto"
            self.execute(
                "SELECT set_config('statement_timeout', %s, false), set_config('plan_cache_mode', %s, false)",
                [str(milliseconds), plans],
            )
            self.milliseconds = milliseconds


class Catalog:
    """The pool of one process. Transactions are opened here and committed at the end of their block.

    Every method raises ServiceUnavailable while Postgres does not answer."""

    def __init__(self, url: str, pool_size: int = 8) -> None:
        self._url = url
        self._lost_at = -float("inf")
        self._pool = ConnectionPool[_Pooled](
            url,
            connection_class=_Pooled,
            min_size=1,
            max_size=pool_size,
            open=False,
            timeout=10,
            # A pool that finds its server gone must not hand out dead connections once it is back.
            check=self._check,
            kwargs={"application_name": "mindset", "connect_timeout": 5, "options": _OPTIONS, **_CLIENT_KEEPALIVES},
        )

    def __enter__(self) -> Self:
        self._pool.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give all connections back."""
        self._pool.close()

    @contextmanager
    def reading(self, seconds: float = 0) -> Iterator[Connection]:
        """One read-only transaction: all its statements see the same moment, and take at most `seconds` each, 0 for as long as
        they need."""
        with _reachable(), self._connection(round(seconds * 1000)) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            try:
                yield connection
            finally:
                connection.rollback()
                connection.read_only = None
                connection.isolation_level = None

    @contextmanager
    def glancing(self, seconds: float = GLANCE_S) -> Iterator[Connection]:
        """A connection for single reading statements of at most `seconds` each, without a transaction around them: two
        round trips less. Whoever can say it as a function takes `glance`."""
        with _reachable(), self._glancing(seconds) as connection:
            yield connection

    def glance(self, read: Callable[[Connection], T], seconds: float = GLANCE_S) -> T:
        """What `read` makes of single reading statements, as in `glancing`.

        It is called a second time where the server went away since the connection was used last."""
        with _reachable():
            lost_at = self._lost_at
            try:
                with self._glancing(seconds) as connection:
                    return read(connection)
            except (PoolTimeout, psycopg.errors.QueryCanceled):
                raise
            except psycopg.OperationalError:
                if self._lost_at == lost_at:
                    raise
            with self._glancing(seconds) as connection:
                return read(connection)

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """One transaction, committed at the end of the block, rolled back when it raises."""
        with _reachable(), self._connection() as connection:
            yield Writing(connection)

    @contextmanager
    def _glancing(self, seconds: float) -> Iterator[_Pooled]:
        with self._connection(max(1, round(seconds * 1000)), autocommit=True) as connection:
            yield connection

    @contextmanager
    def _connection(self, milliseconds: int = 0, *, autocommit: bool = False) -> Iterator[_Pooled]:
        """A connection of the pool whose statements are so bounded."""
        with self._pool.connection() as connection:
            try:
                if autocommit or milliseconds != connection.milliseconds:
                    connection.autocommit = True
                    connection.bound(milliseconds)
                    connection.autocommit = autocommit
                yield connection
            finally:
                if connection.broken:
                    self._lost_at = time.monotonic()
                elif autocommit:
                    connection.autocommit = False
                connection.used_at = time.monotonic()

    def _check(self, connection: _Pooled) -> None:
        """Raise unless the server is still there; not asked of a connection that was used a moment ago.

        That saves a round trip a statement. Once one connection is lost, all that were used before are asked."""
        if connection.used_at < max(self._lost_at, time.monotonic() - _TRUSTED_S):
            ConnectionPool.check_connection(connection)

    def build_lock(self, kb: str) -> BuildLock:
        """The lock that lets one build of a knowledge base run at a time."""
        return BuildLock(self._url, kb)


class BuildLock:
    """An advisory lock on a connection of its own: it ends with the process, however that ends."""

    def __init__(self, url: str, kb: str) -> None:
        self._url, self._kb = url, kb
        self._application = f"mindset build {kb}"
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        self.ensure()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection:
            # Closing alone leaves the lock until the server notices, and a build right after this one would be refused.
            with suppress(psycopg.Error):  # a server that went away took the lock along
                self._connection.execute("SELECT pg_advisory_unlock_all()")
            self._connection.close()

    def ensure(self) -> None:
        """Take the lock, or take it again if Postgres went away since. Raises BuildInProgress, ServiceUnavailable."""
        if self._connection and self._alive(self._connection):
            return
        with _reachable():
            # The client's keepalives tell it of a server that vanished, so that it takes the lock again elsewhere.
            self._connection = psycopg.connect(
                self._url, autocommit=True, application_name=self._application, connect_timeout=5,
                options=_SERVER_KEEPALIVES, keepalives_idle=30, keepalives_interval=10, keepalives_count=3,
                tcp_user_timeout=60_000,
            )  # fmt: skip
            if not scalar(
                self._connection, "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", f"build {self._kb}"
            ):
                since = self._since(self._connection)
                self._connection.close()
                raise BuildInProgress(
                    f"Another build of {self._kb} is running{since}. Wait for it to end, or cancel it in the Prefect UI."
                )

    def _since(self, connection: Connection) -> str:
        """Since when and from where the lock is held, as far as this role may see it."""
        held = connection.execute(
            """SELECT to_char(backend_start, 'YYYY-MM-DD HH24:MI TZ'), host(client_addr)
               FROM pg_stat_activity JOIN pg_locks USING (pid)
               WHERE locktype = 'advisory' AND granted AND database = datid AND datname = current_database()
                 AND application_name = left(%s, 63) AND backend_start IS NOT NULL""",
            [self._application],
        ).fetchone()
        return f" since {held[0]}, from {held[1] or 'this machine'}" if held else ""

    @staticmethod
    def _alive(connection: Connection) -> bool:
        try:
            return bool(scalar(connection, "SELECT true"))
        except psycopg.Error:
            return False


def is_migrated(connection: Connection) -> bool:
    """Whether the schema is as new as this release needs."""
    return bool(
        scalar(connection, "SELECT to_regclass('alembic_version')")
        and (scalar(connection, "SELECT max(version_num) FROM alembic_version") or "") >= SCHEMA
    )


def rows(connection: Connection, statement: LiteralString, **parameters: Any) -> list[Any]:
    """All rows of a statement, as tuples."""
    return connection.execute(statement, parameters).fetchall()


def scalar(connection: Connection, statement: LiteralString, *parameters: Any) -> Any:
    """The first column of the first row; None where there is none."""
    found = connection.execute(statement, parameters).fetchone()
    return found[0] if found else None


def copy_rows(connection: Writing, target: LiteralString, types: list[str], records: Iterator[tuple[Any, ...]]) -> int:
    """COPY records into `target` (`table (columns)`) in binary; returns their number."""
    count = 0
    with connection.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(types)
        for record in records:
            copy.write_row(record)
            count += 1
    return count


@contextmanager
def _reachable() -> Iterator[None]:
    """Where psycopg's errors become ours."""
    try:
        yield
    except PoolTimeout:
        raise ServiceUnavailable(
            "Postgres gives no connection within 10 s. Check that it runs and is the one of MINDSET_POSTGRES_URL, and its "
            "load; where only this process has too few connections, raise MINDSET_POSTGRES_POOL_SIZE."
        ) from None
    except psycopg.errors.QueryCanceled as late:
        raise ServiceUnavailable(
            "Postgres was not done with a statement in the time that it had. Try again; raise retrieval.deadline_s "
            "where a search needs longer."
        ) from late
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as older:
        raise ServiceUnavailable(
            f"The catalog's schema is not the one of this release: {older.diag.message_primary}. Run `mindset migrate`."
        ) from older
    except psycopg.DataError as wrong:
        raise RequestRejected(f"A value cannot be used in a query: {wrong}. Correct it.") from None
    except (psycopg.OperationalError, psycopg.InterfaceError) as lost:
        if isinstance(lost, psycopg.errors.DiskFull):
            raise ServiceUnavailable(
                f"Postgres has no disk space left: {lost.diag.message_primary}. Free some; the next night resumes."
            ) from lost
        if lost.sqlstate and not lost.sqlstate.startswith(_ENDING):
            raise ServiceUnavailable(
                f"Postgres could not do that now: {lost}. Try again; look at its load and its log."
            ) from lost
        raise ServiceUnavailable(
            f"Postgres does not answer: {lost}. Start it, or correct MINDSET_POSTGRES_URL."
        ) from lost
