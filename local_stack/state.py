"""`stack.json`: what runs in a directory and where it answers, written by the supervisor for everybody else."""

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
    """One server's process, as last started."""

    pid: int
    port: int | None
    log: str
    started_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class StackState:
    """One stack; `ready` once everything answers."""

    directory: str
    supervisor: int
    ready: bool
    addresses: Addresses
    servers: dict[str, ServerState] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    """Kept when the stack stops, so that the next start answers on the same addresses."""


def write(state: StackState) -> None:
    """Replace the file at once: a reader sees the old state or the new one, never half of one."""
    path = _path(Path(state.directory))
    fresh = path.with_suffix(".new")
    # An address from the settings may carry a password.
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(state), file, indent=2)
    fresh.replace(path)


def read(directory: Path) -> StackState | None:
    """What was last written, whether or not it still runs; None if nothing, or nothing legible, was."""
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
    """The stack that a living supervisor keeps in the directory, ready or still starting."""
    state = read(directory)
    if state is None or state.supervisor != lock.holder(directory):
        return None
    return state


def running(directory: Path) -> StackState | None:
    """The stack of the directory, if its supervisor lives and everything has answered."""
    state = supervised(directory)
    return state if state is not None and state.ready else None


def connect(settings: Settings, *needs: Need) -> Settings:
    """The settings with unset addresses filled from the stack that runs in their directory.

    Raises StackError naming the first of `needs` that has no address and how to give it one."""
    state = running(settings.directory)
    return with_addresses(settings, state.addresses if state else Addresses(), needs)


def _path(directory: Path) -> Path:
    return directory / "stack.json"
