"""Answers as they are written: events, clients that vanish, processes that end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from api.app import create_app
from local_stack import ports
from mindset.application import Installation
from mindset.config.settings import Settings
from tests.corpus import Corpus, run_night
from tests.providers import ProviderServer, hang, pause, status
from tests.providers.fixtures import provider
from tests.served import address_of
from tests.waiting import wait_until

__all__ = ["provider"]

MODEL = "meta/llama-3.1-8b-instruct"
QUESTION = "How many rooms has the bakery 3?"
Event = tuple[str, str, Any]


@pytest.fixture
def spoken(installation: Installation, corpus: Corpus) -> Corpus:
    """A released knowledge base whose answers a model behind the stand-in NIM writes, and nobody else."""
    corpus.define(generation={"provider": "nim", "model": MODEL, "deadline_s": 10, "fallback": []})
    corpus.fill(4)
    run_night(installation, corpus.name)
    return corpus


@contextmanager
def served(settings: Settings) -> Iterator[tuple[httpx.Client, FastAPI]]:
    app = create_app(settings)
    with address_of(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client, app


def answers_asked_of(provider: ProviderServer) -> int:
    return sum(each.path.endswith("/chat/completions") for each in provider.requests)


def events_of(response: httpx.Response) -> Iterator[Event]:
    name = number = ""
    for line in response.iter_lines():
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("id:"):
            number = line.removeprefix("id:").strip()
        elif line.startswith("data:"):
            yield number, name, json.loads(line.removeprefix("data:"))


def asking(client: httpx.Client, kb: str) -> Any:
    body = {"knowledge_base": kb, "question": QUESTION, "stream": True}
    return client.stream("POST", "/v1/answers", json=body)


@pytest.fixture
def told(settings: Settings, provider: ProviderServer) -> Settings:
    return settings.model_copy(update={"nim_url": provider.nim_url})


def test_events_come_in_order_and_each_has_an_id_of_its_answer(told: Settings, spoken: Corpus) -> None:
    with served(told) as (client, _), asking(client, spoken.name) as response:
        events = list(events_of(response))
    names = [name for _, name, _ in events]
    assert names[:2] == ["answer.created", "retrieval.completed"]
    assert names[-1] == "answer.completed"
    assert {"answer.delta", "citation"} <= set(names)
    answer = events[0][2]["id"]
    assert [number for number, _, _ in events] == [f"{answer}.{at}" for at in range(1, len(events) + 1)]
    assert events[-1][2]["id"] == answer


def test_a_silent_stream_gets_comments_so_that_proxies_keep_it(
    told: Settings, spoken: Corpus, provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.answers.HEARTBEAT_S", 0.2)
    provider.fail("/chat/completions", hang(after=3))
    with served(told) as (client, _), asking(client, spoken.name) as response:
        assert any(line.startswith(":") for line in response.iter_lines())


@pytest.mark.parametrize("streams", [True, False])
def test_disconnected_client_frees_its_stream_and_the_request_to_the_model(
    told: Settings, spoken: Corpus, provider: ProviderServer, streams: bool
) -> None:
    provider.fail("/chat/completions", always=hang(after=3))
    with served(told) as (client, app):
        body = json.dumps({"knowledge_base": spoken.name, "question": QUESTION, "stream": streams}).encode()
        with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as connection:
            connection.sendall(
                b"POST /v1/answers HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%s" % (len(body), body)
            )
            wait_until(lambda: app.state.streams.in_progress == 1 and answers_asked_of(provider))
        # Less than the 10 seconds after which the answer's own deadline would end it.
        wait_until(lambda: app.state.streams.in_progress == 0, 5, "The stream was not closed")
        assert provider.left_early.wait(5)


def test_more_answers_than_the_process_takes_on_are_told_to_come_back(
    told: Settings, spoken: Corpus, provider: ProviderServer
) -> None:
    provider.fail("/chat/completions", hang(after=3))
    with (
        served(told.model_copy(update={"api_max_answers": 1})) as (client, app),
        asking(client, spoken.name) as response,
    ):
        events = events_of(response)
        next(events)  # and kept: httpcore closes a response whose iterator is let go
        refused = client.post("/v1/answers", json={"knowledge_base": spoken.name, "question": QUESTION})
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:mindset:Overloaded"
        assert int(refused.headers["retry-after"]) >= 1
        response.close()
        wait_until(lambda: app.state.streams.in_progress == 0, 5, "The stream was not closed")
        assert client.post("/v1/answers", json={"knowledge_base": spoken.name, "question": QUESTION}).status_code == 200


def test_what_is_wrong_before_the_first_event_has_a_status_of_its_own(told: Settings, spoken: Corpus) -> None:
    with served(told) as (client, app):
        with asking(client, "nobody") as response:
            assert response.status_code == 404
        with client.stream(
            "POST", "/v1/answers", json={"knowledge_base": spoken.name, "question": " ", "stream": True}
        ) as response:
            assert response.status_code == 422
        wait_until(lambda: app.state.streams.in_progress == 0, message="The stream was not closed")


def test_a_failure_in_the_middle_is_an_event_and_ends_the_stream(
    told: Settings, spoken: Corpus, provider: ProviderServer
) -> None:
    provider.fail("/chat/completions", always=status(500))
    spoken.define(generation={"provider": "nim", "model": MODEL, "deadline_s": 1, "fallback": []})
    with served(told) as (client, _), asking(client, spoken.name) as response:
        *_, (_, name, problem) = events_of(response)
    assert (name, problem["type"], problem["status"]) == ("error", "urn:mindset:ProviderUnavailable", 503)
    assert problem["request_id"] == response.headers["x-request-id"]


@pytest.fixture
def process(told: Settings, spoken: Corpus) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The API as it is run: a process that can be told to end."""
    assert told.postgres_url
    port = ports.choose(["api"], fixed={}, remembered={})["api"]
    environment = os.environ | {
        "MINDSET_POSTGRES_URL": told.postgres_url.get_secret_value(),
        "MINDSET_CHROMA_URL": told.chroma_url or "",
        "MINDSET_REDIS_URL": told.redis_url.get_secret_value() if told.redis_url else "",
        "MINDSET_KNOWLEDGE_BASES": str(told.knowledge_bases),
        "MINDSET_DIRECTORY": str(told.directory),
        "MINDSET_NIM_URL": told.nim_url,
        "MINDSET_API_PORT": str(port),
        "MINDSET_SHUTDOWN_GRACE_S": "5",
    }
    with subprocess.Popen([sys.executable, "-m", "api"], env=environment) as started:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(url), 60, "The API did not start")
        yield started, url
        started.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez").is_success
    except httpx.TransportError:
        return False


