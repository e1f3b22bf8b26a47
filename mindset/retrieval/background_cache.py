"""A cache whose values are computed in threads that outlive the request that needed them first."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from mindset.errors import MindsetError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# A value that cannot be computed is not tried again for this long, so that failing does not take all threads.
_RETRY_AFTER_S = 2.0


@dataclass
class _Entry(Generic[V]):
    future: Future[V]
    size: int = 0
    """In bytes; 0 until the value is computed."""


class BackgroundCache(Generic[K, V]):
    """Computes each value once, however many requests need it. Those not used for longest are forgotten. Thread-safe."""

    def __init__(self, threads: Executor, size_of: Callable[[V], int], max_bytes: int, max_entries: int) -> None:
        self._threads, self._size_of = threads, size_of
        self._max_bytes, self._max_entries = max_bytes, max_entries
        self._lock = threading.Lock()
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._bytes = 0
        self._failures: OrderedDict[K, tuple[float, MindsetError]] = OrderedDict()

    def get(self, key: K, compute: Callable[[], V], timeout_s: float | None) -> V:
        """Return the value, computed by `compute` if necessary. `timeout_s` limits the wait; the computation goes on.

        Raises the TimeoutError of futures, and what `compute` raised, also for a moment after it did."""
        with self._lock:
            entry = self._entries.get(key)
            is_new = entry is None
            if entry is None:
                self._raise_recent_failure(key)
                entry = self._entries[key] = _Entry(self._threads.submit(compute))
            self._entries.move_to_end(key)
        if is_new:
            # Outside of the lock: if the value is computed already, the callback is called right here.
            entry.future.add_done_callback(lambda _: self._finish(key, entry))
        return entry.future.result(None if timeout_s is None else max(timeout_s, 0.0))

    def get_if_computed(self, key: K) -> V | None:
        """Return the value if it is there."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or not entry.size:
                return None
            self._entries.move_to_end(key)
        return entry.future.result()

    def _finish(self, key: K, entry: _Entry[V]) -> None:
        failure = None if entry.future.cancelled() else entry.future.exception()
        failed = entry.future.cancelled() or failure is not None
        size = 0 if failed else max(self._size_of(entry.future.result()), 1)
        with self._lock:
            if failed:
                if self._entries.get(key) is entry:
                    del self._entries[key]
                if isinstance(failure, MindsetError):
                    # Without its traceback, which holds whatever was computed so far.
                    self._failures[key] = (time.monotonic() + _RETRY_AFTER_S, type(failure)(*failure.args))
                    while len(self._failures) > self._max_entries:
                        self._failures.popitem(last=False)
                return
            entry.size = size
            self._bytes += size
            self._forget()

    def _raise_recent_failure(self, key: K) -> None:
        until, failure = self._failures.get(key, (0.0, None))
        if failure is not None:
            if time.monotonic() < until:
                raise type(failure)(*failure.args)
            del self._failures[key]

    def _forget(self) -> None:
        """Forget values until the others fit. The one used last is always kept."""
        for key in list(self._entries)[:-1]:
            if self._bytes <= self._max_bytes and len(self._entries) <= self._max_entries:
                return
            if self._entries[key].size:
                self._bytes -= self._entries.pop(key).size
