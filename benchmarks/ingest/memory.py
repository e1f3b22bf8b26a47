"""Peak memory of a process, by what Linux counts; elsewhere it is a sample of what is in use."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path


def peak_bytes(pid: int | None = None) -> int:
    """The most memory that a process (this one) has held since its start, or since `forget_peak`; 0 if it is gone."""
    status = Path(f"/proc/{pid or os.getpid()}/status")
    # Not getrusage: its maximum begins with that of the process which started this one.
    with suppress(OSError):
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if pid is None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return 0


def forget_peak() -> None:
    """Count this process's peak from here, where that can be done."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
