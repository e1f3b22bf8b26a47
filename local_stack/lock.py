"""One supervisor a directory: a lock file that the kernel releases when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mindset.errors import StackError

_READER_S: Final = 1.0  # `holder` takes the lock for an instant to see whether it is free
_CLEANING_S: Final = 20.0  # a watchdog holds it while it stops what a killed supervisor left
_CLEANING: Final = "cleaning"


@contextmanager
def held(directory: Path, *, cleaning: bool = False) -> Iterator[None]:
    """Hold the directory until the block ends.

    Raises StackError naming the directory and the pid of the supervisor that holds it already."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(_path(directory), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as wrong:
        raise StackError(
            f"Cannot keep the local stack in {directory}: {wrong.strerror}. "
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
    """Pid of the supervisor that holds the directory; None if there is none."""
    try:
        descriptor = os.open(_path(directory), os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _written(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def refuse_second(directory: Path, pid: int | None) -> StackError:
    """The error of whoever comes second."""
    return StackError(
        f"A stack is already running in {directory} (supervisor pid {pid}). "
        "Use it, stop it with `mindset down`, or name another folder in MINDSET_DIRECTORY."
    )


def _wait_for(descriptor: int, directory: Path) -> None:
    began = time.monotonic()
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _written(descriptor)
            if time.monotonic() - began > (_READER_S if pid else _CLEANING_S):
                raise refuse_second(directory, pid) from None
        time.sleep(0.02)


def _written(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode()
    return int(text) if text.isdigit() else None


def _path(directory: Path) -> Path:
    return directory / "supervisor.lock"
