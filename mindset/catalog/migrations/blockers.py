"""Which sessions a migration waits for."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import psycopg

_INTERVAL_S = 0.05


class Blockers:
    """Watches in a thread which sessions block the backend `pid`, since they are unknown once its statement was cancelled."""

    def __init__(self, url: str, pid: int) -> None:
        self._url, self._pid = url, pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="migration blockers", daemon=True)
        self._seen: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def __str__(self) -> str:
        return "; ".join(self._seen) or "an unknown session"

    def _watch(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True, application_name="mindset migrate watch") as connection:
                while not self._over.wait(_INTERVAL_S):
                    found = connection.execute(
                        """SELECT format('pid %%s (%%s, user %%s, %%s, transaction since %%s)', pid,
                             coalesce(nullif(application_name, ''), backend_type), usename, coalesce(state, 'unknown state'),
                             to_char(xact_start, 'YYYY-MM-DD HH24:MI:SS TZ'))
                           FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids(%s)) ORDER BY xact_start""",
                        [self._pid],
                    ).fetchall()
                    if found:
                        self._seen = [text for (text,) in found]
        except psycopg.Error:
            return  # the migration itself reports that the server is gone
