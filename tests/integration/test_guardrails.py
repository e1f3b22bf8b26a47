"""A Bedrock guardrail on questions, passages and answers, with any generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mindset.application import Installation
from mindset.config.settings import Settings
from tests.corpus import Corpus, run_night
from tests.providers import ProviderServer, status
from tests.providers.fixtures import provider
from tests.served import api_at

__all__ = ["provider"]


@pytest.fixture
def client(settings: Settings, provider: ProviderServer) -> Iterator[httpx.Client]:
    configured = settings.model_copy(
        update={"nim_url": provider.nim_url, "bedrock_url": provider.url, "cache_ttl_s": 0}
    )
    with api_at(configured) as url, httpx.Client(base_url=url, timeout=20) as opened:
        yield opened


@pytest.fixture
def guarded(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.define(
        generation={"provider": "nim", "model": "meta/llama-3.1-8b-instruct"},
        guardrails={"bedrock": "gr-1", "version": "3"},
    )
    corpus.fill(3)
    corpus.write("bad.md", "# The tavern\n\nThe tavern serves a forbidden drink at night.")
    run_night(installation, corpus.name)
    return corpus


def ask(client: httpx.Client, kb: str, question: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/v1/answers", json={"knowledge_base": kb, "question": question}).json()
    return answer


def test_question_passages_and_answer_are_checked_with_the_configured_version(
    client: httpx.Client, guarded: Corpus, provider: ProviderServer
) -> None:
    answer = ask(client, guarded.name, "How many rooms has the orchestra 2?")
    assert answer["supported"]
    sources = [
        request.body["source"] for request in provider.requests if request.path == "/guardrail/gr-1/version/3/apply"
    ]
    assert sources == ["INPUT", *["INPUT"] * len(answer["passages"]), "OUTPUT"]


def test_blocked_question_is_not_searched(client: httpx.Client, guarded: Corpus, provider: ProviderServer) -> None:
    answer = ask(client, guarded.name, "Where do I get the forbidden orchestra 2?")
    assert (answer["supported"], answer["passages"], answer["finish_reason"]) == (False, [], "guardrail")
    assert not any("completions" in request.path for request in provider.requests)


def test_blocked_passage_is_neither_returned_nor_cited(client: httpx.Client, guarded: Corpus) -> None:
    answer = ask(client, guarded.name, "What does the tavern serve at night?")
    assert "forbidden" not in str(answer)


def test_blocked_answer_is_replaced(client: httpx.Client, guarded: Corpus, provider: ProviderServer) -> None:
    provider.script = "The orchestra has forbidden rooms [1]."
    answer = ask(client, guarded.name, "How many rooms has the orchestra 2?")
    assert answer["answer"] == "Let us talk of something else."
    assert (answer["supported"], answer["citations"], answer["finish_reason"]) == (False, [], "guardrail")


def test_request_fails_if_the_guardrail_is_unavailable(
    client: httpx.Client, guarded: Corpus, provider: ProviderServer
) -> None:
    provider.fail("/apply", always=status(503))
    body = {"knowledge_base": guarded.name, "question": "How many rooms has the orchestra 2?"}
    assert client.post("/v1/answers", json=body).status_code == 503
