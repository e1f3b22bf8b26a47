"""Tests of the cache whose values are computed in the background."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mindset.errors import ServiceUnavailable
from mindset.retrieval.background_cache import BackgroundCache


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as opened:
        yield opened


def test_late_value_is_kept_for_the_next_request(threads: ThreadPoolExecutor) -> None:
    cache = BackgroundCache[str, str](threads, len, 100, 10)
    release, computed = threading.Event(), []

    def compute() -> str:
        release.wait(60)
        computed.append(1)
        return "value"

    for _ in range(3):
        with pytest.raises(TimeoutError):
            cache.get("a", compute, 0.01)
    assert cache.get_if_computed("a") is None
    release.set()
    assert cache.get("a", compute, 60) == "value"
    assert computed == [1], "computed once, although several requests gave up waiting"


@pytest.mark.parametrize(("max_bytes", "max_entries"), [(10, 100), (1_000, 2)])
def test_values_not_used_for_longest_are_forgotten(
    threads: ThreadPoolExecutor, max_bytes: int, max_entries: int
) -> None:
    cache = BackgroundCache[str, str](threads, len, max_bytes, max_entries)

    def put(key: str) -> None:
        assert cache.get(key, lambda: "12345", 60) == "12345"

    put("a")
    put("b")
    assert cache.get_if_computed("a")
    put("c")
    put("d")  # a value is measured at the latest when the next one is there
    assert len(cache._entries) <= 3
    assert "b" not in cache._entries
    assert "d" in cache._entries


def test_failure_is_raised_for_a_moment_without_trying_again_and_holds_nothing(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = BackgroundCache[str, str](threads, len, 100, 10)
    attempts = []

    def compute() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise ServiceUnavailable("Postgres is down.")
        return "value"

    with pytest.raises(ServiceUnavailable):
        cache.get("a", compute, 60)
    threads.submit(int).result()
    assert not cache._entries
    assert all(failure.__traceback__ is None for _, failure in cache._failures.values())
    with pytest.raises(ServiceUnavailable, match="Postgres is down"):
        cache.get("a", compute, 60)
    assert len(attempts) == 1
    monkeypatch.setattr("mindset.retrieval.background_cache.time.monotonic", lambda: float("inf"))
    assert cache.get("a", compute, 60) == "value"
    assert not cache._failures
