"""Rate limits per caller and per address: sliding windows in Redis, or in this process while Redis is down."""

from __future__ import annotations

import hashlib
import ipaddress
import math
from dataclasses import dataclass

from fastapi import Request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, RedisStorage

from mindset.config.settings import Settings
from mindset.errors import ConfigurationError, TooManyRequests
from mindset.redis import RedisClient

# The library needs two round trips per window, to count a request and to read the rest. This combines its two scripts for
# all windows of a request in one round trip.
_COUNT = f"""
local function acquire(KEYS, ARGV)
{RedisStorage.SCRIPT_ACQUIRE_SLIDING_WINDOW.decode()}
end
local function read(KEYS, ARGV)
{RedisStorage.SCRIPT_SLIDING_WINDOW.decode()}
end
local counted = {{}}
for n = 1, #KEYS, 2 do
  local window = {{KEYS[n], KEYS[n + 1]}}
  local allowed = acquire(window, {{ARGV[n], ARGV[n + 1], 1}})
  counted[#counted + 1] = {{allowed, read(window, {{ARGV[n + 1]}})}}
end
return counted
"""

_BUCKETS = 16
"""Counters of invalid credentials per address."""

_Window = tuple[int, float, int, float]
"""Requests in the previous window and the seconds until it expires, and the same for the current window."""


@dataclass(frozen=True)
class Limit:
    """A maximum number of requests per period."""

    name: str
    item: RateLimitItem

    @property
    def seconds(self) -> int:
        return self.item.get_expiry()


@dataclass(frozen=True)
class Quota:
    """The state of a limit after a request."""

    limit: Limit
    allowed: bool
    """Whether this request was within the limit."""
    remaining: int
    reset_s: int
    """Seconds until more requests are allowed."""


@dataclass(frozen=True)
class RateLimitStatus:
    """The state of all limits that apply to a request."""

    quotas: tuple[Quota, ...]

    def check(self) -> None:
        """Raise TooManyRequests if a limit is exceeded."""
        if exceeded := [quota for quota in self.quotas if not quota.allowed]:
            worst = max(exceeded, key=lambda quota: quota.reset_s)
            subject = {"default": "caller"}.get(worst.limit.name, worst.limit.name)
            raise TooManyRequests(
                f"The limit is {worst.limit.item.amount} requests in {worst.limit.seconds} s per {subject}. "
                "Send fewer requests.",
                max(worst.reset_s, 1),
            )

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of draft-ietf-httpapi-ratelimit-headers-10."""
        if not self.quotas:
            return []
        policy = (f'"{quota.limit.name}";q={quota.limit.item.amount};w={quota.limit.seconds}' for quota in self.quotas)
        remaining = (f'"{quota.limit.name}";r={quota.remaining};t={quota.reset_s}' for quota in self.quotas)
        return [(b"ratelimit-policy", ", ".join(policy).encode()), (b"ratelimit", ", ".join(remaining).encode())]


class RateLimits:
    """Counts requests. Thread-safe. With open access, callers cannot be distinguished, so only addresses are limited."""

    def __init__(self, settings: Settings, redis: RedisClient | None) -> None:
        """Raises ConfigurationError if a limit is malformed."""
        required = settings.api_access == "required"
        self._caller = _limit("default", "MINDSET_RATE_LIMIT", settings.rate_limit if required else None)
        self._address = _limit("address", "MINDSET_RATE_LIMIT_ADDRESS", settings.rate_limit_address)
        self._rejected = _limit("rejected", "MINDSET_RATE_LIMIT_REJECTED", settings.rate_limit_rejected)
        self._local = MemoryStorage()
        self._redis = redis

    @property
    def enabled(self) -> bool:
        """Whether requests are counted."""
        return bool(self._caller or self._address)

    def count(self, caller: str, address: str) -> RateLimitStatus:
        """Count a request and return the state of its limits."""
        named = ((self._caller, caller), (self._address, network(address)))
        subjects = [(limit, name) for limit, name in named if limit]
        return RateLimitStatus(tuple(self._count(subjects)))

    def count_rejection(self, prefix: str, address: str) -> None:
        """Count a request with invalid credentials, by their prefix and the client's address.

        Raises TooManyRequests if there were too many recently. Only requests with invalid credentials are counted and
        rejected, so that nobody can lock out a caller with valid ones."""
        limit = self._rejected
        if limit is None:
            return
        (quota,) = self._count([(limit, f"{_bucket(prefix)}@{network(address)}")])
        if not quota.allowed:
            raise TooManyRequests(
                "Too many requests with such credentials were invalid. Wait, and correct the credentials.",
                max(quota.reset_s, 1),
            )

    def _count(self, subjects: list[tuple[Limit, str]]) -> list[Quota]:
        """Count a request for each limit and subject, and return the state of the limits."""
        if not subjects:
            return []
        return self._count_in_redis(subjects) or [self._count_locally(limit, name) for limit, name in subjects]

    def _count_in_redis(self, subjects: list[tuple[Limit, str]]) -> list[Quota] | None:
        if self._redis is None:
            return None
        names = [key for limit, name in subjects for key in (f"{_key(limit, name)}/before", _key(limit, name))]
        numbers = [number for limit, _ in subjects for number in (limit.item.amount, limit.seconds)]
        windows = self._redis.execute(
            lambda client, *keys: client.register_script(_COUNT)(keys, numbers, client), *names
        )
        return windows and [
            _quota(
                limit,
                bool(allowed),
                (int(previous or 0), max(previous_ms, 0) / 1000, int(current or 0), max(current_ms, 0) / 1000),
            )
            for (limit, _), (allowed, (previous, previous_ms, current, current_ms)) in zip(
                subjects, windows, strict=True
            )
        ]

    def _count_locally(self, limit: Limit, name: str) -> Quota:
        key = _key(limit, name)
        allowed = self._local.acquire_sliding_window_entry(key, limit.item.amount, limit.seconds)
        return _quota(limit, allowed, self._local.get_sliding_window(key, limit.seconds))


def check_limits(settings: Settings) -> None:
    """Raise ConfigurationError if a limit is malformed."""
    RateLimits(settings, None)


def address_of(request: Request) -> str:
    """Return the client's address; uvicorn has applied X-Forwarded-For of trusted proxies."""
    return request.client.host if request.client else "unknown"


def network(address: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 address: one client can use all addresses of it."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]  # from a trusted proxy, or none
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((parsed, 64), strict=False))
        return str(parsed.ipv4_mapped)
    return str(parsed)


def _bucket(prefix: str) -> int:
    """Return the counter of a prefix. Clients invent prefixes, so their number must not grow with these."""
    return hashlib.sha256(prefix.encode()).digest()[0] % _BUCKETS


def _key(limit: Limit, name: str) -> str:
    return f"limit:{limit.name}:{limit.item.amount}/{limit.seconds}:{name}"


def _quota(limit: Limit, allowed: bool, window: _Window) -> Quota:
    """Count like the library's sliding window: the previous window is weighted by the part that has not expired."""
    previous, previous_s, current, current_s = window
    remaining = max(limit.item.amount - math.floor(previous * previous_s / limit.seconds + current), 0)
    resets = [previous_s % (limit.seconds / previous)] if previous else []
    resets += [current_s % limit.seconds] if current else []
    return Quota(limit, allowed, remaining, math.ceil(min(resets, default=0)))


def _limit(name: str, setting: str, text: str | None) -> Limit | None:
    if not text:
        return None
    try:
        return Limit(name, parse(text))
    except ValueError:
        raise ConfigurationError(f"{setting}: {text!r} is not a rate limit. Write one such as 600/minute.") from None
