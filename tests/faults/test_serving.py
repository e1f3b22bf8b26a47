"""Answers while providers and servers fail: never a wrong or uncited one, never later than the deadline, and soon well again."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from mindset.catalog.migrations import migrate
from mindset.installation import open_installation
from mindset.local.state import read
from mindset.local.supervision import local_stack
from mindset.settings import Settings
from tests.corpus import Corpus, run_night
from tests.faults.victims import Servers
from tests.providers import Fault, ProviderServer, cut, drip, error_in_stream, garbage, hang, status
from tests.providers.fixtures import provider
from tests.served import api_at

__all__ = ["provider"]

NIM, CLAUDE = "meta/llama-3.1-8b-instruct", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
DEADLINE_S = 6.0
RECOVERED_S = 5.0
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
    """A stack of its own, whose servers may be killed."""
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
    """That an answer stands on what was retrieved, or says that it does not."""
    if not answer["supported"]:
        assert answer["answer"] == "Not in the documents."
        assert answer["citations"] == []
        return
    assert answer["citations"]
    for citation in answer["citations"]:
        passage = answer["passages"][citation["passage"] - 1]
        assert citation["uri"] == passage["places"][0]["uri"]
        said = answer["answer"][citation["start"] : citation["end"]].strip(" .")
        assert said.removesuffix(f"[{citation['passage']}]") in " ".join(passage["text"].split())


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_a_provider_does_another_answers_in_time(
    client: httpx.Client, corpus: Corpus, provider: ProviderServer, fault: str
) -> None:
    provider.fail("/chat/completions", always=FAULTS[fault])
    started = time.monotonic()
    response = ask(client, corpus)
    assert time.monotonic() - started < DEADLINE_S + 0.5
    assert response.status_code == 200
    answer = response.json()
    check(answer)
    assert answer["generator"] == f"bedrock:{CLAUDE}"
    assert "generation" in answer["degraded"]


def test_where_no_model_answers_the_passages_are_quoted(
    client: httpx.Client, corpus: Corpus, provider: ProviderServer
) -> None:
    provider.fail("/chat/completions", always=hang())
    provider.fail("/converse-stream", always=status(503))
    started = time.monotonic()
    answer = ask(client, corpus).json()
    assert time.monotonic() - started < DEADLINE_S + 0.5
    check(answer)
    assert answer["generator"] == "extractive:extractive"
    assert "generation" in answer["degraded"]


@pytest.mark.parametrize("fault", FAULTS)
def test_where_nobody_else_can_answer_it_is_a_503_in_time(
    client: httpx.Client, corpus: Corpus, provider: ProviderServer, fault: str
) -> None:
    routed(corpus)
    provider.fail("/chat/completions", always=FAULTS[fault])
    started = time.monotonic()
    response = ask(client, corpus)
    assert time.monotonic() - started < DEADLINE_S + 0.5
    assert response.status_code == 503
    assert response.headers["retry-after"]


@pytest.mark.parametrize("fault", LATE_FAULTS)
def test_an_answer_that_breaks_off_is_no_answer(
    client: httpx.Client, corpus: Corpus, provider: ProviderServer, fault: str
) -> None:
    provider.fail("/chat/completions", LATE_FAULTS[fault])
    response = ask(client, corpus)
    assert response.status_code == 503
    assert "answer" not in response.json()
    check(ask(client, corpus).json())


def test_a_provider_that_is_well_again_answers_within_five_seconds(
    client: httpx.Client, corpus: Corpus, provider: ProviderServer
) -> None:
    provider.fail("/chat/completions", *[status(500)] * 60)
    for _ in range(12):
        check(ask(client, corpus).json())
    provider.heal()
    well = time.monotonic()
    while (answer := ask(client, corpus).json())["generator"] != f"nim:{NIM}":
        check(answer)
        assert time.monotonic() - well < RECOVERED_S
        time.sleep(0.2)


SERVED_WITHOUT = {"postgres": {503}, "chroma": {200}, "valkey": {200}}


@pytest.mark.parametrize("server", SERVED_WITHOUT)
def test_a_server_that_dies_and_comes_back_is_survived_without_a_restart(
    client: httpx.Client, corpus: Corpus, serving_settings: Settings, server: str
) -> None:
    over = threading.Event()
    seen: list[tuple[float, int, float]] = []

    def asking() -> None:
        while not over.is_set():
            began = time.monotonic()
            response = ask(client, corpus)
            if response.status_code == 200:
                check(response.json())
            seen.append((began, response.status_code, time.monotonic() - began))

    asker = threading.Thread(target=asking)
    asker.start()
    try:
        time.sleep(0.5)
        killed = time.monotonic()
        Servers(serving_settings.directory).kill(server, signal.SIGKILL)
        back = came_back(serving_settings, server, killed)
        time.sleep(RECOVERED_S)
    finally:
        over.set()
        asker.join(DEADLINE_S + 5)
    assert {code for _, code, _ in seen} <= {200} | SERVED_WITHOUT[server]
    assert max(took for _, _, took in seen) < DEADLINE_S + 0.5
    late = [(began, code) for began, code, _ in seen if began > back + RECOVERED_S - 0.5 and code != 200]
    assert late == []
    assert not ask(client, corpus).json()["degraded"]


def came_back(settings: Settings, server: str, killed: float) -> float:
    """When the supervisor has the server running again, which it does on its own."""
    started = time.time() - (time.monotonic() - killed)
    deadline = killed + 60
    while time.monotonic() < deadline:
        state = read(settings.directory)
        if state and state.servers[server].started_at > started:
            return time.monotonic()
        time.sleep(0.05)
    raise AssertionError(f"{server} did not come back")
