"""Tests of resources that are opened once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mindset.errors import ConfigurationError, ServiceUnavailable
from mindset.providers.opened import OpenedOnce


class Resource:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_racing_threads_open_a_resource_once() -> None:
    opened: list[Resource] = []
    barrier = threading.Barrier(8)

    def open_it(_: str) -> Resource:
        opened.append(Resource())
        return opened[-1]

    resources = OpenedOnce[str, Resource](open_it)

    def get() -> Resource:
        barrier.wait()
        return resources.get("a")

    with ThreadPoolExecutor(8) as threads:
        found = [future.result() for future in [threads.submit(get) for _ in range(8)]]
    assert len(opened) == 1
    assert set(map(id, found)) == {id(opened[0])}
    resources.close()
    assert opened[0].closed == 1


def test_resource_that_is_slow_to_open_blocks_no_other() -> None:
    release, started = threading.Event(), threading.Event()

    def open_it(key: str) -> Resource:
        if key == "slow":
            started.set()
            release.wait(60)
        return Resource()

    resources = OpenedOnce[str, Resource](open_it)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(resources.get, "slow")
        assert started.wait(60)
        assert resources.get("fast", 0.01)
        assert resources.get_if_open("slow") is None
        with pytest.raises(ServiceUnavailable, match="The model slow is still loading"):
            resources.get("slow", 0.01)
        release.set()
        assert slow.result() is resources.get("slow", 0.01)


def test_failure_to_open_is_raised_and_tried_again() -> None:
    attempts = 0

    def open_it(_: str) -> Resource:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ConfigurationError("no such model")
        return Resource()

    resources = OpenedOnce[str, Resource](open_it)
    with pytest.raises(ConfigurationError):
        resources.get("a")
    assert resources.get("a")
