"""Redis dies, comes back, or says nothing: limits, caches, conversations and announcements go on without it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from local_stack.addresses import Addresses
from local_stack.supervision import local_stack
from mindset.application import Installation
from mindset.config.scopes import Scope
from mindset.config.settings import Settings
from mindset.redis import RedisClient
from mindset.releases.notifications import Listener
from tests.corpus import Corpus, run_night
from tests.faults.victims import Servers
from tests.integration.test_access import PEPPER, bearer, make_key
from tests.served import api_at
from tests.silence import SilentServer, silent
from tests.waiting import wait_until

__all__ = ["silent"]

QUESTION = "How many rooms has the bakery 3?"
BACK_S = 30.0
"""The supervisor's start of the server, and the second for which it is left alone."""


@pytest.fixture
def released(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.fill(4)
    run_night(installation, corpus.name)
    return corpus


class Mortal:
    """A Valkey of its own."""

    def __init__(self, directory: Path, url: str) -> None:
        self.url, self._servers = url, Servers(directory)

    def kill(self) -> None:
        self._servers.kill("valkey", signal.SIGKILL)


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Mortal]:
    with local_stack(tmp_path / "valkey", services=("valkey",)) as addresses:
        yield Mortal(tmp_path / "valkey", addresses.redis_url or "")


def guarded(settings: Settings, redis_url: str, **more: Any) -> Settings:
    return settings.model_copy(
        update={"redis_url": SecretStr(redis_url), "api_access": "required", "api_key_pepper": SecretStr(PEPPER)} | more
    )


def test_everything_goes_on_while_redis_is_away_and_is_shared_again_once_it_is_back(
    settings: Settings, installation: Installation, released: Corpus, mortal: Mortal
) -> None:
    headers = bearer(make_key(installation, Scope.ASK))
    body = {"knowledge_base": released.name, "question": QUESTION}
    told: list[dict[str, Any]] = []

    with (
        api_at(guarded(settings, mortal.url)) as url,
        httpx.Client(base_url=url, headers=headers, timeout=20) as client,
    ):

        def ask(**more: Any) -> dict[str, Any]:
            response = client.post("/v1/answers", json=body | more)
            assert response.status_code == 200, response.text
            assert response.headers["ratelimit"]
            told.append(response.json())
            return told[-1]

        conversation = ask()["conversation"]
        assert conversation
        assert ask(conversation=conversation)["cached"]
        mortal.kill()
        assert not ask()["cached"]
        wait_until(lambda: ask()["cached"], BACK_S, "No answer came from the cache")
        assert ask()["conversation"]
    assert {each["answer"] for each in told} == {told[0]["answer"]}
    assert [each["degraded"] for each in told] == [[]] * len(told)


def test_a_conversation_where_no_redis_is_set_up_is_not_promised(settings: Settings, released: Corpus) -> None:
    body = {"knowledge_base": released.name, "question": QUESTION, "conversation": "of-yesterday"}
    with api_at(settings.model_copy(update={"redis_url": None})) as url:
        told = httpx.post(f"{url}/v1/answers", json=body, timeout=20).json()
    assert (told["conversation"], told["degraded"]) == (None, ["conversation"])


def test_a_conversation_without_redis_is_degraded_and_so_is_its_stream(
    settings: Settings, released: Corpus, silent: SilentServer
) -> None:
    own = settings.model_copy(update={"redis_url": SecretStr(silent.url)})
    body = {"knowledge_base": released.name, "question": QUESTION, "conversation": "of-yesterday"}
    with api_at(own) as url:
        whole = httpx.post(f"{url}/v1/answers", json=body, timeout=20).json()
        events = httpx.post(f"{url}/v1/answers", json=body | {"stream": True}, timeout=20).text
    assert (whole["conversation"], whole["degraded"]) == (None, ["conversation"])
    assert '"degraded":["conversation"]' in events


def test_a_silent_redis_is_waited_for_once_a_second_whatever_is_asked_of_it(
    settings: Settings, installation: Installation, released: Corpus, silent: SilentServer
) -> None:
    # Of each answer, the address, the caller, the cache of searches and of answers, and the conversation are asked for.
    headers, body = bearer(make_key(installation, Scope.ASK)), {"knowledge_base": released.name, "question": QUESTION}
    started = time.monotonic()
    with (
        api_at(guarded(settings, silent.url, rate_limit_address="1000/minute")) as url,
        httpx.Client(base_url=url, headers=headers, timeout=20) as client,
    ):
        for _ in range(30):
            response = client.post("/v1/answers", json=body)
            assert response.status_code == 200
            assert response.json()["citations"]
            assert response.headers["ratelimit"]
    seconds = time.monotonic() - started
    assert silent.connections() <= 2 + seconds + seconds / 2  # and the listener tries every two seconds


def test_that_too_many_ask_at_once_does_not_make_redis_look_down(stack: Addresses) -> None:
    valkey = RedisClient(stack.redis_url or "")
    together = threading.Barrier(150)

    def ask(number: int) -> bool | None:
        together.wait()
        return valkey.execute(lambda client: client.set(f"thread {number}", "here", ex=10))

    with ThreadPoolExecutor(150) as threads:
        answered = list(threads.map(ask, range(150)))
    assert True in answered
    assert not valkey.is_down


def test_a_listener_hears_again_once_redis_is_back_and_ends_at_once(mortal: Mortal) -> None:
    heard: list[tuple[str, int]] = []
    listening, speaking = RedisClient(mortal.url), RedisClient(mortal.url)
    listener = Listener(listening, lambda kb, version: heard.append((kb, version)))

    def announced_and_heard(version: int) -> bool:
        speaking.execute(lambda client: client.publish("mindset:releases", f'["docs", {version}]'))
        speaking.execute(lambda client: client.publish("mindset:releases", "no announcement"))
        return ("docs", version) in heard

    try:
        for version in (1, 2):
            wait_until(partial(announced_and_heard, version), BACK_S, f"Version {version} was not heard of")
            mortal.kill()
    finally:
        listener.close()
    wait_until(lambda: not listener._thread.is_alive(), message="The listener did not end")
