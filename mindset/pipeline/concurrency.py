"""Concurrent and throttled processing of batches."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetch(batches: Iterator[T]) -> Iterator[T]:
    """Yield the same batches, but compute each in a thread while the previous one is used. Exceptions are passed on."""
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
        end = object()
        upcoming = thread.submit(next, batches, end)
        while (batch := upcoming.result()) is not end:
            upcoming = thread.submit(next, batches, end)
            yield batch  # type: ignore[misc]  # not the end


def store_concurrently(store: Callable[[T], R], batches: Iterator[T], threads: int) -> Iterator[R]:
    """Call `store` with each batch in one of `threads` threads, and yield its results in order."""
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="store") as pool:
        for batch in batches:
            pending.append(pool.submit(store, batch))
            if len(pending) == threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def throttle(batches: Iterator[T], duty_cycle: float) -> Iterator[T]:
    """Yield the same batches, but sleep after each so that work takes only the fraction `duty_cycle` of the time."""
    started = time.monotonic()
    for batch in batches:
        yield batch
        time.sleep((time.monotonic() - started) * (1 / duty_cycle - 1))
        started = time.monotonic()
