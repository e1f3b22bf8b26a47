"""Ports on the loopback interface: requested, reused from the last start, or free ones."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping

from mindset.errors import StackError

# Below the ephemeral ranges of Linux and macOS, so that no outgoing connection takes a port before the server starts.
_FIRST, _LAST = 20_000, 32_000


def choose(names: Iterable[str], *, fixed: Mapping[str, int], remembered: Mapping[str, int]) -> dict[str, int]:
    """Choose a free port for each name: its fixed port, else its `remembered` one, else any.

    Raises StackError if a fixed port is in use."""
    chosen: dict[str, int] = {}
    for name in names:
        if name in fixed:
            if not free(fixed[name]):
                raise StackError(
                    f"Port {fixed[name]} for {name} is in use. "
                    "Stop the process that uses it, or choose another port, or leave the port out."
                )
            chosen[name] = fixed[name]
        else:
            last = remembered.get(name)
            taken = {*chosen.values(), *fixed.values()}
            chosen[name] = last if last and last not in taken and free(last) else _random_port(taken)
    return chosen


def free(port: int) -> bool:
    """Return whether a server can listen on the port now."""
    with socket.socket() as probe:
        # As servers do: connections in TIME_WAIT do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _random_port(taken: set[int]) -> int:
    for _ in range(1_000):
        port = random.randrange(_FIRST, _LAST)  # noqa: S311 # not used for secrets
        if port not in taken and free(port):
            return port
    raise StackError(
        f"No free port between {_FIRST} and {_LAST} on 127.0.0.1. Stop processes that use them, or choose ports."
    )
