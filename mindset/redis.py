"""The client of Redis or Valkey, which stores only what may be lost: caches, rate limits, conversations, notifications.

Callers degrade gracefully while Redis is unavailable."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import redis
import structlog

from mindset.errors import ConfigurationError

T = TypeVar("T")

_log = structlog.get_logger()

TIMEOUT_S = 0.05
"""Timeout of every operation. Recreating what Redis stores takes only a few times as long."""

_RETRY_DELAY_S = 1.0
_CONNECTIONS = 32


class RedisClient:
    """Thread-safe; connects at its first use. Close it with `close`.

    All keys and channels are in the namespace of one installation, so that several can share a server.

    All parts of a process share one client, so that an unresponsive server delays one request per second, not all."""

    def __init__(self, url: str, namespace: Callable[[], str | None]) -> None:
        """`namespace` returns the installation's namespace, or None while it is unknown: then Redis is not used.

        Raises ConfigurationError if the URL is invalid."""
        self._namespace = namespace
        try:
            # The library's own retries would multiply the delay.
            self._client: redis.Redis = redis.Redis.from_url(
                url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=None, socket_keepalive=True
            )
        except ValueError as error:
            raise ConfigurationError(f"MINDSET_REDIS_URL: {error}. Write redis://host:6379/0.") from None
        self._slots = threading.BoundedSemaphore(_CONNECTIONS)
        self._lock = threading.Lock()
        self._retry_at = 0.0
        """When Redis is tried again after a failure; 0 while it works."""
        self._log_errors_at = 0.0

    @property
    def is_down(self) -> bool:
        """Whether Redis failed within the last second, so that it is not tried."""
        return time.monotonic() < self._retry_at

    def execute(self, command: Callable[..., T], *names: str) -> T | None:
        """Return the result of a command, or None while Redis is unavailable.

        The command receives redis-py's client, and a key or channel in the installation's namespace for each name. It must
        not use others."""
        namespace = self._namespace() if names else ""
        if namespace is None or (self._retry_at and not self._may_retry()):
            return None
        if not self._slots.acquire(timeout=TIMEOUT_S):
            return None  # too many concurrent commands, which is not a failure of Redis
        try:
            result = command(self._client, *(_key(namespace, name) for name in names))
        except redis.ResponseError as error:
            # Redis is up but rejects this command, for example because it is full or a replica; others may succeed.
            self._retry_at = 0.0
            self._log_error(error)
            return None
        except redis.RedisError as error:
            self._retry_at = time.monotonic() + _RETRY_DELAY_S
            _log.warning("redis unavailable, continuing without it", kind=type(error).__name__, error=str(error))
            return None
        finally:
            self._slots.release()
        self._retry_at = 0.0
        return result

    def listen(self, name: str) -> Iterator[bytes | None]:
        """Yield messages published on a channel from now on, and None every 0.25 s.

        Ends if the connection is lost, or if the namespace is unknown or changes."""
        namespace = self._namespace()
        if namespace is None:
            return
        channel = _key(namespace, name)
        try:
            with self._client.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[no-untyped-call]
                subscription.subscribe(channel)
                while self._namespace() == namespace:
                    message = subscription.get_message(timeout=0.25)
                    yield message["data"] if message else None
        except redis.RedisError as error:
            _log.info("redis subscription lost", channel=channel, error=str(error))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
        self._client.connection_pool.disconnect()

    def _log_error(self, error: redis.ResponseError) -> None:
        """Log a rejected command, at most once per second."""
        now = time.monotonic()
        if now >= self._log_errors_at:
            self._log_errors_at = now + _RETRY_DELAY_S
            _log.warning("redis rejected a command", error=str(error))

    def _may_retry(self) -> bool:
        """Return whether this request is the one that tests whether Redis works again."""
        with self._lock:
            if self.is_down:
                return False
            self._retry_at = time.monotonic() + _RETRY_DELAY_S
            return True


def _key(namespace: str, name: str) -> str:
    return f"mindset:{namespace}:{name}"
