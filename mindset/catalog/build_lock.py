"""The build lock: one build of a knowledge base at a time."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

import psycopg
import structlog

from mindset.catalog.build import Build, fence
from mindset.catalog.connection_options import merged_options
from mindset.catalog.errors import translated_errors
from mindset.catalog.installation import own_id
from mindset.catalog.transactions import Connection, scalar
from mindset.errors import BuildInProgress, BuildTakenOver

if TYPE_CHECKING:
    from mindset.catalog.pool import Catalog

_log = structlog.get_logger()

# Without server-side keepalives, Postgres holds the lock of a machine that disappeared for two hours instead of a minute.
_SERVER_KEEPALIVES = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"


# A build's longest transaction: maintenance that deletes what retired versions used. An orphan's transaction that takes longer
# belongs to a process that is paused or disconnected, and would block the next build forever.
TAKE_OVER_S = 60.0


class BuildLock:
    """An advisory lock on a dedicated connection, so that it is released when the process ends for whatever reason.

    Whoever acquires it begins a build with a new token. The previous build's transactions are given `take_over_s` seconds
    to end; then their sessions are terminated."""

    def __init__(
        self,
        catalog: Catalog,
        url: str,
        kb: str,
        holder: str = "",
        take_over_s: float | None = None,
        *,
        allow_copy: bool = False,
    ) -> None:
        self._catalog, self._url, self._kb, self._name = catalog, url, kb, holder
        self._allow_copy = allow_copy
        self._take_over_s = TAKE_OVER_S if take_over_s is None else take_over_s
        self._application = f"mindset build {kb}"
        self._connection: Connection | None = None
        self._token: int | None = None

    @property
    def build(self) -> Build:
        """The build that holds the lock. Pass it to the stages."""
        assert self._token is not None, "the lock was never acquired"
        return Build(self._catalog, self._kb, self._token)

    def __enter__(self) -> Self:
        self.ensure()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection:
            # Without unlocking, the server holds the lock until it notices the closed connection and rejects the next build.
            with suppress(psycopg.Error):  # if the server is gone, so is the lock
                self._connection.execute("SELECT pg_advisory_unlock_all()")
            self._connection.close()

    def ensure(self) -> None:
        """Acquire the lock; reacquire it if Postgres was restarted.

        Raises BuildInProgress, ServiceUnavailable, and BuildTakenOver if another build ran while the lock was lost.
        Raises CopiedDatabase if the installation's id was written in another database, unless a copy is allowed."""
        if self._connection and self._is_alive(self._connection):
            return
        with translated_errors():
            # The client's keepalives detect a server that disappeared, so that the lock is reacquired on its successor.
            self._connection = psycopg.connect(
                self._url, autocommit=True, application_name=self._application, connect_timeout=5,
                options=merged_options(self._url, _SERVER_KEEPALIVES),
                keepalives_idle=30, keepalives_interval=10, keepalives_count=3,
                tcp_user_timeout=60_000,
            )  # fmt: skip
            if not scalar(
                self._connection, "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", f"build {self._kb}"
            ):
                holder = self._holder(self._connection)
                self._connection.close()
                raise BuildInProgress(
                    f"Another build of {self._kb} is running{holder}. Wait for it to end, or cancel it in the Prefect UI."
                )
            try:
                if not self._allow_copy:
                    own_id(self._connection)
                if self._token is None:
                    self._token = self._next_token(self._connection)
                else:
                    self._check_token(self._connection, self._token)
            except BaseException:
                self._connection.close()  # `__exit__` is not called if `__enter__` fails
                raise

    def _next_token(self, connection: Connection) -> int:
        """Take over from the previous build: from here on, its transactions fail."""
        connection.execute(
            "SELECT set_config('lock_timeout', %s, false)", [str(max(1, round(self._take_over_s * 1000)))]
        )
        try:
            return self._increase_token(connection)
        except psycopg.errors.LockNotAvailable:
            self._terminate_transactions(connection)
            return self._increase_token(connection)

    def _increase_token(self, connection: Connection) -> int:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 6))", [fence(self._kb)])
            return int(
                scalar(
                    connection,
                    """INSERT INTO build (kb, token, holder) VALUES (%s, 1, %s)
                       ON CONFLICT (kb) DO UPDATE SET
                         token = build.token + 1, holder = EXCLUDED.holder, started_at = now() RETURNING token""",
                    self._kb,
                    self._name,
                )
            )

    def _terminate_transactions(self, connection: Connection) -> None:
        """End the sessions whose transactions hold the fence. Their build has lost the lock, so they are orphans."""
        terminated = connection.execute(
            """SELECT pid, pg_terminate_backend(pid) FROM pg_locks
               WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid <> pg_backend_pid()
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                 AND ((classid::bigint << 32) | objid::bigint) = hashtextextended(%s, 6)""",
            [fence(self._kb)],
        ).fetchall()
        _log.warning(
            "terminated transactions of the previous build", kb=self._kb, sessions=[pid for pid, _ in terminated]
        )

    def _check_token(self, connection: Connection, token: int) -> None:
        current = scalar(connection, "SELECT token FROM build WHERE kb = %s", self._kb)
        if current != token:
            raise BuildTakenOver(
                f"Build {token} of {self._kb} lost its lock, and build {current} ran meanwhile. Run the night again; it "
                "continues from there."
            )

    def _holder(self, connection: Connection) -> str:
        """Return since when and from where the lock is held, as far as this role may see it."""
        held = connection.execute(
            """SELECT to_char(backend_start, 'YYYY-MM-DD HH24:MI TZ'), host(client_addr)
               FROM pg_stat_activity JOIN pg_locks USING (pid)
               WHERE locktype = 'advisory' AND granted AND database = datid AND datname = current_database()
                 AND application_name = left(%s, 63) AND backend_start IS NOT NULL""",
            [self._application],
        ).fetchone()
        return f" since {held[0]}, from {held[1] or 'this machine'}" if held else ""

    @staticmethod
    def _is_alive(connection: Connection) -> bool:
        try:
            return bool(scalar(connection, "SELECT true"))
        except psycopg.Error:
            return False
