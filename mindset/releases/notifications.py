"""Notifications about new releases. They only warm up processes: every question reads the live release from Postgres."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import structlog

from mindset.redis import RedisClient

_log = structlog.get_logger()

_CHANNEL = "releases"
_RECONNECT_DELAY_S = 2.0


def publish_release(redis: RedisClient | None, kb: str, version: int) -> None:
    """Notify listeners that a version is live."""
    if redis:
        redis.execute(lambda client, channel: client.publish(channel, json.dumps([kb, version])), _CHANNEL)


class Listener:
    """Calls `on_release` with knowledge base and version, in its own thread. Close it with `close`."""

    def __init__(self, redis: RedisClient, on_release: Callable[[str, int], None]) -> None:
        self._redis, self._on_release = redis, on_release
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="release notifications", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        self._thread.join(3)

    def _listen(self) -> None:
        while not self._closing.is_set():
            for message in self._redis.listen(_CHANNEL):
                if self._closing.is_set():
                    return
                if message is not None:
                    self._handle(message)
            self._closing.wait(_RECONNECT_DELAY_S)

    def _handle(self, message: bytes) -> None:
        try:
            kb, version = json.loads(message)
            self._on_release(str(kb), int(version))
        except (ValueError, TypeError):
            _log.warning("invalid release notification")
        except Exception:  # noqa: BLE001  # a model that cannot be opened must not stop the listener
            _log.exception("release notification could not be handled")
