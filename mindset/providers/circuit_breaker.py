"""A circuit breaker: after repeated failures a provider is skipped for a while, then probed with one request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from mindset.errors import ProviderRejected, ProviderUnavailable

State = Literal["closed", "open", "half-open"]


class CircuitBreaker:
    """The breaker of one model of one provider. Thread-safe.

    It opens after `failures` failures in a row. From then on it admits one request, the probe, every `cooldown_s`
    until one succeeds. Source: Nygard, Release It!, chapter 5. pybreaker and other libraries hold a lock during the
    call, which would allow one request at a time."""

    def __init__(
        self, name: str, failures: int = 5, cooldown_s: float = 2.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name, self._threshold, self._cooldown_s, self._clock = name, failures, cooldown_s, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._probe_at = 0.0

    @property
    def state(self) -> State:
        """The current state; `half-open` if the next request is the probe."""
        if self._failures < self._threshold:
            return "closed"
        return "half-open" if self._clock() >= self._probe_at else "open"

    def admit(self) -> None:
        """Admit a request, whose outcome the caller then records. Raises ProviderUnavailable while open."""
        with self._lock:
            if self._failures < self._threshold:
                return
            now = self._clock()
            if now < self._probe_at:
                wait_s = self._probe_at - now
                raise ProviderUnavailable(
                    f"{self._name} failed {self._failures} times in a row. The next request is sent in {wait_s:.1f} s. "
                    "Check the provider's status, or wait.",
                    wait_s,
                )
            # Also schedules the next probe in case the outcome of this one is never recorded.
            self._probe_at = now + self._cooldown_s

    def record_success(self) -> None:
        """Record that the provider responded. Closes the breaker."""
        with self._lock:
            self._failures = 0

    def record_failure(self) -> None:
        """Record a failure that the request did not cause."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._threshold:
                self._probe_at = self._clock() + self._cooldown_s


@contextmanager
def guarded(breaker: CircuitBreaker) -> Iterator[None]:
    """Run a request under a breaker and record its outcome. Raises ProviderUnavailable while the breaker is open."""
    breaker.admit()
    try:
        yield
    except ProviderUnavailable:
        breaker.record_failure()
        raise
    except ProviderRejected:
        breaker.record_success()  # the provider is up: it refused this request
        raise
    breaker.record_success()
