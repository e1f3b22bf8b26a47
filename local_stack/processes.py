"""Which processes are a stack's, and ending all of them.

Process groups do not suffice: Postgres' backends and Prefect's flow runs open sessions of their own, and whoever loses
its parent is nobody's descendant. So every child inherits a variable that names the directory, and is found by it.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

import psutil

_MARK: Final = "MINDSET_STACK"
# Programs that write their title over their environment, and the folder of the stack in which they then stand.
_TITLED: Final = {"postgres": "postgres", "valkey-server": "valkey"}
_PAUSE_S: Final = 0.05


def mark(directory: Path) -> dict[str, str]:
    """The variable by which `belonging` finds a child and all that it starts."""
    return {_MARK: str(directory.resolve())}


def unmarked() -> dict[str, str]:
    """This process's environment without the mark, for who must outlive the stack."""
    return {name: value for name, value in os.environ.items() if name != _MARK}


def belonging(directory: Path) -> list[psutil.Process]:
    """Living processes of the stack, other than this one and the ones that started it."""
    marked = str(directory.resolve())
    above = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in above and (process.environ().get(_MARK) == marked or _stands_in(directory, process)):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # gone, a zombie, or somebody else's
    return found


def backends(data: Path) -> list[psutil.Process]:
    """Postgres' processes on the data directory of a stack."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and _stands_in(data.parent, process):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end(directory: Path, grace_s: float) -> None:
    """Ask every process of the stack to stop, and kill after `grace_s` what has not."""
    deadline = time.monotonic() + grace_s
    asked: set[int] = set()
    unseen = 0
    # Twice in a row: between fork and exec a child does not carry the mark yet.
    while unseen < 2:
        found = belonging(directory)
        unseen = 0 if found else unseen + 1
        late = time.monotonic() > deadline
        for process in found:
            if late or process.pid not in asked:
                _signal(process, signal.SIGKILL if late else _farewell(process))
                asked.add(process.pid)
        time.sleep(_PAUSE_S)


def kill(processes: list[psutil.Process]) -> None:
    """Kill them and wait until they are gone."""
    for process in processes:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=5)


def _farewell(process: psutil.Process) -> signal.Signals:
    # To Postgres SIGTERM means: once the last client has gone. SIGINT means now, and cleanly.
    return signal.SIGINT if _name(process) == "postgres" else signal.SIGTERM


def _stands_in(directory: Path, process: psutil.Process) -> bool:
    folder = _TITLED.get(process.name())
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
