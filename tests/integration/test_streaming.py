"""Streamed answers: events, disconnecting clients and shutdown."""

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
def nim_corpus(installation: Installation, corpus: Corpus) -> Corpus:
    """A released knowledge base whose answers are written only by a model of the fake NIM server."""
    corpus.define(generation={"provider": "nim", "model": MODEL, "deadline_s": 10, "fallback": []})
    corpus.fill(4)
    run_night(installation, corpus.name)
    return corpus


@contextmanager
def served(settings: Settings) -> Iterator[tuple[httpx.Client, FastAPI]]:
    app = create_app(settings)
    with address_of(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client, app


def answer_requests(provider: ProviderServer) -> int:
    return sum(request.path.endswith("/chat/completions") for request in provider.requests)


def events_of(response: httpx.Response) -> Iterator[Event]:
    name = number = ""
    for line in response.iter_lines():
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("id:"):
            number = line.removeprefix("id:").strip()
        elif line.startswith("data:"):
            yield number, name, json.loads(line.removeprefix("data:"))


def stream_answer(client: httpx.Client, kb: str) -> Any:
    body = {"knowledge_base": kb, "question": QUESTION, "stream": True}
    return client.stream("POST", "/v1/answers", json=body)


@pytest.fixture
def nim_settings(settings: Settings, provider: ProviderServer) -> Settings:
    return settings.model_copy(update={"nim_url": provider.nim_url})


def test_events_are_ordered_and_numbered_within_their_answer(nim_settings: Settings, nim_corpus: Corpus) -> None:
    with served(nim_settings) as (client, _), stream_answer(client, nim_corpus.name) as response:
        events = list(events_of(response))
    names = [name for _, name, _ in events]
    assert names[:2] == ["answer.created", "retrieval.completed"]
    assert names[-1] == "answer.completed"
    assert {"answer.delta", "citation"} <= set(names)
    answer = events[0][2]["id"]
    assert [number for number, _, _ in events] == [f"{answer}.{position}" for position in range(1, len(events) + 1)]
    assert events[-1][2]["id"] == answer


def test_idle_stream_sends_heartbeat_comments(
    nim_settings: Settings, nim_corpus: Corpus, provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.answering.HEARTBEAT_S", 0.2)
    provider.fail("/chat/completions", hang(after=3))
    with served(nim_settings) as (client, _), stream_answer(client, nim_corpus.name) as response:
        assert any(line.startswith(":") for line in response.iter_lines())


@pytest.mark.parametrize("streams", [True, False])
def test_disconnected_client_frees_its_stream_and_the_request_to_the_model(
    nim_settings: Settings, nim_corpus: Corpus, provider: ProviderServer, streams: bool
) -> None:
    provider.fail("/chat/completions", always=hang(after=3))
    with served(nim_settings) as (client, app):
        body = json.dumps({"knowledge_base": nim_corpus.name, "question": QUESTION, "stream": streams}).encode()
        with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as connection:
            connection.sendall(
                b"POST /v1/answers HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%s" % (len(body), body)
            )
            wait_until(lambda: app.state.streams.in_progress == 1 and answer_requests(provider))
        # Less than the answer's own deadline of 10 seconds.
        wait_until(lambda: app.state.streams.in_progress == 0, 5, "The stream was not closed")
        assert provider.left_early.wait(5)


def test_answers_above_the_limit_are_rejected_with_retry_after(
    nim_settings: Settings, nim_corpus: Corpus, provider: ProviderServer
) -> None:
    provider.fail("/chat/completions", hang(after=3))
    with (
        served(nim_settings.model_copy(update={"api_max_answers": 1})) as (client, app),
        stream_answer(client, nim_corpus.name) as response,
    ):
        events = events_of(response)
        next(events)  # `events` stays referenced: httpcore closes a response once its iterator is deleted
        rejected = client.post("/v1/answers", json={"knowledge_base": nim_corpus.name, "question": QUESTION})
        assert rejected.status_code == 503
        assert rejected.json()["type"] == "urn:mindset:Overloaded"
        assert int(rejected.headers["retry-after"]) >= 1
        response.close()
        wait_until(lambda: app.state.streams.in_progress == 0, 5, "The stream was not closed")
        assert (
            client.post("/v1/answers", json={"knowledge_base": nim_corpus.name, "question": QUESTION}).status_code
            == 200
        )


def test_error_before_the_first_event_has_its_own_status(nim_settings: Settings, nim_corpus: Corpus) -> None:
    with served(nim_settings) as (client, app):
        with stream_answer(client, "missing") as response:
            assert response.status_code == 404
        with client.stream(
            "POST", "/v1/answers", json={"knowledge_base": nim_corpus.name, "question": " ", "stream": True}
        ) as response:
            assert response.status_code == 422
        wait_until(lambda: app.state.streams.in_progress == 0, message="The stream was not closed")


def test_failure_during_a_stream_is_sent_as_an_error_event(
    nim_settings: Settings, nim_corpus: Corpus, provider: ProviderServer
) -> None:
    provider.fail("/chat/completions", always=status(500))
    nim_corpus.define(generation={"provider": "nim", "model": MODEL, "deadline_s": 1, "fallback": []})
    with served(nim_settings) as (client, _), stream_answer(client, nim_corpus.name) as response:
        *_, (_, name, problem) = events_of(response)
    assert (name, problem["type"], problem["status"]) == ("error", "urn:mindset:ProviderUnavailable", 503)
    assert problem["request_id"] == response.headers["x-request-id"]


@pytest.fixture
def process(nim_settings: Settings, nim_corpus: Corpus) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """An API in a separate process, which receives signals, and its URL."""
    assert nim_settings.postgres_url
    port = ports.choose(["api"], fixed={}, remembered={})["api"]
    environment = os.environ | {
        "MINDSET_POSTGRES_URL": nim_settings.postgres_url.get_secret_value(),
        "MINDSET_CHROMA_URL": nim_settings.chroma_url or "",
        "MINDSET_REDIS_URL": nim_settings.redis_url.get_secret_value() if nim_settings.redis_url else "",
        "MINDSET_KNOWLEDGE_BASES": str(nim_settings.knowledge_bases),
        "MINDSET_DIRECTORY": str(nim_settings.directory),
        "MINDSET_NIM_URL": nim_settings.nim_url,
        "MINDSET_API_PORT": str(port),
        "MINDSET_SHUTDOWN_GRACE_S": "5",
    }
    with subprocess.Popen([sys.executable, "-m", "api"], env=environment) as started:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: is_up(url), 60, "The API did not start")
        yield started, url
        started.kill()


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez").is_success
    except httpx.TransportError:
        return False


def test_shutdown_finishes_streams_in_progress(
    process: tuple[subprocess.Popen[bytes], str], nim_corpus: Corpus, provider: ProviderServer
) -> None:
    running, url = process
    resume = threading.Event()
    provider.fail("/chat/completions", always=pause(after=3, until=resume))
    with httpx.Client(base_url=url, timeout=20) as client, stream_answer(client, nim_corpus.name) as response:
        events = events_of(response)
        names = [next(events)[1]]
        running.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_up(url), message="The API did not begin to shut down")
        resume.set()
        names += [name for _, name, _ in events]
    assert names[-1] == "answer.completed"
    assert running.wait(20) == -signal.SIGTERM  # uvicorn raises the signal again after its shutdown


