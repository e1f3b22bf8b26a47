"""Redis: caches of searches and answers, conversations and release notifications."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from mindset.answering.answer import collect
from mindset.answering.query import Query
from mindset.application import Installation
from mindset.auth.caller import ANYONE, Caller, as_principals
from mindset.catalog.documents import take_down
from mindset.config.scopes import Scope
from mindset.config.settings import Settings
from mindset.releases.promotion import roll_back
from tests.corpus import Corpus, document, run_night
from tests.integration.test_access import bearer, make_key
from tests.providers import ProviderServer, status
from tests.providers.fixtures import provider
from tests.served import api_at
from tests.waiting import wait_until

__all__ = ["provider"]

QUESTION = "How many rooms has the bakery 3?"
PEPPER = "a pepper of more than thirty-two characters"


@pytest.fixture
def released(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.fill(4)
    corpus.write("board.md", "---\nacl: [board]\n---\nThe bakery 3 has a secret room.")
    run_night(installation, corpus.name)
    return corpus


def query(installation: Installation, kb: str, *principals: str, question: str = QUESTION, **more: Any) -> Query:
    caller = Caller("test", frozenset(Scope), as_principals(principals))
    return Query(installation.knowledge_base(kb), question, caller, **more)


def test_repeated_question_is_answered_from_the_cache(installation: Installation, released: Corpus) -> None:
    first = collect(installation.answering.answer(query(installation, released.name)))
    second = collect(installation.answering.answer(query(installation, released.name)))
    assert not (first[0].cached or first[1].cached)
    assert second[0].cached and second[1].cached
    assert (second[1].text, second[1].citations) == (first[1].text, first[1].citations)
    assert second[0].passages == first[0].passages
    events = list(installation.answering.answer(query(installation, released.name)))
    assert len(events) == 3 + len(first[1].citations)


@pytest.mark.parametrize(
    "other",
    [{"limit": 2}, {"question": "Where is the glacier 1?"}],
    ids=lambda other: next(iter(other)),
)
def test_different_query_is_not_served_from_the_cache(
    installation: Installation, released: Corpus, other: dict[str, Any]
) -> None:
    installation.answering.search(query(installation, released.name))
    assert not installation.answering.search(query(installation, released.name, **other)).cached


def test_cached_results_are_not_shared_between_principals(installation: Installation, released: Corpus) -> None:
    board_result = installation.answering.search(query(installation, released.name, "board", limit=50))
    assert "secret" in str(board_result.passages)
    for principals in ((), ("staff",), ("Board",)):
        result = installation.answering.search(query(installation, released.name, *principals, limit=50))
        assert not result.cached
        assert "secret" not in str(result.passages)


def test_taking_a_document_down_invalidates_the_cache(installation: Installation, released: Corpus) -> None:
    question = query(installation, released.name)
    cached = collect(installation.answering.answer(question))
    assert cached[1].citations
    with installation.catalog.writing() as connection:
        take_down(connection, released.name, "doc3.md", "test")
    result, _ = collect(installation.answering.answer(question))
    assert not result.cached
    assert "doc3.md" not in str(result.passages)


def test_changed_acl_applies_to_cached_questions(installation: Installation, released: Corpus) -> None:
    question = query(installation, released.name)
    collect(installation.answering.answer(question))
    with installation.catalog.writing() as connection:
        connection.execute("UPDATE document SET acl = '{board}' WHERE kb = %s AND uri = 'doc3.md'", [released.name])
    result, _ = collect(installation.answering.answer(question))
    assert "doc3.md" not in str(result.passages)


def test_cache_is_not_used_after_a_new_release(installation: Installation, released: Corpus) -> None:
    question = query(installation, released.name)
    installation.answering.search(question)
    released.write("new.md", document(7))
    run_night(installation, released.name)
    result = installation.answering.search(question)
    assert (result.version, result.cached) == (2, False)
    roll_back(installation.catalog, released.name, "test", "bad")
    result = installation.answering.search(question)
    assert (result.version, result.cached) == (1, False)


def test_degraded_results_are_not_cached(installation: Installation, released: Corpus) -> None:
    with installation.catalog.reading() as connection:
        (collection,) = connection.execute(
            "SELECT collection FROM segment WHERE kb = %s", [released.name]
        ).fetchone() or ("",)
    installation.vectors.drop(collection)
    for _ in range(2):
        result = installation.answering.search(query(installation, released.name))
        assert result.degraded == ("dense",)
        assert not result.cached


# Conversations


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    guarded = settings.model_copy(update={"api_access": "required", "api_key_pepper": SecretStr(PEPPER)})
    with api_at(guarded) as url, httpx.Client(base_url=url, timeout=20) as opened:
        yield opened


def test_follow_up_question_is_resolved_in_its_conversation(
    client: httpx.Client, installation: Installation, released: Corpus
) -> None:
    headers = bearer(make_key(installation, Scope.ASK))

    def ask(question: str, conversation: str | None = None) -> dict[str, Any]:
        body = {"knowledge_base": released.name, "question": question, "conversation": conversation, "limit": 1}
        answer: dict[str, Any] = client.post("/v1/answers", json=body, headers=headers).json()
        return answer

    first = ask("What about the orchestra 2?")
    assert first["conversation"]
    second = ask("How many rooms has it in part 1?", first["conversation"])
    assert second["conversation"] == first["conversation"]
    assert second["passages"][0]["places"][0]["uri"] == "doc2.md"


def test_conversation_of_another_caller_is_rejected(
    client: httpx.Client, installation: Installation, released: Corpus
) -> None:
    body = {"knowledge_base": released.name, "question": QUESTION}
    own, other = (bearer(make_key(installation, Scope.ASK)) for _ in range(2))
    conversation = client.post("/v1/answers", json=body, headers=own).json()["conversation"]
    for headers, expected in ((own, 200), (other, 422)):
        response = client.post("/v1/answers", json=body | {"conversation": conversation}, headers=headers)
        assert response.status_code == expected
    assert client.post("/v1/answers", json=body | {"conversation": "unknown"}, headers=own).status_code == 422


def test_failed_question_is_not_added_to_its_conversation(
    settings: Settings, installation: Installation, corpus: Corpus, provider: ProviderServer
) -> None:
    model = {"provider": "nim", "model": "meta/llama-3.1-8b-instruct", "deadline_s": 10, "fallback": []}
    corpus.define(generation=model)
    corpus.fill(4)
    run_night(installation, corpus.name)
    served = settings.model_copy(update={"nim_url": provider.nim_url})
    with api_at(served) as url, httpx.Client(base_url=url, timeout=20) as client:
        body = {"knowledge_base": corpus.name, "question": QUESTION}
        conversation = client.post("/v1/answers", json=body).json()["conversation"]
        provider.fail("/chat/completions", status(401))
        follow_up = {"question": "And the orchestra 2?", "conversation": conversation}
        assert client.post("/v1/answers", json=body | follow_up).status_code == 502
        assert installation.conversations.previous_questions(conversation, corpus.name, ANYONE) == (QUESTION,)
        assert client.post("/v1/answers", json=body | follow_up).status_code == 200
        assert installation.conversations.previous_questions(conversation, corpus.name, ANYONE) == (
            QUESTION,
            follow_up["question"],
        )


# Release notifications


def test_release_notification_reaches_the_listener(
    settings: Settings, installation: Installation, released: Corpus
) -> None:
    from mindset.releases.notifications import Listener

    assert installation.redis
    received: list[tuple[str, int]] = []
    listener = Listener(installation.redis, lambda kb, version: received.append((kb, version)))

    def published_and_received() -> bool:
        installation.publish_release(released.name, 1)  # on every attempt, because subscribing takes a moment
        return (released.name, 1) in received

    try:
        wait_until(published_and_received, message="The release notification was not received")
    finally:
        listener.close()
