"""Answers while providers and servers fail: none is wrong, uncited or later than the deadline, and service recovers."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from local_stack.state import read
from local_stack.supervision import local_stack
from mindset.application import open_installation
from mindset.catalog.migrations import migrate
from mindset.config.settings import Settings
from tests.corpus import Corpus, run_night
from tests.faults.kills import Servers
from tests.providers import Fault, ProviderServer, cut, drip, error_in_stream, garbage, hang, status
from tests.providers.fixtures import provider
from tests.served import api_at
from tests.waiting import wait_until

__all__ = ["provider"]

NIM, CLAUDE = "meta/llama-3.1-8b-instruct", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
DEADLINE_S = 6.0
SLACK_S = 3.0
"""How much later than the deadline a response may arrive on a busy machine."""
RECOVERED_S = 15.0
"""Longest wait for recovery. On an idle machine it takes less than 5 seconds."""
QUESTION = "How many rooms has the bakery 3?"

FAULTS: dict[str, Fault] = {
    "429": status(429, retry_after=30),
    "500": status(500),
    "hang": hang(),
    "slow drip": drip(0.05),
    "cut before a token": cut(0),
    "garbage": garbage(),
    "error event": error_in_stream(0),
}
LATE_FAULTS: dict[str, Fault] = {"hang": hang(after=4), "cut": cut(4), "error event": error_in_stream(4)}


@pytest.fixture(scope="module")
def serving_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A separate stack, whose servers may be killed."""
    directory = tmp_path_factory.mktemp("serving")
    definitions = directory / "knowledge_bases"
    definitions.mkdir()
    with local_stack(directory / "stack", services=("postgres", "valkey", "chroma")) as addresses:
        assert addresses.postgres_url
        migrate(addresses.postgres_url)
        yield Settings(
            directory=directory / "stack",
            knowledge_bases=definitions,
            postgres_url=SecretStr(addresses.postgres_url),
            chroma_url=addresses.chroma_url,
            redis_url=SecretStr(addresses.redis_url or ""),
            cache_ttl_s=0,
        )


