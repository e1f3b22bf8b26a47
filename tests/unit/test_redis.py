"""Tests of the Redis client: a failure of Redis never reaches the caller."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis.exceptions

from mindset.errors import ConfigurationError
from mindset.redis import TIMEOUT_S, RedisClient
from tests.silence import SilentServer, silent
from tests.waiting import wait_until

__all__ = ["silent"]

FAILURES = [
    error
    for error in vars(redis.exceptions).values()
    if isinstance(error, type) and issubclass(error, redis.exceptions.RedisError)
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
def test_error_of_redis_returns_none(failure: type[redis.exceptions.RedisError]) -> None:
    def fail(_: object) -> str:
        raise failure.__new__(failure)

    valkey = RedisClient("redis://127.0.0.1:9/0", lambda: "test")
    assert valkey.execute(fail) is None
    # A server that rejects a command, because it is full or a replica, is available for the next one.
    assert valkey.is_down is not issubclass(failure, redis.exceptions.ResponseError)


def test_unresponsive_server_times_out(silent: SilentServer) -> None:
    started = time.monotonic()
    assert RedisClient(silent.url, lambda: "test").execute(lambda client, key: client.get(key), "key") is None
    assert TIMEOUT_S <= time.monotonic() - started < TIMEOUT_S + 5


def test_unresponsive_server_is_retried_by_one_request_at_a_time(silent: SilentServer) -> None:
    valkey = RedisClient(silent.url, lambda: "test")
    for attempts in (1, 2):
        wait_until(lambda: not valkey.is_down)
        barrier = threading.Barrier(20)

        def ask(_: int, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            assert valkey.execute(lambda client, key: client.get(key), "key") is None

        if attempts == 1:
            valkey.execute(lambda client, key: client.get(key), "key")
        with ThreadPoolExecutor(20) as threads:
            list(threads.map(ask, range(20)))
        assert silent.connections() == attempts


def test_unknown_namespace_is_like_an_unavailable_server(silent: SilentServer) -> None:
    valkey = RedisClient(silent.url, lambda: None)
    assert valkey.execute(lambda client, key: client.get(key), "key") is None
    assert list(valkey.listen("channel")) == []
    assert silent.connections() == 0


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://host:port/0"])
def test_invalid_url_names_its_variable(url: str) -> None:
    with pytest.raises(ConfigurationError, match="MINDSET_REDIS_URL"):
        RedisClient(url, lambda: "test")
