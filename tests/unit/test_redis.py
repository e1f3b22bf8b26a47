"""Redis may fail in any way: whoever asks is told nothing, and goes on."""

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
    each
    for each in vars(redis.exceptions).values()
    if isinstance(each, type) and issubclass(each, redis.exceptions.RedisError)
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
def test_whatever_redis_raises_is_no_answer(failure: type[redis.exceptions.RedisError]) -> None:
    def fail(_: object) -> str:
        raise failure.__new__(failure)

    valkey = RedisClient("redis://127.0.0.1:9/0")
    assert valkey.execute(fail) is None
    # One that refuses a command, being full or a replica, is there, and may well do the next.
    assert valkey.is_down is not issubclass(failure, redis.exceptions.ResponseError)


def test_one_that_is_silent_is_waited_for_a_moment(silent: SilentServer) -> None:
    started = time.monotonic()
    assert RedisClient(silent.url).execute(lambda client: client.get("key")) is None
    assert TIMEOUT_S <= time.monotonic() - started < TIMEOUT_S + 5


def test_one_that_is_silent_is_tried_again_after_a_second_by_one_request(silent: SilentServer) -> None:
    valkey = RedisClient(silent.url)
    for tried in (1, 2):
        wait_until(lambda: not valkey.is_down)
        together = threading.Barrier(20)

        def ask(_: int, together: threading.Barrier = together) -> None:
            together.wait()
            assert valkey.execute(lambda client: client.get("key")) is None

        if tried == 1:
            valkey.execute(lambda client: client.get("key"))
        with ThreadPoolExecutor(20) as threads:
            list(threads.map(ask, range(20)))
        assert silent.connections() == tried


@pytest.mark.parametrize("wrong", ["localhost:6379", "http://localhost", "redis://host:port/0"])
def test_a_url_that_is_none_names_its_variable(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="MINDSET_REDIS_URL"):
        RedisClient(wrong)
