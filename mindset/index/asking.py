"""Questions to Chroma's HTTP API: each is sent at once, and its answer read when it is wanted."""

from __future__ import annotations

import http.client
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from mindset.tracing import asked_of

_CONNECT_S = 2.0

# Kept-alive connections; more than a process's searches at a time would only lie about.
_KEPT = 64

_HEADERS = {"content-type": "application/json"}

T = TypeVar("T")

Lost = (OSError, http.client.HTTPException)
"""What a server that is away, late or garbled raises."""


@dataclass(frozen=True, slots=True)
class Response:
    """Status and body."""

    status: int
    body: bytes


class Server:
    """One server, and the connections to it that are free; thread-safe.

    The standard library's client, since it lets sending and reading be apart: between them a search does its other half,
    and several segments search at the same time, without a thread for each."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._path = parts.hostname or "localhost", parts.port, parts.path.rstrip("/")
        self._free: deque[http.client.HTTPConnection] = deque(maxlen=_KEPT)
        self._freeing = threading.Lock()

    def send(self, method: str, path: str, body: bytes | None, timeout_s: float) -> Asking:
        """Ask; raises one of `Lost`."""
        return Asking(self, method, f"{self._path}{path}", body, timeout_s)

    @property
    def connected(self) -> bool:
        """Whether a connection is free."""
        return bool(self._free)

    def close(self) -> None:
        """Close the connections that are free."""
        with self._freeing:
            while self._free:
                self._free.pop().close()

    def take(self) -> http.client.HTTPConnection | None:
        """A free connection, which the server may have closed meanwhile; the one that was used last, so that others age."""
        with self._freeing:
            return self._free.pop() if self._free else None

    def open(self, timeout_s: float) -> http.client.HTTPConnection:
        """A new connection."""
        connection = self._make(self._host, self._port, timeout=min(_CONNECT_S, timeout_s))
        connection.connect()
        return connection

    def give_back(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection whose answer was read to its end."""
        with self._freeing:
            if connection.sock is not None and len(self._free) < _KEPT:
                self._free.append(connection)
                return
        connection.close()


class Asking:
    """A request that is under way. Read it, or leave it."""

    def __init__(self, server: Server, method: str, path: str, body: bytes | None, timeout_s: float) -> None:
        self._server, self._request, self._timeout_s = server, (method, path, body, _HEADERS), timeout_s
        kept = server.take()
        self._kept, self._over = kept is not None, False
        self._connection = kept or server.open(timeout_s)
        self._span = asked_of("chroma", path.rpartition("/")[2])
        self._twice(self._send)

    def read(self, timeout_s: float | None = None) -> Response:
        """The answer, once it is there; raises one of `Lost`."""
        if timeout_s is not None:
            self._timeout_s = timeout_s
        return self._twice(self._read)

    def leave(self) -> None:
        """Give up on the answer, unless it was read."""
        if not self._over:
            self._over = True
            self._connection.close()
            self._span.end()

    def _twice(self, step: Callable[[], T]) -> T:
        """The step, on a new connection where a server has closed a kept one. Searching twice changes nothing."""
        try:
            try:
                return step()
            except (ConnectionError, http.client.HTTPException):
                if not self._kept:
                    raise
            self._kept = False
            self._connection.close()
            self._connection = self._server.open(self._timeout_s)
            if step == self._read:
                self._send()
            return step()
        except BaseException:
            self.leave()
            raise

    def _send(self) -> None:
        self._connection.sock.settimeout(self._timeout_s)
        self._connection.request(*self._request)

    def _read(self) -> Response:
        self._connection.sock.settimeout(self._timeout_s)
        response = self._connection.getresponse()
        answer = Response(response.status, response.read())
        self._over = True
        self._span.set_attribute("http.response.status_code", answer.status)
        self._span.end()
        self._server.give_back(self._connection)
        return answer
