"""Deadlines of requests to providers, and retries within them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from typing import TypeVar

import tenacity

from mindset.errors import ProviderUnavailable

T = TypeVar("T")


class Deadline:
    """The time by which a request must end, retries included. It can be cancelled when its caller goes away."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._cancel_callback: Callable[[], None] | None = None
        self._wait_ends = math.inf
        self._cancelled = threading.Event()
        self.first_token_timeout_s = math.inf
        """Maximum wait for the first piece of an answer. It reserves the rest for the generators after this one."""

    @property
    def cancelled(self) -> bool:
        """Whether the caller has gone away."""
        return self._cancelled.is_set()

    def limit_wait(self, seconds: float = math.inf) -> None:
        """Limit the wait for the next item to `seconds`, within the deadline. Without an argument, remove the limit."""
        self._wait_ends = time.monotonic() + seconds

    def cancel(self) -> None:
        """End the request from another thread, even while it waits for bytes, because its response is no longer needed.

        The waiting thread raises ProviderUnavailable. It is not retried, and not counted as the provider's failure."""
        with self._lock:
            self._cancelled.set()
            self._ends = 0.0
            if self._cancel_callback:
                self._cancel_callback()

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Make `cancel` call `callback`, in the cancelling thread, while the block runs."""
        with self._lock:
            self._cancel_callback = callback
            if self.cancelled:
                callback()
        try:
            yield
        finally:
            with self._lock:
                self._cancel_callback = None

    def seconds_left(self) -> float:
        """Return the time left for the current wait; never 0, which sockets take for `do not block`."""
        return max(min(self._ends, self._wait_ends) - time.monotonic(), 0.001)

    def sleep(self, seconds: float) -> None:
        """Sleep before a retry. Raises ProviderUnavailable as soon as the deadline is cancelled."""
        if self._cancelled.wait(seconds):
            self.check("The provider")

    def check(self, who: str) -> None:
        """Raise ProviderUnavailable if the deadline or the limit of the current wait has passed."""
        now = time.monotonic()
        if self.cancelled:
            raise ProviderUnavailable(f"{who}: the request was cancelled, because its caller is gone.")
        if self._wait_ends < now < self._ends:
            raise ProviderUnavailable(f"{who} was silent for too long. Try again.")
        if now > self._ends:
            raise ProviderUnavailable(
                f"{who} did not finish within {self.seconds:g} s. Try again, or allow it more time."
            )


def retry_call(call: Callable[[], T], deadline: Deadline) -> T:
    """Return the result of `call`, which is retried while it raises ProviderUnavailable and time is left."""
    for attempt in _attempts(deadline):
        with attempt:
            return call()
    raise AssertionError("unreachable: the last attempt raises")


class RetryBudget:
    """Limits retries to a tenth of all requests, so that retries do not multiply the load on a failing provider.

    A reserve allows a few retries when there are few requests. Thread-safe. Source: Google, Site Reliability
    Engineering, chapter 21, "per-client retry budget"."""

    RATIO, RESERVE = 0.1, 10.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._balance = self.RESERVE
        self.spent = 0

    def earn(self) -> None:
        """Record a new request."""
        with self._lock:
            self._balance = min(self._balance + self.RATIO, self.RESERVE)

    def spend(self) -> bool:
        """Return whether one more retry is allowed, and take it from the budget."""
        with self._lock:
            if self._balance < 1:
                return False
            self._balance -= 1
            self.spent += 1
            return True


def retry_until_first(
    begin: Callable[[], Generator[T, None, None]],
    deadline: Deadline,
    may_retry: Callable[[], bool] = lambda: True,
) -> Generator[T, None, None]:
    """Yield the items of `begin()`. It is retried until the first item, because items cannot be taken back."""
    for attempt in _attempts(deadline, may_retry):
        with attempt:
            items = begin()
            first = next(items)
    with closing(items):
        yield first
        yield from items


def _attempts(deadline: Deadline, may_retry: Callable[[], bool] = lambda: True) -> tenacity.Retrying:
    longest_wait = min(5.0, deadline.seconds_left() / 6)
    jitter = tenacity.wait_random(0, longest_wait / 10)
    backoff = tenacity.wait_exponential(longest_wait / 20, longest_wait)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, ProviderUnavailable) or error.retry_after_s is None:
            return backoff(state) + jitter(state)
        # Even with `Retry-After: 0` the next attempt waits a little.
        return max(error.retry_after_s, longest_wait / 10) + jitter(state)

    def is_retryable(error: BaseException) -> bool:
        if deadline.cancelled or not isinstance(error, ProviderUnavailable):
            return False
        # Without time for the wait and one more attempt, the caller gets this error now instead of a timeout later.
        wait_s = longest_wait if error.retry_after_s is None else max(error.retry_after_s, longest_wait / 10)
        return deadline.seconds_left() > wait_s + longest_wait / 10 and may_retry()

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_retryable), wait=wait, sleep=deadline.sleep, reraise=True
    )


# Upper bound of a `Retry-After` that is a number.
_MAX_RETRY_AFTER_S = 3_600.0


def retry_after_s(header: str | None) -> float | None:
    """Return the seconds of a `Retry-After` header, which holds seconds or a date; None if it is missing or invalid."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        pass
    else:
        return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S) if math.isfinite(seconds) else None
    try:
        return max(parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
