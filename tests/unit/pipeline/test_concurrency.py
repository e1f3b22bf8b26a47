"""Tests of concurrent production and storage of batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from mindset.pipeline.concurrency import prefetch, store_concurrently, throttle


def failing(after: int) -> Iterator[int]:
    yield from range(after)
    raise RuntimeError("broken")


def test_prefetched_batches_are_in_order_and_from_another_thread() -> None:
    producers: set[str] = set()

    def produce() -> Iterator[int]:
        for batch in range(50):
            producers.add(threading.current_thread().name)
            yield batch

    assert list(prefetch(produce())) == list(range(50))
    assert threading.current_thread().name not in producers


def test_error_is_raised_after_the_batches_before_it() -> None:
    batches = prefetch(failing(3))
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="broken"):
        next(batches)


def test_at_most_one_batch_is_prefetched() -> None:
    produced: list[int] = []

    def produce() -> Iterator[int]:
        for batch in range(10):
            produced.append(batch)
            yield batch

    batches = prefetch(produce())
    next(batches)
    batches.close()  # type: ignore[attr-defined]  # a generator
    assert produced == [0, 1]


def test_batches_are_stored_concurrently_and_results_are_in_order() -> None:
    both = threading.Barrier(2, timeout=10)

    def store(batch: int) -> int:
        both.wait()  # times out unless two batches are stored at the same time
        return batch * 10

    assert list(store_concurrently(store, iter(range(6)), 2)) == [0, 10, 20, 30, 40, 50]


def test_error_while_storing_is_raised() -> None:
    def store(batch: int) -> int:
        if batch == 2:
            raise RuntimeError("full")
        return batch

    with pytest.raises(RuntimeError, match="full"):
        list(store_concurrently(store, iter(range(5)), 2))


def test_throttle_sleeps_for_the_rest_of_the_duty_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 10.0, 13.0, 20.0])
    slept: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(time, "sleep", slept.append)
    assert list(throttle(iter("ab"), 0.25)) == ["a", "b"]
    assert slept == [6.0, 9.0]
