"""A circuit breaker: whoever fails again and again is left alone for a while, and then asked once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

from mindset.errors import ProviderUnavailable

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Of one model of one provider; thread-safe. It opens after `failures` in a row, and lets one request pass, to see
    whether the provider is well again, each `cooling_s`.

    Nygard, Release It!, chapter 5. pybreaker and others hold a lock while the call runs: one answer at a time."""

    def __init__(
        self, name: str, failures: int = 5, cooling_s: float = 2.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name, self._most, self._cooling_s, self._clock = name, failures, cooling_s, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._probe_at = 0.0

    @property
    def state(self) -> State:
        """`half-open` is when the next request is the one that sees."""
        if self._failures < self._most:
            return "closed"
        return "half-open" if self._clock() >= self._probe_at else "open"

    def admit(self) -> None:
        """Let a request pass, which then says what became of it. Raises ProviderUnavailable while open."""
        with self._lock:
            if self._failures < self._most:
                return
            now = self._clock()
            if now < self._probe_at:
                wait = self._probe_at - now
                raise ProviderUnavailable(
                    f"{self._name} failed {self._failures} times in a row, and is asked again in {wait:.1f} s. "
                    "See its status, or wait.",
                    wait,
                )
            # The next probe is due when this one should be over, also where nobody comes back to say so.
            self._probe_at = now + self._cooling_s

    def succeeded(self) -> None:
        """It answered."""
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        """It did not, and the request was not to blame."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._most:
                self._probe_at = self._clock() + self._cooling_s
