"""How often a caller, or an address, may ask: sliding windows in Redis, or in this process while it is down."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastapi import Request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, RedisStorage

from mindset.config.settings import Settings
from mindset.errors import ConfigurationError, TooManyRequests
from mindset.redis import RedisClient

# The library asks twice, to count a request and to see what is left. These are its own two scripts, for all windows of a
# request in one round trip.
_COUNT = f"""
local function take(KEYS, ARGV)
{RedisStorage.SCRIPT_ACQUIRE_SLIDING_WINDOW.decode()}
end
local function look(KEYS, ARGV)
{RedisStorage.SCRIPT_SLIDING_WINDOW.decode()}
end
local counted = {{}}
for n = 1, #KEYS, 2 do
  local window = {{KEYS[n], KEYS[n + 1]}}
  local taken = true
  if tonumber(ARGV[#ARGV]) > 0 then
    taken = take(window, {{ARGV[n], ARGV[n + 1], ARGV[#ARGV]}})
  end
  counted[#counted + 1] = {{taken, look(window, {{ARGV[n + 1]}})}}
end
return counted
"""

_Window = tuple[int, float, int, float]
"""Requests in the window before and the seconds until it counts no more, and the same of the window that is now."""


@dataclass(frozen=True)
class Limit:
    """So many requests in so many seconds."""

    name: str
    item: RateLimitItem

    @property
    def seconds(self) -> int:
        return self.item.get_expiry()


@dataclass(frozen=True)
class Quota:
    """What is left of a limit."""

    limit: Limit
    taken: bool
    """Whether this request was still one of those allowed."""
    remaining: int
    reset_s: int
    """Until there is more."""


@dataclass(frozen=True)
class RateLimitStatus:
    """What is left to whoever sends a request."""

    quotas: tuple[Quota, ...]

    def check(self) -> None:
        """Raise TooManyRequests where nothing is."""
        if over := [each for each in self.quotas if not each.taken]:
            worst = max(over, key=lambda each: each.reset_s)
            whose = {"default": "caller"}.get(worst.limit.name, worst.limit.name)
            raise TooManyRequests(
                f"{worst.limit.item.amount} requests in {worst.limit.seconds} s are the most of one {whose}. "
                "Ask more slowly.",
                max(worst.reset_s, 1),
            )

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """As draft-ietf-httpapi-ratelimit-headers-10 has them."""
        if not self.quotas:
            return []
        policy = (f'"{each.limit.name}";q={each.limit.item.amount};w={each.limit.seconds}' for each in self.quotas)
        left = (f'"{each.limit.name}";r={each.remaining};t={each.reset_s}' for each in self.quotas)
        return [(b"ratelimit-policy", ", ".join(policy).encode()), (b"ratelimit", ", ".join(left).encode())]


class RateLimits:
    """Thread-safe. Where access is open only addresses can be told apart, and are limited if a setting says so."""

    def __init__(self, settings: Settings, valkey: RedisClient | None) -> None:
        """Raises ConfigurationError where a limit is none."""
        required = settings.api_access == "required"
        self._caller = _limit("default", "MINDSET_RATE_LIMIT", settings.rate_limit if required else None)
        self._address = _limit("address", "MINDSET_RATE_LIMIT_ADDRESS", settings.rate_limit_address)
        self._refused = _limit("refused", "MINDSET_RATE_LIMIT_REJECTED", settings.rate_limit_rejected)
        self._own = MemoryStorage()
        self._redis = valkey

    @property
    def on(self) -> bool:
        """Whether a request is counted at all."""
        return bool(self._caller or self._address)

    def take(self, caller: str, address: str) -> RateLimitStatus:
        """Count a request."""
        named = [(limit, name) for limit, name in ((self._caller, caller), (self._address, address)) if limit]
        return RateLimitStatus(tuple(self._counted(named, 1)))

    def check_address(self, address: str) -> None:
        """Raise TooManyRequests where an address was refused too often of late.

        Redis is asked only of those that this process has refused itself: the good ones cost nothing, and a bad one has
        one guess more for each process."""
        limit = self._refused
        if limit is None or not any(self._own.get_sliding_window(_key(limit, address), limit.seconds)[::2]):
            return
        (quota,) = self._counted([(limit, address)], 0)
        if quota.remaining < 1:
            raise TooManyRequests(
                "Too many requests of this address were refused for their credentials. Wait, and correct them.",
                max(quota.reset_s, 1),
            )

    def refused(self, address: str) -> None:
        """Count a request that was refused for its credentials, here and in Redis."""
        if limit := self._refused:
            self._count_here(limit, address, 1)
            if self._redis:
                self._count_shared([(limit, address)], 1)

    def _counted(self, named: list[tuple[Limit, str]], cost: int) -> list[Quota]:
        """What is left once each of these has counted."""
        if not named:
            return []
        return self._count_shared(named, cost) or [self._count_here(limit, name, cost) for limit, name in named]

    def _count_shared(self, named: list[tuple[Limit, str]], cost: int) -> list[Quota] | None:
        if self._redis is None:
            return None
        keys = [key for limit, name in named for key in (f"{_key(limit, name)}/before", _key(limit, name))]
        numbers = [number for limit, _ in named for number in (limit.item.amount, limit.seconds)]
        told = self._redis.execute(lambda client: client.register_script(_COUNT)(keys, [*numbers, cost], client))
        return told and [
            _quota(
                limit, bool(taken), (int(before or 0), max(before_ms, 0) / 1000, int(now or 0), max(now_ms, 0) / 1000)
            )
            for (limit, _), (taken, (before, before_ms, now, now_ms)) in zip(named, told, strict=True)
        ]

    def _count_here(self, limit: Limit, name: str, cost: int) -> Quota:
        key = _key(limit, name)
        taken = not cost or self._own.acquire_sliding_window_entry(key, limit.item.amount, limit.seconds, cost)
        return _quota(limit, taken, self._own.get_sliding_window(key, limit.seconds))


def check_limits(settings: Settings) -> None:
    """Raise ConfigurationError where a limit is none."""
    RateLimits(settings, None)


def address_of(request: Request) -> str:
    """Who sends a request, by address; a proxy's word counts where uvicorn was told to trust it."""
    return request.client.host if request.client else "unknown"


def _key(limit: Limit, name: str) -> str:
    return f"mindset:limit:{limit.name}:{limit.item.amount}/{limit.seconds}:{name}"


def _quota(limit: Limit, taken: bool, window: _Window) -> Quota:
    """As the library's own sliding window counts: what came before weighs as much as of its window is still in sight."""
    before, before_s, now, now_s = window
    remaining = max(limit.item.amount - math.floor(before * before_s / limit.seconds + now), 0)
    resets = [before_s % (limit.seconds / before)] if before else []
    resets += [now_s % limit.seconds] if now else []
    return Quota(limit, taken, remaining, math.ceil(min(resets, default=0)))


def _limit(name: str, setting: str, text: str | None) -> Limit | None:
    if not text:
        return None
    try:
        return Limit(name, parse(text))
    except ValueError:
        raise ConfigurationError(f"{setting}: {text!r} is no limit. Write one such as 600/minute.") from None
