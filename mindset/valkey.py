"""Redis or Valkey, for what can be lost: caches, limits, conversations, announcements. Down, it costs nobody anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import redis
import structlog

from mindset.errors import ConfigurationError

T = TypeVar("T")

_log = structlog.get_logger()

TIMEOUT_S = 0.05
"""Longest wait for it: whatever it holds can be had again in a few times as long."""

_LEFT_ALONE_S = 1.0
_CONNECTIONS = 32


class Valkey:
    """Thread-safe; connects at its first use. Close it by `close`.

    Whoever uses it shares one client, so that a server that hangs is waited for once a second, by one request."""

    def __init__(self, url: str) -> None:
        """Raises ConfigurationError where the URL is none."""
        try:
            # No retries of its own: they would multiply the wait.
            self._client: redis.Redis = redis.Redis.from_url(
                url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=None, socket_keepalive=True
            )
        except ValueError as wrong:
            raise ConfigurationError(f"MINDSET_REDIS_URL: {wrong}. Write redis://host:6379/0.") from None
        self._places = threading.BoundedSemaphore(_CONNECTIONS)
        self._lock = threading.Lock()
        self._again_at = 0.0
        """When it is tried again; 0 while it is well."""
        self._refusal_told_until = 0.0

    @property
    def is_down(self) -> bool:
        """Whether it failed a moment ago, and is left alone."""
        return time.monotonic() < self._again_at

    def ask(self, what: Callable[[Any], T]) -> T | None:
        """What a command answers, and None while it is down; redis-py's types say less than its commands do."""
        if self._again_at and not self._may_try():
            return None
        if not self._places.acquire(timeout=TIMEOUT_S):
            return None  # too many ask at once, which is not its fault
        try:
            answer = what(self._client)
        except redis.ResponseError as refused:
            # It is there, and refuses this command, being full or a replica: it may well do the next one.
            self._again_at = 0.0
            self._told_refusal(refused)
            return None
        except redis.RedisError as lost:
            self._again_at = time.monotonic() + _LEFT_ALONE_S
            _log.warning("going on without redis", kind=type(lost).__name__, error=str(lost))
            return None
        finally:
            self._places.release()
        self._again_at = 0.0
        return answer

    def listen(self, channel: str) -> Iterator[bytes | None]:
        """What is published on a channel from now on, and None now and then; it ends when the connection does."""
        try:
            with self._client.pubsub(ignore_subscribe_messages=True) as subscribed:  # type: ignore[no-untyped-call]
                subscribed.subscribe(channel)
                while True:
                    message = subscribed.get_message(timeout=0.25)
                    yield message["data"] if message else None
        except redis.RedisError as lost:
            _log.info("redis tells nothing", channel=channel, error=str(lost))

    def close(self) -> None:
        """Give all connections back."""
        self._client.close()
        self._client.connection_pool.disconnect()

    def _told_refusal(self, refused: redis.ResponseError) -> None:
        """Log it, at most once a second."""
        now = time.monotonic()
        if now >= self._refusal_told_until:
            self._refusal_told_until = now + _LEFT_ALONE_S
            _log.warning("redis refused a command", error=str(refused))

    def _may_try(self) -> bool:
        """Whether this request is the one that sees whether it is well again; the others go on without."""
        with self._lock:
            if self.is_down:
                return False
            self._again_at = time.monotonic() + _LEFT_ALONE_S
            return True
