"""How often a caller may ask: sliding windows in Redis, or in this process while it is down."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from fastapi import Request
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from mindset.errors import ConfigurationError, TooManyRequests
from mindset.settings import Settings
from mindset.valkey import TIMEOUT_S

T = TypeVar("T")

_log = structlog.get_logger()

_LEFT_ALONE_S = 1.0


@dataclass(frozen=True)
class Left:
    """What a caller may still ask, for the response's headers."""

    quota: int
    window_s: int
    remaining: int
    reset_s: int

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """As draft-ietf-httpapi-ratelimit-headers-10 has them."""
        return [
            (b"ratelimit-policy", f'"default";q={self.quota};w={self.window_s}'.encode()),
            (b"ratelimit", f'"default";r={self.remaining};t={self.reset_s}'.encode()),
        ]


class RateLimits:
    """Thread-safe. Where access is open nobody is limited: who asks cannot be told apart."""

    def __init__(self, settings: Settings, redis_url: str | None) -> None:
        """Raises ConfigurationError where a limit is no limit."""
        on = settings.api_access == "required"
        self._by_caller = _parsed("MINDSET_RATE_LIMIT", settings.rate_limit) if on else None
        self._by_address = _parsed("MINDSET_RATE_LIMIT_REFUSED", settings.rate_limit_refused) if on else None
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared: SlidingWindowCounterRateLimiter | None = None
        self._again_at = 0.0
        if redis_url and on:
            storage = RedisStorage(
                redis_url, wrap_exceptions=True, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
            )
            self._shared = SlidingWindowCounterRateLimiter(storage)

    def take(self, caller: str) -> Left | None:
        """Count a request of a caller. Raises TooManyRequests."""
        return self._take(self._by_caller, "caller", caller) if self._by_caller else None

    def check_address(self, address: str) -> None:
        """Raise TooManyRequests where an address was refused too often of late."""
        limit = self._by_address
        if limit and not self._ask(lambda limiter: limiter.test(limit, "refused", address)):
            raise TooManyRequests(
                "Too many requests of this address were refused for their credentials. Wait a minute, and correct them.",
                60,
            )

    def refused(self, address: str) -> None:
        """Count a request that was refused for its credentials."""
        if limit := self._by_address:
            self._ask(lambda limiter: limiter.hit(limit, "refused", address))

    def _take(self, limit: RateLimitItem, *names: str) -> Left:
        taken = self._ask(lambda limiter: limiter.hit(limit, *names))
        stats = self._ask(lambda limiter: limiter.get_window_stats(limit, *names))
        left = Left(
            limit.amount, limit.get_expiry(), stats.remaining, max(math.ceil(stats.reset_time - time.time()), 0)
        )
        if not taken:
            raise TooManyRequests(
                f"{limit.amount} requests in {limit.get_expiry()} s are the most of one caller. Ask more slowly.",
                max(left.reset_s, 1),
            )
        return left

    def _ask(self, what: Callable[[SlidingWindowCounterRateLimiter], T]) -> T:
        if self._shared and time.monotonic() >= self._again_at:
            try:
                return what(self._shared)
            except StorageError as lost:
                self._again_at = time.monotonic() + _LEFT_ALONE_S
                _log.warning("limits are this process's own: redis does not answer", error=str(lost))
        return what(self._own)


def address_of(request: Request) -> str:
    """Who sends a request, by address; a proxy's word counts where uvicorn was told to trust it."""
    return request.client.host if request.client else "unknown"


def _parsed(setting: str, text: str) -> RateLimitItem:
    try:
        return parse(text)
    except ValueError:
        raise ConfigurationError(f"{setting}: {text!r} is no limit. Write one such as 600/minute.") from None
