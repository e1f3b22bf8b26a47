"""Find and stop all processes of a stack.

Process groups and parents are not enough: Postgres' backends and Prefect's flow runs start new sessions, and a process
whose parent dies gets another parent. Every child therefore inherits an environment variable that names the directory.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

import psutil

_VARIABLE: Final = "MINDSET_STACK"
# Programs that overwrite their environment with their process title, and their working directory within the stack.
_FOLDER_OF: Final = {"postgres": "postgres", "valkey-server": "valkey"}
_POLL_S: Final = 0.05


def stack_variable(directory: Path) -> dict[str, str]:
    """Return the environment variable by which `stack_processes` finds a child and its descendants."""
    return {_VARIABLE: str(directory.resolve())}


def environment_outside_stack() -> dict[str, str]:
    """Return this process's environment without the variable, for processes that outlive the stack."""
    return {name: value for name, value in os.environ.items() if name != _VARIABLE}


def stack_processes(directory: Path) -> list[psutil.Process]:
    """Return the running processes of the stack, except this process and its ancestors."""
    value = str(directory.resolve())
    ancestors = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in ancestors and (
                process.environ().get(_VARIABLE) == value or _works_in(directory, process)
            ):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # ended, a zombie, or another user's
    return found


def backends(data: Path) -> list[psutil.Process]:
    """Return the Postgres processes of a data directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and _works_in(data.parent, process):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def stop_all(directory: Path, grace_s: float) -> None:
    """Send a stop signal to every process of the stack; kill those still running after `grace_s` seconds."""
    deadline = time.monotonic() + grace_s
    signalled: set[int] = set()
    empty_scans = 0
    # Two empty scans in a row, because a child has no variable of its own between fork and exec.
    while empty_scans < 2:
        found = stack_processes(directory)
        empty_scans = 0 if found else empty_scans + 1
        expired = time.monotonic() > deadline
        for process in found:
            if expired or process.pid not in signalled:
                _signal(process, signal.SIGKILL if expired else _stop_signal(process))
                signalled.add(process.pid)
        time.sleep(_POLL_S)


def kill(processes: list[psutil.Process]) -> None:
    """Kill the processes and wait until they have ended."""
    for process in processes:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=5)


def _stop_signal(process: psutil.Process) -> signal.Signals:
    # On SIGTERM Postgres waits for its clients to disconnect; on SIGINT it disconnects them and shuts down cleanly.
    return signal.SIGINT if _name(process) == "postgres" else signal.SIGTERM


def _works_in(directory: Path, process: psutil.Process) -> bool:
    folder = _FOLDER_OF.get(process.name())
    return folder is not None and process.cwd() == str(directory.resolve() / folder)


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return