def test_a_process_that_is_told_to_end_finishes_what_it_began(
    process: tuple[subprocess.Popen[bytes], str], spoken: Corpus, provider: ProviderServer
) -> None:
    running, url = process
    resume = threading.Event()
    provider.fail("/chat/completions", always=pause(after=3, until=resume))
    with httpx.Client(base_url=url, timeout=20) as client, asking(client, spoken.name) as response:
        events = events_of(response)
        seen = [next(events)[1]]
        running.send_signal(signal.SIGTERM)
        wait_until(lambda: not answers(url), message="The API did not begin to shut down")
        resume.set()
        seen += [name for _, name, _ in events]
    assert seen[-1] == "answer.completed"
    assert running.wait(20) == -signal.SIGTERM  # uvicorn raises the signal again after its shutdown


def test_a_stream_that_cannot_be_finished_ends_with_an_event_that_says_so(
    process: tuple[subprocess.Popen[bytes], str], spoken: Corpus, provider: ProviderServer
) -> None:
    running, url = process
    provider.fail("/chat/completions", always=hang(after=3))
    with httpx.Client(base_url=url, timeout=20) as client, asking(client, spoken.name) as response:
        events = events_of(response)
        next(events)
        running.send_signal(signal.SIGTERM)
        *_, (_, name, problem) = events
    assert (name, problem["type"]) == ("error", "urn:mindset:ShuttingDown")
    assert running.wait(20) == -signal.SIGTERM  # uvicorn raises the signal again after its shutdown


def test_as_the_process_ends_it_answers_who_waits_for_a_whole_answer(
    process: tuple[subprocess.Popen[bytes], str], spoken: Corpus, provider: ProviderServer
) -> None:
    running, url = process
    resume = threading.Event()
    provider.fail("/chat/completions", always=pause(after=3, until=resume))
    replies: list[httpx.Response] = []
    body = {"knowledge_base": spoken.name, "question": QUESTION}
    asking = threading.Thread(target=lambda: replies.append(httpx.post(f"{url}/v1/answers", json=body, timeout=20)))
    asking.start()
    wait_until(lambda: answers_asked_of(provider))
    running.send_signal(signal.SIGTERM)
    wait_until(lambda: not answers(url), message="The API did not begin to shut down")
    resume.set()
    asking.join(20)
    assert [reply.status_code for reply in replies] == [200]
    assert running.wait(20) == -signal.SIGTERM  # uvicorn raises the signal again after its shutdown


def test_a_model_that_cannot_be_used_is_told_at_start(told: Settings, corpus: Corpus) -> None:
    corpus.define(generation={"provider": "nim", "model": "old/model"})
    with capture_logs() as logs, served(told):
        wait_until(lambda: any(each["event"] == "model cannot be used" for each in logs))
    (line,) = (each for each in logs if each["event"] == "model cannot be used")
    assert (line["model"], line["log_level"]) == ("nim:old/model", "warning")
    assert line["knowledge_bases"] == [corpus.name]
    assert MODEL in line["error"]
