"""A server as a child process: started, watched, ended, its log kept."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from local_stack.health import is_healthy
from local_stack.processes import mark
from local_stack.servers import ServerSpec, StackContext
from local_stack.state import ServerState

_LOG_LIMIT: Final = 20_000_000  # bytes; at its next start a server leaves a longer log behind as `.1`


class Child:
    """One server and the process that is it now; the process may be replaced, the server stays."""

    def __init__(self, server: ServerSpec, place: StackContext) -> None:
        self.server = server
        self.log = place.directory / "logs" / f"{server.name}.log"
        self.ready = False
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self._log_offset = 0
        self._started_at = 0.0
        self._deadline = 0.0
        self._mourned = False

    def start(self) -> None:
        """Start the process; `look` says when it answers."""
        self.log.parent.mkdir(exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        self.ready = self._mourned = False
        self._started_at = time.time()
        self._deadline = time.monotonic() + self.server.deadline_s
        with self.log.open("ab") as log:
            self._log_offset = log.tell()
            self._process = subprocess.Popen(
                self.server.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._place.project,
                env={**self.server.environment, **mark(self._place.directory)},
                # Ctrl-C in the terminal is for the supervisor, which stops the servers in order.
                start_new_session=True,
            )

    def look(self) -> None:
        """Learn whether it has begun to answer."""
        self.ready = is_healthy(self.server.name, self._place.addresses, self._started_at)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def succeeded(self) -> bool:
        """Whether the process has ended, and well."""
        return self._process is not None and self._process.poll() == 0

    @property
    def late(self) -> bool:
        """Whether it should have answered by now."""
        return not self.ready and time.monotonic() > self._deadline

    @property
    def state(self) -> ServerState:
        """What others may know of it."""
        pid = self._process.pid if self._process else 0
        return ServerState(pid, self.server.port, str(self.log), self._started_at)

    def fresh_death(self) -> bool:
        """Whether it has died and nobody has asked yet; true once a death."""
        fresh = not self.alive and not self._mourned
        self._mourned = True
        return fresh

    def end(self) -> str:
        """In words, how the process ended."""
        code = self._process.returncode if self._process else None
        if code is None:
            return "not ended"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def tail(self, lines: int = 20) -> str:
        """The last lines that this process, not one before it, wrote to its log."""
        return tail(self.log, lines, self._log_offset)

    def ask_to_stop(self) -> None:
        """Send its signal for an orderly end."""
        if self._process is not None and self.alive:
            self._process.send_signal(self.server.stop_signal)

    def wait(self, deadline: float) -> None:
        """Return when it has ended, killing its session's processes if that is not before the deadline (monotonic)."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()

    def kill(self) -> None:
        """End it and the processes of its group at once."""
        if self._process is not None and self.alive:
            os.killpg(self._process.pid, signal.SIGKILL)


def tail(log: Path, lines: int = 20, offset: int = 0) -> str:
    """The last lines of a log, from `offset` bytes on."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(offset, end - 64_000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:]) or "(empty)"
    except OSError:
        return "(no log)"
