"""How long a provider may take, and the one place where its failures are tried again."""

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
    """The moment at which a request must be over, its retries included; or sooner, when nobody waits for it any more."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds
        self._cancelling = threading.Lock()
        self._interrupt: Callable[[], None] | None = None
        self._expected = math.inf
        self._gone = threading.Event()
        self.first_s = math.inf
        """Most of it that may pass before the first piece of an answer: who else could answer needs the rest."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any more."""
        return self._gone.is_set()

    def expect(self, seconds: float = math.inf) -> None:
        """The next thing is waited for no longer than this, nor past the end."""
        self._expected = time.monotonic() + seconds

    def cancel(self) -> None:
        """End the request from another thread, also while it waits for bytes: nobody reads the answer any more.

        The thread that waits raises ProviderUnavailable, which is neither tried again nor held against the provider."""
        with self._cancelling:
            self._gone.set()
            self._ends = 0.0
            if self._interrupt:
                self._interrupt()

    @contextmanager
    def interrupted_by(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """While the block waits for somebody else, `cancel` calls this, in the thread that cancels."""
        with self._cancelling:
            self._interrupt = interrupt
            if self.cancelled:
                interrupt()
        try:
            yield
        finally:
            with self._cancelling:
                self._interrupt = None

    def left(self) -> float:
        """Seconds left for what is waited for now; never 0, which sockets take for `do not wait at all`."""
        return max(min(self._ends, self._expected) - time.monotonic(), 0.001)

    def pause(self, seconds: float) -> None:
        """Let time pass before something is tried again. Raises ProviderUnavailable as soon as nobody waits for it."""
        if self._gone.wait(seconds):
            self.check("The provider")

    def check(self, who: str) -> None:
        """Raise ProviderUnavailable when it is over, or what was expected has not come."""
        now = time.monotonic()
        if self.cancelled:
            raise ProviderUnavailable(f"{who} was not waited for: whoever asked has gone.")
        if self._expected < now < self._ends:
            raise ProviderUnavailable(f"{who} was silent for too long. Try again.")
        if now > self._ends:
            raise ProviderUnavailable(
                f"{who} did not finish within {self.seconds:g} s. Try again, or allow it more time."
            )


def retried(call: Callable[[], T], deadline: Deadline) -> T:
    """What `call` returns; it is called again while it raises ProviderUnavailable and there is time."""
    for attempt in _attempts(deadline):
        with attempt:
            return call()
    raise AssertionError("unreachable: the last attempt raises")


class RetryBudget:
    """Retries may be a tenth of all requests, and a few more where there are hardly any: a provider that is down is not
    to be asked twice as often for it. Thread-safe.

    Source: Google, Site Reliability Engineering, chapter 21, "per-client retry budget"."""

    SHARE, RESERVE = 0.1, 10.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = self.RESERVE
        self.spent = 0

    def earn(self) -> None:
        """A request begins."""
        with self._lock:
            self._left = min(self._left + self.SHARE, self.RESERVE)

    def spend(self) -> bool:
        """Whether one more retry may be made; then it counts."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            self.spent += 1
            return True


def retried_until_first(
    begin: Callable[[], Generator[T, None, None]],
    deadline: Deadline,
    may_retry: Callable[[], bool] = lambda: True,
) -> Generator[T, None, None]:
    """What `begin()` yields. It is begun again only while it has yielded nothing: what was said cannot be unsaid."""
    for attempt in _attempts(deadline, may_retry):
        with attempt:
            items = begin()
            first = next(items)
    with closing(items):
        yield first
        yield from items


def _attempts(deadline: Deadline, may_retry: Callable[[], bool] = lambda: True) -> tenacity.Retrying:
    longest_wait = min(5.0, deadline.left() / 6)
    # stamina, which the rest of the house uses, sleeps where no cancelled deadline wakes it.
    jitter = tenacity.wait_random(0, longest_wait / 10)
    backoff = tenacity.wait_exponential(longest_wait / 20, longest_wait)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, ProviderUnavailable) or error.retry_after_s is None:
            return backoff(state) + jitter(state)
        return max(error.retry_after_s, longest_wait / 10) + jitter(state)  # `at once` is no licence to hammer

    def again(error: BaseException) -> bool:
        if deadline.cancelled or not isinstance(error, ProviderUnavailable):
            return False
        # Without time for the wait and one more attempt, the caller gets this error now and not a time-out later.
        wait_s = longest_wait if error.retry_after_s is None else max(error.retry_after_s, longest_wait / 10)
        return deadline.left() > wait_s + longest_wait / 10 and may_retry()

    return tenacity.Retrying(retry=tenacity.retry_if_exception(again), wait=wait, sleep=deadline.pause, reraise=True)


# Nobody is asked to wait longer, whatever a server says.
_LONGEST_RETRY_AFTER_S = 3_600.0


def retry_after_s(header: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks to wait; it holds seconds or a date."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        pass
    else:
        return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_S) if math.isfinite(seconds) else None
    try:
        return max(parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
