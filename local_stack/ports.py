"""Ports on the loopback: the ones asked for, the ones of last time, or free ones."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping

from mindset.errors import StackError

# Below Linux's and macOS's ranges for outgoing connections: one of those cannot take the port between choice and start.
_FIRST, _LAST = 20_000, 32_000


def choose(names: Iterable[str], *, fixed: Mapping[str, int], remembered: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name.

    Raises StackError if a fixed one is in use."""
    chosen: dict[str, int] = {}
    for name in names:
        if name in fixed:
            if not free(fixed[name]):
                raise StackError(
                    f"Port {fixed[name]}, asked for {name}, is in use. "
                    "Stop what listens there, or ask for another port or for none."
                )
            chosen[name] = fixed[name]
        else:
            last = remembered.get(name)
            taken = {*chosen.values(), *fixed.values()}
            chosen[name] = last if last and last not in taken and free(last) else _any_but(taken)
    return chosen


def free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As servers do: connections of the last one that are still winding down are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _any_but(taken: set[int]) -> int:
    for _ in range(1_000):
        port = random.randrange(_FIRST, _LAST)  # noqa: S311 -- nothing secret about it
        if port not in taken and free(port):
            return port
    raise StackError(f"No free port between {_FIRST} and {_LAST} on 127.0.0.1. Stop what uses them, or ask for ports.")
