"""The current health of a stack's servers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from local_stack import state
from local_stack.health import is_healthy


@dataclass(frozen=True)
class ServerStatus:
    """The health of a server when it was checked."""

    name: str
    pid: int
    port: int | None
    healthy: bool
    uptime_s: float
    log: Path


def status(directory: Path) -> list[ServerStatus]:
    """Check the stack's servers, in the order of their start; empty if no stack is running."""
    stack = state.supervised(directory)
    if stack is None:
        return []
    return [
        ServerStatus(
            name=name,
            pid=server.pid,
            port=server.port,
            healthy=is_healthy(name, stack.addresses, server.started_at),
            uptime_s=time.time() - server.started_at,
            log=Path(server.log),
        )
        for name, server in stack.servers.items()
    ]