@pytest.fixture(scope="module")
def corpus(serving_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    corpus = Corpus(tmp_path_factory.mktemp("documents") / "of", serving_settings.knowledge_bases)
    corpus.fill(4)
    with open_installation(serving_settings) as installation:
        run_night(installation, corpus.name)
    return corpus


def routed(corpus: Corpus, *fallback: dict[str, str]) -> None:
    corpus.define(generation={"provider": "nim", "model": NIM, "deadline_s": DEADLINE_S, "fallback": list(fallback)})


@pytest.fixture
def client(serving_settings: Settings, provider: ProviderServer, corpus: Corpus) -> Iterator[httpx.Client]:
    routed(corpus, {"provider": "bedrock", "model": CLAUDE}, {"provider": "extractive"})
    settings = serving_settings.model_copy(update={"nim_url": provider.nim_url, "bedrock_url": provider.url})
    with api_at(settings) as url, httpx.Client(base_url=url, timeout=DEADLINE_S + 5) as client:
        yield client


def ask(client: httpx.Client, corpus: Corpus) -> httpx.Response:
    return client.post("/v1/answers", json={"knowledge_base": corpus.name, "question": QUESTION})


def check(answer: dict[str, Any]) -> None:
    """Assert that an answer is quoted from its passages, or reports that they do not contain one."""
    if not answer["supported"]:
        assert answer["answer"] == "Not in the documents."
        assert answer["citations"] == []
        return
    assert answer["citations"]
    for citation in answer["citations"]:
        passage = answer["passages"][citation["passage"] - 1]
        assert citation["uri"] == passage["places"][0]["uri"]
        quote = answer["answer"][citation["start"] : citation["end"]].strip(" .")
        assert quote.removesuffix(f"[{citation['passage']}]") in " ".join(passage["text"].split())


@pytest.mark.parametrize("fault", FAULTS)
def test_fallback_answers_within_the_deadline_whatever_the_fault(
    client: httpx.Client, corpus: Corpus, provider: ProviderServer, fault: str
) -> None:
    provider.fail("/chat/completions", always=FAULTS[fault])
    started = time.monotonic()
    response = ask(client, corpus)
    assert time.monotonic() - started < DEADLINE_S + SLACK_S
    assert response.status_code == 200
    answer = response.json()
    check(answer)
    assert answer["generator"] == f"bedrock:{CLAUDE}"
    assert "generation" in answer["degraded"]


def test_passages_are_quoted_if_no_model_answers(
    client: httpx.Client, corpus: Corpus, provider: ProviderServer
) -> None:
    provider.fail("/chat/completions", always=hang())
    provider.fail("/converse-stream", always=status(503))
    started = time.monotonic()
    answer = ask(client, corpus).json()
    assert time.monotonic() - started < DEADLINE_S + SLACK_S
    check(answer)
    assert answer["generator"] == "extractive:extractive"
    assert "generation" in answer["degraded"]


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_without_a_fallback_is_a_503_within_the_deadline(
    client: httpx.Client, corpus: Corpus, provider: ProviderServer, fault: str
) -> None:
    routed(corpus)
    provider.fail("/chat/completions", always=FAULTS[fault])
    started = time.monotonic()
    response = ask(client, corpus)
    assert time.monotonic() - started < DEADLINE_S + SLACK_S
    assert response.status_code == 503
    assert response.headers["retry-after"]


@pytest.mark.parametrize("fault", LATE_FAULTS)
def test_interrupted_answer_is_a_503(
    client: httpx.Client, corpus: Corpus, provider: ProviderServer, fault: str
) -> None:
    provider.fail("/chat/completions", LATE_FAULTS[fault])
    response = ask(client, corpus)
    assert response.status_code == 503
    assert "answer" not in response.json()
    check(ask(client, corpus).json())


def test_recovered_provider_is_used_again(client: httpx.Client, corpus: Corpus, provider: ProviderServer) -> None:
    provider.fail("/chat/completions", *[status(500)] * 60)
    for _ in range(12):
        check(ask(client, corpus).json())
    provider.heal()

    def answers() -> bool:
        answer = ask(client, corpus).json()
        check(answer)
        return bool(answer["generator"] == f"nim:{NIM}")

    wait_until(answers, RECOVERED_S, "NIM did not answer", interval_s=0.2)


STATUS_WITHOUT = {"postgres": {503}, "chroma": {200}, "valkey": {200}}


@pytest.mark.parametrize("server", STATUS_WITHOUT)
def test_api_recovers_without_a_restart_after_a_server_was_killed(
    client: httpx.Client, corpus: Corpus, serving_settings: Settings, server: str
) -> None:
    over = threading.Event()
    responses: list[tuple[float, int, float]] = []

    def asking() -> None:
        while not over.is_set():
            began = time.monotonic()
            response = ask(client, corpus)
            if response.status_code == 200:
                check(response.json())
            responses.append((began, response.status_code, time.monotonic() - began))

    def ten_in_a_row_since(moment: float) -> bool:
        return [status for began, status, _ in responses if began > moment][-10:] == [200] * 10

    load = threading.Thread(target=asking)
    load.start()
    try:
        wait_until(lambda: responses, message="No question was answered")
        killed = time.time()
        Servers(serving_settings.directory).kill(server, signal.SIGKILL)
        wait_until(lambda: restarted(serving_settings, server, killed), 60, f"The supervisor did not restart {server}")
        restart = time.monotonic()
        wait_until(lambda: ten_in_a_row_since(restart), RECOVERED_S, "Questions were still refused")
    finally:
        over.set()
        load.join(DEADLINE_S + 5)
    assert {status for _, status, _ in responses} <= {200} | STATUS_WITHOUT[server]
    assert max(seconds for _, _, seconds in responses) < DEADLINE_S + SLACK_S
    wait_until(lambda: not ask(client, corpus).json()["degraded"], RECOVERED_S, "Answers were still degraded")


def restarted(settings: Settings, server: str, killed: float) -> bool:
    """Return whether the supervisor has started the server again since this time."""
    state = read(settings.directory)
    return state is not None and state.servers[server].started_at > killed
