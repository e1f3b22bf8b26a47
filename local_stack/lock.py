"""A lock file that limits a directory to one supervisor; the kernel releases it when the process dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mindset.errors import StackError

_READER_S: Final = 1.0  # `holder` takes the lock briefly to see whether it is free
_CLEANING_S: Final = 20.0  # a watchdog holds it while it stops the processes of a killed supervisor
_CLEANING: Final = "cleaning"


@contextmanager
def hold(directory: Path, *, cleaning: bool = False) -> Iterator[None]:
    """Hold the directory's lock for the block.

    Raises StackError, with the supervisor's pid, if another process holds it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(_path(directory), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StackError(
            f"Cannot keep the local stack in {directory}: {error.strerror}. "
            "Make it a writable folder, or name another in MINDSET_DIRECTORY."
        ) from None
    try:
        _wait_for(descriptor, directory)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, (_CLEANING if cleaning else str(os.getpid())).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def holder(directory: Path) -> int | None:
    """Return the pid of the directory's supervisor, or None."""
    try:
        descriptor = os.open(_path(directory), os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_pid(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def already_running(directory: Path, pid: int | None) -> StackError:
    """Return the error for a second supervisor of the directory."""
    return StackError(
        f"A stack is already running in {directory} (supervisor pid {pid}). "
        "Use it, stop it with `mindset down`, or name another folder in MINDSET_DIRECTORY."
    )


def _wait_for(descriptor: int, directory: Path) -> None:
    started = time.monotonic()
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _read_pid(descriptor)
            if time.monotonic() - started > (_READER_S if pid else _CLEANING_S):
                raise already_running(directory, pid) from None
        time.sleep(0.02)


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode()
    return int(text) if text.isdigit() else None


def _path(directory: Path) -> Path:
    return directory / "supervisor.lock"
