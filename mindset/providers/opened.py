"""Resources that a process opens once and shares between threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from mindset.errors import ServiceUnavailable


class Closable(Protocol):
    """Something that is closed at the end."""

    def close(self) -> None: ...


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Closable)


class OpenedOnce(Generic[K, V]):
    """Opens a resource for each key at its first use. Thread-safe. Close it with `close`.

    Threads that need the same resource wait for the one that opens it; others don't."""

    def __init__(self, open_resource: Callable[[K], V]) -> None:
        self._open = open_resource
        self._lock = threading.Lock()
        self._opening: dict[K, threading.Lock] = {}
        self._opened: dict[K, V] = {}
        self._closed = False

    def get_if_open(self, key: K) -> V | None:
        """Return the resource, or None if it is not open yet."""
        return self._opened.get(key)

    def get(self, key: K, timeout_s: float | None = None) -> V:
        """Return the resource. Raises what opening it raises.

        Raises ServiceUnavailable if another thread is still opening it after `timeout_s`."""
        opened = self._opened.get(key)
        if opened is not None:
            return opened
        with self._lock:
            opening = self._opening.setdefault(key, threading.Lock())
        if not opening.acquire(timeout=-1 if timeout_s is None else max(timeout_s, 0)):
            raise ServiceUnavailable(f"{_name(key)} is still loading. Try again shortly.")
        try:
            if key not in self._opened:
                opened = self._open(key)
                if self._closed:
                    opened.close()
                    raise ServiceUnavailable("The process is shutting down.")
                self._opened[key] = opened
            return self._opened[key]
        finally:
            opening.release()

    def close(self) -> None:
        """Close all opened resources. One that is just being opened is closed by the thread that opens it."""
        self._closed = True
        for resource in list(self._opened.values()):
            resource.close()


def _name(key: object) -> str:
    """Return the name of a model, for people: a key may also be its configuration."""
    return f"The model {getattr(key, 'model', key)}"
