"""A process that stops the servers if the supervisor is killed, since SIGKILL cannot be caught."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from local_stack import lock
from local_stack.processes import environment_outside_stack, stop_all
from mindset.errors import StackError

_POLL_S: Final = 0.25
_GRACE_S: Final = 5.0


def start(directory: Path, project: Path) -> subprocess.Popen[bytes]:
    """Start a watchdog for this process, in a new session so that Ctrl-C does not reach it."""
    return subprocess.Popen(
        [sys.executable, "-m", "local_stack.watchdog", str(directory), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=project,
        env=environment_outside_stack(),
        start_new_session=True,
    )


def watch(directory: Path, supervisor: int) -> None:
    """Wait until the supervisor ends, then stop the rest of its stack.

    When the supervisor dies, this process gets another parent. Unlike a pid, that cannot be mistaken."""
    while os.getppid() == supervisor:
        time.sleep(_POLL_S)
    try:
        # With the lock held, so that it cannot stop the servers of the next supervisor.
        with lock.hold(directory, cleaning=True):
            stop_all(directory, _GRACE_S)
    except StackError:
        return  # the next supervisor already runs, and stops them before it starts its own


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    watch(Path(sys.argv[1]), int(sys.argv[2]))
