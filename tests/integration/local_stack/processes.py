"""The processes that run on behalf of a stack's directory."""

from __future__ import annotations

from pathlib import Path

import psutil

from local_stack.processes import stack_processes


def processes_of(directory: Path) -> list[str]:
    """Return the command lines of processes that mention the directory, work in it, or carry its mark."""
    lines = []
    ours = {process.pid for process in stack_processes(directory)}
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if process.pid in ours or str(directory) in line or process.cwd().startswith(str(directory)):
                lines.append(line)
        except psutil.Error:
            continue  # it has ended meanwhile
    return lines
