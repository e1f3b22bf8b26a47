"""Rate limits, caches, conversations and notifications while Redis is down, unresponsive or restarted."""

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
from mindset.releases.notifications import Listener, publish_release
from tests.corpus import Corpus, run_night
from tests.faults.kills import Servers
from tests.integration.test_access import PEPPER, bearer, make_key
from tests.served import api_at
from tests.silence import SilentServer, silent
from tests.waiting import wait_until

__all__ = ["silent"]

QUESTION = "How many rooms has the bakery 3?"
RECOVERY_S = 30.0
"""Time for the supervisor to restart the server and for the circuit breaker to close."""


@pytest.fixture
def released(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.fill(4)
    run_night(installation, corpus.name)
    return corpus


class KillableValkey:
    """A Valkey server that only one test uses."""

    def __init__(self, directory: Path, url: str) -> None:
        self.url, self._servers = url, Servers(directory)

    def kill(self) -> None:
        self._servers.kill("valkey", signal.SIGKILL)


@pytest.fixture
def killable_valkey(tmp_path: Path) -> Iterator[KillableValkey]:
    with local_stack(tmp_path / "valkey", services=("valkey",)) as addresses:
        yield KillableValkey(tmp_path / "valkey", addresses.redis_url or "")


def guarded(settings: Settings, redis_url: str, **more: Any) -> Settings:
    return settings.model_copy(
        update={"redis_url": SecretStr(redis_url), "api_access": "required", "api_key_pepper": SecretStr(PEPPER)} | more
    )


def test_answers_continue_while_redis_is_down_and_are_cached_again_after_its_restart(
    settings: Settings, installation: Installation, released: Corpus, killable_valkey: KillableValkey
) -> None:
    headers = bearer(make_key(installation, Scope.ASK))
    body = {"knowledge_base": released.name, "question": QUESTION}
    answers: list[dict[str, Any]] = []

    with (
        api_at(guarded(settings, killable_valkey.url)) as url,
        httpx.Client(base_url=url, headers=headers, timeout=20) as client,
    ):

        def ask(**fields: Any) -> dict[str, Any]:
            response = client.post("/v1/answers", json=body | fields)
            assert response.status_code == 200, response.text
            assert response.headers["ratelimit"]
            answers.append(response.json())
            return answers[-1]

        conversation = ask()["conversation"]
        assert conversation
        assert ask(conversation=conversation)["cached"]
        killable_valkey.kill()
        assert not ask()["cached"]
        wait_until(lambda: ask()["cached"], RECOVERY_S, "No answer came from the cache")
        assert ask()["conversation"]
    assert {answer["answer"] for answer in answers} == {answers[0]["answer"]}
    assert [answer["degraded"] for answer in answers] == [[]] * len(answers)


def test_conversation_is_degraded_without_a_configured_redis(settings: Settings, released: Corpus) -> None:
    body = {"knowledge_base": released.name, "question": QUESTION, "conversation": "yesterday"}
    with api_at(settings.model_copy(update={"redis_url": None})) as url:
        answer = httpx.post(f"{url}/v1/answers", json=body, timeout=20).json()
    assert (answer["conversation"], answer["degraded"]) == (None, ["conversation"])


def test_conversation_is_degraded_while_redis_is_unresponsive(
    settings: Settings, released: Corpus, silent: SilentServer
) -> None:
    configured = settings.model_copy(update={"redis_url": SecretStr(silent.url)})
    body = {"knowledge_base": released.name, "question": QUESTION, "conversation": "yesterday"}
    with api_at(configured) as url:
        whole = httpx.post(f"{url}/v1/answers", json=body, timeout=20).json()
        events = httpx.post(f"{url}/v1/answers", json=body | {"stream": True}, timeout=20).text
    assert (whole["conversation"], whole["degraded"]) == (None, ["conversation"])
    assert '"degraded":["conversation"]' in events


def test_unresponsive_redis_is_tried_at_most_once_a_second(
    settings: Settings, installation: Installation, released: Corpus, silent: SilentServer
) -> None:
    # Each answer queries Redis for the address, the caller, both caches and the conversation.
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
    assert silent.connections() <= 2 + seconds + seconds / 2  # the listener retries every two seconds


def test_many_concurrent_commands_do_not_open_the_circuit_breaker(stack: Addresses) -> None:
    valkey = RedisClient(stack.redis_url or "", lambda: "test")
    barrier = threading.Barrier(150)

    def set_key(number: int) -> bool | None:
        barrier.wait()
        return valkey.execute(lambda client, key: client.set(key, "here", ex=10), f"thread {number}")

    with ThreadPoolExecutor(150) as threads:
        results = list(threads.map(set_key, range(150)))
    assert True in results
    assert not valkey.is_down


def test_listener_reconnects_after_a_restart_of_redis_and_closes_immediately(killable_valkey: KillableValkey) -> None:
    received: list[tuple[str, int]] = []
    subscriber, publisher = (RedisClient(killable_valkey.url, lambda: "test") for _ in range(2))
    listener = Listener(subscriber, lambda kb, version: received.append((kb, version)))

    def published_and_received(version: int) -> bool:
        publish_release(publisher, "docs", version)
        publisher.execute(lambda client, channel: client.publish(channel, "invalid message"), "releases")
        return ("docs", version) in received

    try:
        for version in (1, 2):
            wait_until(
                partial(published_and_received, version),
                RECOVERY_S,
                f"Version {version} was not announced to the listener",
            )
            killable_valkey.kill()
    finally:
        listener.close()
    wait_until(lambda: not listener._thread.is_alive(), message="The listener did not stop")
