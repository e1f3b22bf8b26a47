"""The namespace of this installation in Redis."""

from __future__ import annotations

import threading
import time

import structlog

from mindset.catalog.installation import InstallationRecord, read_installation
from mindset.catalog.pool import Catalog
from mindset.errors import MindsetError

_log = structlog.get_logger()

_REFRESH_S = 5.0
_RETRY_S = 1.0
_FIRST_TIMEOUT_S = 1.0
_REFRESH_TIMEOUT_S = 0.2  # less, because the previous value will do


class RedisNamespace:
    """Returns the installation's namespace when called. Thread-safe.

    The id is read again every few seconds, because `mindset installation renew` may change it. Cache keys do not rely on
    that: they also contain the id that was read together with the release."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._namespace: str | None = None
        self._refresh_at = -float("inf")

    def __call__(self) -> str | None:
        """Return the namespace, or None if it could never be read because Postgres is unavailable."""
        if time.monotonic() < self._refresh_at:
            return self._namespace
        # Only one thread reads it again. The others wait for it only if they have no namespace yet.
        if self._lock.acquire(blocking=self._namespace is None):
            try:
                if time.monotonic() >= self._refresh_at:
                    self._refresh()
            finally:
                self._lock.release()
        return self._namespace

    def _refresh(self) -> None:
        timeout_s = _FIRST_TIMEOUT_S if self._namespace is None else _REFRESH_TIMEOUT_S
        try:
            self._namespace = _name(self._catalog.read_once(read_installation, timeout_s))
        except MindsetError as error:
            _log.warning("installation could not be read", error=str(error))
            self._refresh_at = time.monotonic() + _RETRY_S
        else:
            self._refresh_at = time.monotonic() + _REFRESH_S


def _name(installation: InstallationRecord) -> str:
    """Return an installation's namespace. A copy of a database does not share that of the original."""
    return f"{installation.id}-copy-{installation.database}" if installation.is_copy else installation.id
