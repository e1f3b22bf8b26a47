"""A server that takes connections and says nothing, which is the worst that a server can do."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest


class SilentServer:
    """It counts who has tried."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._taken: list[socket.socket] = []
        listening.setblocking(False)
        self.url = f"redis://127.0.0.1:{listening.getsockname()[1]}/0"

    def connections(self) -> int:
        """How many there were until now."""
        while True:
            try:
                self._taken.append(self._listening.accept()[0])
            except BlockingIOError:
                return len(self._taken)

    def close(self) -> None:
        """Hang up."""
        for each in (*self._taken, self._listening):
            each.close()


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    """One on a port of its own."""
    server = SilentServer(socket.create_server(("127.0.0.1", 0), backlog=128))
    yield server
    server.close()
