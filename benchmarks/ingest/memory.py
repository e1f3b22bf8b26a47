"""Peak memory of a process. On Linux the kernel records it; elsewhere it is getrusage's maximum, for this process only."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path


def peak_bytes(pid: int | None = None) -> int:
    """Return a process's peak memory since its start or `forget_peak`; None: this process. 0 if the process has ended."""
    status = Path(f"/proc/{pid or os.getpid()}/status")
    # Not getrusage: a child inherits the maximum of its parent.
    with suppress(OSError):
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if pid is None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return 0


def forget_peak() -> None:
    """Reset the recorded peak of this process, if the system supports it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
