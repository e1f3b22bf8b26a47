"""A server as a child process, with its log."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from local_stack.health import is_healthy
from local_stack.processes import stack_variable
from local_stack.servers import ServerSpec, StackContext
from local_stack.state import ServerState

_LOG_LIMIT: Final = 20_000_000  # bytes; a longer log is renamed to `.log.1` at the next start


class Child:
    """One server and its current process, which is replaced at a restart."""

    def __init__(self, server: ServerSpec, context: StackContext) -> None:
        self.server = server
        self.log = context.directory / "logs" / f"{server.name}.log"
        self.ready = False
        self._context = context
        self._process: subprocess.Popen[bytes] | None = None
        self._log_offset = 0
        self._started_at = 0.0
        self._deadline = 0.0
        self._death_reported = False

    def start(self) -> None:
        """Start the process; call `check` until it is ready."""
        self.log.parent.mkdir(exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        self.ready = self._death_reported = False
        self._started_at = time.time()
        self._deadline = time.monotonic() + self.server.deadline_s
        with self.log.open("ab") as log:
            self._log_offset = log.tell()
            self._process = subprocess.Popen(
                self.server.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._context.project,
                env={**self.server.environment, **stack_variable(self._context.directory)},
                # Ctrl-C in the terminal is for the supervisor, which stops the servers in order.
                start_new_session=True,
            )

    def check(self) -> None:
        """Update `ready`: whether the server answers."""
        self.ready = is_healthy(self.server.name, self._context.addresses, self._started_at)

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def succeeded(self) -> bool:
        """Whether the process has ended with exit status 0."""
        return self._process is not None and self._process.poll() == 0

    @property
    def overdue(self) -> bool:
        """Whether the server does not answer and its deadline has passed."""
        return not self.ready and time.monotonic() > self._deadline

    @property
    def state(self) -> ServerState:
        """The process's entry in `stack.json`."""
        pid = self._process.pid if self._process else 0
        return ServerState(pid, self.server.port, str(self.log), self._started_at)

    def report_death(self) -> bool:
        """Return True the first time it is called after the process died."""
        new = not self.alive and not self._death_reported
        self._death_reported = True
        return new

    def exit_description(self) -> str:
        """Describe how the process ended, for messages."""
        code = self._process.returncode if self._process else None
        if code is None:
            return "still running"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def tail(self, lines: int = 20) -> str:
        """Return the last lines that the current process wrote to the log."""
        return tail(self.log, lines, self._log_offset)

    def request_stop(self) -> None:
        """Send the server's stop signal."""
        if self._process is not None and self.alive:
            self._process.send_signal(self.server.stop_signal)

    def wait(self, deadline: float) -> None:
        """Wait until the process has ended; kill it at the deadline (a `time.monotonic` value)."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()

    def kill(self) -> None:
        """Kill the process and its group."""
        if self._process is not None and self.alive:
            os.killpg(self._process.pid, signal.SIGKILL)


def tail(log: Path, lines: int = 20, offset: int = 0) -> str:
    """Return the last lines of a log, ignoring the first `offset` bytes."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(offset, end - 64_000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:]) or "(empty)"
    except OSError:
        return "(no log)"
