"""A server that accepts connections and never sends a byte: the slowest way to fail."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest


class SilentServer:
    """Accepts connections, counts them, and sends nothing."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._accepted: list[socket.socket] = []
        listening.setblocking(False)
        self.url = f"redis://127.0.0.1:{listening.getsockname()[1]}/0"

    def connections(self) -> int:
        """Return the number of connections so far."""
        while True:
            try:
                self._accepted.append(self._listening.accept()[0])
            except BlockingIOError:
                return len(self._accepted)

    def close(self) -> None:
        """Close all connections."""
        for connection in (*self._accepted, self._listening):
            connection.close()


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    """A silent server on a free port."""
    server = SilentServer(socket.create_server(("127.0.0.1", 0), backlog=128))
    yield server
    server.close()
