"""`stack.json`: the servers of a directory and their addresses. The supervisor writes it; other processes read it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from local_stack import lock
from local_stack.addresses import Addresses, Need, with_addresses
from mindset.config.settings import Settings


@dataclass(frozen=True)
class ServerState:
    """The current process of a server."""

    pid: int
    port: int | None
    log: str
    started_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class StackState:
    """The state of a stack; `ready` once every server answers."""

    directory: str
    supervisor: int
    ready: bool
    addresses: Addresses
    servers: dict[str, ServerState] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    """Kept when the stack stops, so that the next start uses the same addresses."""


def write(state: StackState) -> None:
    """Replace the file atomically, so that a reader sees either the old or the new state."""
    path = _path(Path(state.directory))
    temporary = path.with_suffix(".new")
    # Readable by the owner only: an address from the settings may contain a password.
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(state), file, indent=2)
    temporary.replace(path)


def read(directory: Path) -> StackState | None:
    """Return the last written state, even if the stack no longer runs; None if there is no valid file."""
    try:
        raw = json.loads(_path(directory).read_text())
        return StackState(
            directory=raw["directory"],
            supervisor=raw["supervisor"],
            ready=raw["ready"],
            addresses=Addresses(**raw["addresses"]),
            servers={name: ServerState(**server) for name, server in raw["servers"].items()},
            ports=raw["ports"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def supervised(directory: Path) -> StackState | None:
    """Return the state of the directory's stack if its supervisor is running, ready or not; otherwise None."""
    state = read(directory)
    if state is None or state.supervisor != lock.holder(directory):
        return None
    return state


def running(directory: Path) -> StackState | None:
    """Return the state of the directory's stack if its supervisor is running and every server was ready; otherwise None."""
    state = supervised(directory)
    return state if state is not None and state.ready else None


def connect(settings: Settings, *needs: Need) -> Settings:
    """Return the settings with missing addresses taken from the stack that runs in their directory.

    Raises StackError naming the first server in `needs` that has no address, and what to do."""
    state = running(settings.directory)
    return with_addresses(settings, state.addresses if state else Addresses(), needs)


def _path(directory: Path) -> Path:
    return directory / "stack.json"
