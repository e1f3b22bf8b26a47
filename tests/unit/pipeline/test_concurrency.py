"""Batches made and stored beside each other: none is lost, none out of order, and what breaks is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from mindset.pipeline.concurrency import prefetch, store_concurrently, throttle


def breaking(after: int) -> Iterator[int]:
    yield from range(after)
    raise RuntimeError("broken")


def test_what_is_made_ahead_comes_in_order_and_from_another_thread() -> None:
    makers: set[str] = set()

    def made() -> Iterator[int]:
        for each in range(50):
            makers.add(threading.current_thread().name)
            yield each

    assert list(prefetch(made())) == list(range(50))
    assert threading.current_thread().name not in makers


def test_what_breaks_while_it_is_made_arrives_behind_what_was_made_before() -> None:
    batches = prefetch(breaking(3))
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="broken"):
        next(batches)


def test_no_more_than_one_is_made_ahead() -> None:
    made: list[int] = []

    def making() -> Iterator[int]:
        for each in range(10):
            made.append(each)
            yield each

    batches = prefetch(making())
    next(batches)
    batches.close()  # type: ignore[attr-defined]  # a generator
    assert made == [0, 1]


def test_as_many_are_stored_at_a_time_as_there_are_threads_and_come_back_in_order() -> None:
    both = threading.Barrier(2, timeout=10)

    def store(each: int) -> int:
        both.wait()  # would wait for ever if one were stored behind the other
        return each * 10

    assert list(store_concurrently(store, iter(range(6)), 2)) == [0, 10, 20, 30, 40, 50]


def test_what_breaks_while_it_is_stored_arrives() -> None:
    def store(each: int) -> int:
        if each == 2:
            raise RuntimeError("full")
        return each

    with pytest.raises(RuntimeError, match="full"):
        list(store_concurrently(store, iter(range(5)), 2))


def test_resting_takes_the_rest_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 10.0, 13.0, 20.0])
    slept: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(time, "sleep", slept.append)
    assert list(throttle(iter("ab"), 0.25)) == ["a", "b"]
    assert slept == [6.0, 9.0]
