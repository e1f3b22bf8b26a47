"""A process that outlives the supervisor just long enough to stop what it left: nobody can catch SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from local_stack import lock
from local_stack.processes import end, unmarked
from mindset.errors import StackError

_LOOK_S: Final = 0.25
_GRACE_S: Final = 5.0


def start(directory: Path, project: Path) -> subprocess.Popen[bytes]:
    """Watch over this process, from a session of its own so that Ctrl-C does not reach it."""
    return subprocess.Popen(
        [sys.executable, "-m", "local_stack.watchdog", str(directory), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=project,
        env=unmarked(),
        start_new_session=True,
    )


def watch(directory: Path, supervisor: int) -> None:
    """Return when the supervisor is gone and nothing of its stack is left.

    A child whose parent dies gets another one; that cannot be missed, and no reused pid can hide it."""
    while os.getppid() == supervisor:
        time.sleep(_LOOK_S)
    try:
        # Under the lock, or it would stop what the next supervisor starts.
        with lock.held(directory, cleaning=True):
            end(directory, _GRACE_S)
    except StackError:
        return  # the next supervisor is there already, and cleans up first


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    watch(Path(sys.argv[1]), int(sys.argv[2]))
