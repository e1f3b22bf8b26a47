"""The build lock: one build of a knowledge base at a time."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Self

import psycopg

from mindset.catalog.errors import translated_errors
from mindset.catalog.installation import own_id
from mindset.catalog.transactions import Connection, scalar
from mindset.errors import BuildInProgress, CopiedDatabase

# Without server-side keepalives, Postgres holds the lock of a machine that disappeared for two hours instead of a minute.
_SERVER_KEEPALIVES = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"


class BuildLock:
    """An advisory lock on a dedicated connection, so that it is released when the process ends for whatever reason."""

    def __init__(self, url: str, kb: str, *, allow_copy: bool = False) -> None:
        self._url, self._kb, self._allow_copy = url, kb, allow_copy
        self._application = f"mindset build {kb}"
        self._connection: Connection | None = None

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
        """Acquire the lock; reacquire it if Postgres was restarted. Raises BuildInProgress, ServiceUnavailable.

        Raises CopiedDatabase if the installation's id was written in another database, unless a copy is allowed."""
        if self._connection and self._is_alive(self._connection):
            return
        with translated_errors():
            # The client's keepalives detect a server that disappeared, so that the lock is reacquired on its successor.
            self._connection = psycopg.connect(
                self._url, autocommit=True, application_name=self._application, connect_timeout=5,
                options=_SERVER_KEEPALIVES, keepalives_idle=30, keepalives_interval=10, keepalives_count=3,
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
            if not self._allow_copy:
                try:
                    own_id(self._connection)
                except CopiedDatabase:
                    self._connection.close()
                    raise

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
