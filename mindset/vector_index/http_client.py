"""A minimal HTTP client for Chroma's API that sends a request now and reads the response later."""

from __future__ import annotations

import base64
import http.client
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from mindset.tracing import start_client_span

_CONNECT_S = 2.0

# Idle connections to keep; a process rarely runs more searches than this at a time.
_MAX_IDLE = 64

_HEADERS = {"content-type": "application/json"}

T = TypeVar("T")

ConnectionLost = (OSError, http.client.HTTPException)
"""Raised when the server is unreachable, too slow, or does not speak HTTP."""


@dataclass(frozen=True, slots=True)
class Response:
    """Status and body of an HTTP response."""

    status: int
    body: bytes


class ConnectionPool:
    """Idle connections to one server. Thread-safe.

    Uses the standard library's client because it separates sending from reading: in between, a search runs its
    full-text half, and the server searches several segments at the same time without a thread for each."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection_class = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._path = parts.hostname or "localhost", parts.port, parts.path.rstrip("/")
        self.headers = _HEADERS | basic_authentication(url)
        self._idle: deque[http.client.HTTPConnection] = deque(maxlen=_MAX_IDLE)
        self._lock = threading.Lock()

    def send(self, method: str, path: str, body: bytes | None, timeout_s: float) -> PendingRequest:
        """Send a request. Raises one of `ConnectionLost`."""
        return PendingRequest(self, method, f"{self._path}{path}", body, timeout_s)

    @property
    def connected(self) -> bool:
        """Whether an idle connection exists."""
        return bool(self._idle)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def take_idle(self) -> http.client.HTTPConnection | None:
        """Return the idle connection that was used last, if there is one. The server may have closed it meanwhile."""
        with self._lock:
            return self._idle.pop() if self._idle else None

    def open(self, timeout_s: float) -> http.client.HTTPConnection:
        """Open a new connection."""
        connection = self._connection_class(self._host, self._port, timeout=min(_CONNECT_S, timeout_s))
        connection.connect()
        return connection

    def release(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection whose response was read completely."""
        with self._lock:
            if connection.sock is not None and len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()


def basic_authentication(url: str) -> dict[str, str]:
    """Return the header for the user and password in a URL; nothing if there are none."""
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}


class PendingRequest:
    """A request that was sent. Read its response, or cancel it."""

    def __init__(self, pool: ConnectionPool, method: str, path: str, body: bytes | None, timeout_s: float) -> None:
        self._pool, self._request, self._timeout_s = pool, (method, path, body, pool.headers), timeout_s
        idle = pool.take_idle()
        self._reused, self._finished = idle is not None, False
        self._connection = idle or pool.open(timeout_s)
        self._span = start_client_span("chroma", path.rpartition("/")[2])
        self._with_reconnect(self._send)

    def read(self, timeout_s: float | None = None) -> Response:
        """Wait for the response and return it. Raises one of `ConnectionLost`."""
        if timeout_s is not None:
            self._timeout_s = timeout_s
        return self._with_reconnect(self._read)

    def cancel(self) -> None:
        """Close the connection, unless the response has been read."""
        if not self._finished:
            self._finished = True
            self._connection.close()
            self._span.end()

    def _with_reconnect(self, step: Callable[[], T]) -> T:
        """Run a step, and repeat it on a new connection if the server closed a reused one. Searching is idempotent."""
        try:
            try:
                return step()
            except (ConnectionError, http.client.HTTPException):
                if not self._reused:
                    raise
            self._reused = False
            self._connection.close()
            self._connection = self._pool.open(self._timeout_s)
            if step == self._read:
                self._send()
            return step()
        except BaseException:
            self.cancel()
            raise

    def _send(self) -> None:
        self._connection.sock.settimeout(self._timeout_s)
        self._connection.request(*self._request)

    def _read(self) -> Response:
        self._connection.sock.settimeout(self._timeout_s)
        response = self._connection.getresponse()
        result = Response(response.status, response.read())
        self._finished = True
        self._span.set_attribute("http.response.status_code", result.status)
        self._span.end()
        self._pool.release(self._connection)
        return result
