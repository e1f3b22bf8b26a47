"""Waiting for something to become true, with a deadline instead of a nap; and what runs on behalf of a folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from mindset.local.processes import belonging

T = TypeVar("T")


def eventually(look: Callable[[], T | None], *, within_s: float = 20) -> T:
    """What `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s} s")


def processes_of(directory: Path) -> list[str]:
    """Command lines of living processes that mention the folder, work in it, or carry its mark."""
    lines = []
    ours = {process.pid for process in belonging(directory)}
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if process.pid in ours or str(directory) in line or process.cwd().startswith(str(directory)):
                lines.append(line)
        except psutil.Error:
            continue  # ended since it was listed
    return lines
