"""Batches of a stage, made and stored beside each other; or, beside what is live, one by one with rests between."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(batches: Iterator[T]) -> Iterator[T]:
    """The same batches, each made in a thread of its own while the one before is used; what making them raises, arrives."""
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        end = object()
        coming = thread.submit(next, batches, end)
        while (batch := coming.result()) is not end:
            coming = thread.submit(next, batches, end)
            yield batch  # type: ignore[misc]  # not the end


def stored(store: Callable[[T], R], batches: Iterator[T], threads: int) -> Iterator[R]:
    """What `store` returns of each batch, in order; as many batches as there are threads are stored at a time."""
    storing: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="store") as pool:
        for batch in batches:
            storing.append(pool.submit(store, batch))
            if len(storing) == threads:
                yield storing.popleft().result()
        while storing:
            yield storing.popleft().result()


def rested(batches: Iterator[T], share: float) -> Iterator[T]:
    """The same batches; only `share` of the time is spent on making and using them, the rest is slept."""
    began = time.monotonic()
    for batch in batches:
        yield batch
        time.sleep((time.monotonic() - began) * (1 / share - 1))
        began = time.monotonic()