def test_stream_that_cannot_finish_before_shutdown_ends_with_an_error_event(
    process: tuple[subprocess.Popen[bytes], str], nim_corpus: Corpus, provider: ProviderServer
) -> None:
    running, url = process
    provider.fail("/chat/completions", always=hang(after=3))
    with httpx.Client(base_url=url, timeout=20) as client, stream_answer(client, nim_corpus.name) as response:
        events = events_of(response)
        next(events)
        running.send_signal(signal.SIGTERM)
        *_, (_, name, problem) = events
    assert (name, problem["type"]) == ("error", "urn:mindset:ShuttingDown")
    assert running.wait(20) == -signal.SIGTERM  # uvicorn raises the signal again after its shutdown


def test_shutdown_finishes_whole_answers_in_progress(
    process: tuple[subprocess.Popen[bytes], str], nim_corpus: Corpus, provider: ProviderServer
) -> None:
    running, url = process
    resume = threading.Event()
    provider.fail("/chat/completions", always=pause(after=3, until=resume))
    replies: list[httpx.Response] = []
    body = {"knowledge_base": nim_corpus.name, "question": QUESTION}
    waiting = threading.Thread(target=lambda: replies.append(httpx.post(f"{url}/v1/answers", json=body, timeout=20)))
    waiting.start()
    wait_until(lambda: answer_requests(provider))
    running.send_signal(signal.SIGTERM)
    wait_until(lambda: not is_up(url), message="The API did not begin to shut down")
    resume.set()
    waiting.join(20)
    assert [reply.status_code for reply in replies] == [200]
    assert running.wait(20) == -signal.SIGTERM  # uvicorn raises the signal again after its shutdown


def test_unusable_model_is_logged_at_start(nim_settings: Settings, corpus: Corpus) -> None:
    corpus.define(generation={"provider": "nim", "model": "old/model"})
    with capture_logs() as logs, served(nim_settings):
        wait_until(lambda: any(entry["event"] == "model cannot be used" for entry in logs))
    (line,) = (entry for entry in logs if entry["event"] == "model cannot be used")
    assert (line["model"], line["log_level"]) == ("nim:old/model", "warning")
    assert line["knowledge_bases"] == [corpus.name]
    assert MODEL in line["error"]
