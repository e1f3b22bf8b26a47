"""Redis or Valkey, for what can be lost: caches, conversations, announcements. Down, it costs nobody anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis
import structlog

T = TypeVar("T")

_log = structlog.get_logger()

TIMEOUT_S = 0.05
"""Longest wait for it: whatever it holds can be had again in a few times as long."""

_LEFT_ALONE_S = 1.0


class Valkey:
    """Thread-safe. Close it by `close`."""

    def __init__(self, url: str) -> None:
        # Its own retries would multiply the wait.
        self._client: redis.Redis = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=None, max_connections=64
        )
        self._lock = threading.Lock()
        self._again_at = 0.0

    @property
    def is_down(self) -> bool:
        """Whether it failed a moment ago, and is left alone."""
        return time.monotonic() < self._again_at

    def ask(self, what: Callable[[Any], T]) -> T | None:
        """What a command answers, and None while it is down; redis-py's types say less than its commands do."""
        if self.is_down:
            return None
        try:
            return what(self._client)
        except redis.RedisError as lost:
            with self._lock:
                self._again_at = time.monotonic() + _LEFT_ALONE_S
            _log.warning("redis does not answer, going on without", error=str(lost))
            return None

    def close(self) -> None:
        """Give all connections back."""
        self._client.close()
