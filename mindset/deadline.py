"""How long a provider may take, and the one place where its failures are tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from email.utils import parsedate_to_datetime
from typing import TypeVar

import stamina

from mindset.errors import ProviderUnavailable

T = TypeVar("T")


class Deadline:
    """The moment at which a request must be over, its retries included."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; never 0, which sockets take for `do not wait at all`."""
        return max(self._ends - time.monotonic(), 0.001)

    def check(self, who: str) -> None:
        """Raise ProviderUnavailable when it is over."""
        if time.monotonic() > self._ends:
            raise ProviderUnavailable(
                f"{who} did not finish within {self.seconds:g} s. Try again, or allow it more time."
            )


def retried(call: Callable[[], T], deadline: Deadline) -> T:
    """What `call` returns; it is called again while it raises ProviderUnavailable and there is time."""
    for attempt in _attempts(deadline):
        with attempt:
            return call()
    raise AssertionError("unreachable: the last attempt raises")


def retried_until_first(begin: Callable[[], Generator[T, None, None]], deadline: Deadline) -> Generator[T, None, None]:
    """What `begin()` yields. It is begun again only while it has yielded nothing: what was said cannot be unsaid."""
    for attempt in _attempts(deadline):
        with attempt:
            items = begin()
            first = next(items)
    with closing(items):
        yield first
        yield from items


def _attempts(deadline: Deadline) -> Iterator[stamina.Attempt]:
    longest_wait = min(5.0, deadline.seconds / 6)

    def again(error: Exception) -> bool | float:
        if not isinstance(error, ProviderUnavailable):
            return False
        # Without time for the wait and one more attempt, the caller gets this error now and not a time-out later.
        if error.retry_after_s is None:
            return deadline.left() > longest_wait
        wait = max(error.retry_after_s, longest_wait / 10)  # `at once` is no licence to hammer
        return wait if deadline.left() > wait else False

    return iter(
        stamina.retry_context(
            on=again,
            attempts=None,
            timeout=deadline.left(),
            wait_initial=longest_wait / 20,
            wait_max=longest_wait,
            wait_jitter=longest_wait / 10,
        )
    )


def retry_after_s(header: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks to wait; it holds seconds or a date."""
    if not header:
        return None
    try:
        return max(float(header), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
