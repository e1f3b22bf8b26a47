"""Polling with a deadline, for conditions that send no event."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None],
    timeout_s: float = 20.0,
    message: str = "The condition did not hold",
    *,
    interval_s: float = 0.02,
    retry_on: tuple[type[Exception], ...] = (),
) -> T:
    """Call `condition` until it returns a true value, and return that value.

    Errors of the types in `retry_on` mean "not yet". Raises AssertionError after `timeout_s`, from the last such error;
    `message` says what did not happen ("The server did not start")."""
    deadline = time.monotonic() + timeout_s
    while True:
        error: Exception | None = None
        try:
            if value := condition():
                return value
        except retry_on as not_yet:
            error = not_yet
        if time.monotonic() > deadline:
            raise AssertionError(f"{message} within {timeout_s:g} s") from error
        time.sleep(interval_s)
