"""What is kept in Redis: searches, answers, conversations, limits. And what happens without it."""

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


def asked(installation: Installation, kb: str, *principals: str, question: str = QUESTION, **more: Any) -> Query:
    caller = Caller("test", frozenset(Scope), as_principals(principals))
    return Query(installation.knowledge_base(kb), question, caller, **more)


def test_the_same_question_is_answered_as_before_and_says_so(installation: Installation, released: Corpus) -> None:
    first = collect(installation.answering.answer(asked(installation, released.name)))
    again = collect(installation.answering.answer(asked(installation, released.name)))
    assert not (first[0].cached or first[1].cached)
    assert again[0].cached and again[1].cached
    assert (again[1].text, again[1].citations) == (first[1].text, first[1].citations)
    assert again[0].passages == first[0].passages
    events = list(installation.answering.answer(asked(installation, released.name)))
    assert len(events) == 3 + len(first[1].citations)


@pytest.mark.parametrize(
    "other",
    [{"limit": 2}, {"question": "Where is the glacier 1?"}],
    ids=lambda other: next(iter(other)),
)
def test_another_question_is_another(installation: Installation, released: Corpus, other: dict[str, Any]) -> None:
    installation.answering.search(asked(installation, released.name))
    assert not installation.answering.search(asked(installation, released.name, **other)).cached


def test_who_may_read_less_is_not_served_what_another_may(installation: Installation, released: Corpus) -> None:
    board = installation.answering.search(asked(installation, released.name, "board", limit=50))
    assert "secret" in str(board.passages)
    for principals in ((), ("staff",), ("Board",)):
        found = installation.answering.search(asked(installation, released.name, *principals, limit=50))
        assert not found.cached
        assert "secret" not in str(found.passages)


def test_what_is_taken_down_between_two_equal_questions_is_gone(installation: Installation, released: Corpus) -> None:
    question = asked(installation, released.name)
    before = collect(installation.answering.answer(question))
    assert before[1].citations
    with installation.catalog.writing() as connection:
        take_down(connection, released.name, "doc3.md", "test")
    found, _ = collect(installation.answering.answer(question))
    assert not found.cached
    assert "doc3.md" not in str(found.passages)


def test_rights_that_are_narrowed_between_two_equal_questions_count(
    installation: Installation, released: Corpus
) -> None:
    question = asked(installation, released.name)
    collect(installation.answering.answer(question))
    with installation.catalog.writing() as connection:
        connection.execute("UPDATE document SET acl = '{board}' WHERE kb = %s AND uri = 'doc3.md'", [released.name])
    found, _ = collect(installation.answering.answer(question))
    assert "doc3.md" not in str(found.passages)


def test_another_release_is_asked_anew(installation: Installation, released: Corpus) -> None:
    question = asked(installation, released.name)
    installation.answering.search(question)
    released.write("new.md", document(7))
    run_night(installation, released.name)
    found = installation.answering.search(question)
    assert (found.version, found.cached) == (2, False)
    roll_back(installation.catalog, released.name, "test", "bad")
    found = installation.answering.search(question)
    assert (found.version, found.cached) == (1, False)


def test_what_is_degraded_is_not_kept(installation: Installation, released: Corpus) -> None:
    with installation.catalog.reading() as connection:
        (collection,) = connection.execute(
            "SELECT collection FROM segment WHERE kb = %s", [released.name]
        ).fetchone() or ("",)
    installation.vectors.drop(collection)
    for _ in range(2):
        found = installation.answering.search(asked(installation, released.name))
        assert found.degraded == ("dense",)
        assert not found.cached


# Conversations


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    guarded = settings.model_copy(update={"api_access": "required", "api_key_pepper": SecretStr(PEPPER)})
    with api_at(guarded) as url, httpx.Client(base_url=url, timeout=20) as opened:
        yield opened


def test_a_follow_up_is_understood_in_its_conversation(
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


def test_anothers_conversation_is_none(client: httpx.Client, installation: Installation, released: Corpus) -> None:
    body = {"knowledge_base": released.name, "question": QUESTION}
    mine, other = (bearer(make_key(installation, Scope.ASK)) for _ in range(2))
    conversation = client.post("/v1/answers", json=body, headers=mine).json()["conversation"]
    for headers, expected in ((mine, 200), (other, 422)):
        response = client.post("/v1/answers", json=body | {"conversation": conversation}, headers=headers)
        assert response.status_code == expected
    assert client.post("/v1/answers", json=body | {"conversation": "invented"}, headers=mine).status_code == 422


def test_a_question_that_nobody_answers_is_no_part_of_its_conversation(
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


# Announcements


def test_a_release_is_heard_of_at_once(settings: Settings, installation: Installation, released: Corpus) -> None:
    from mindset.releases.notifications import Listener

    assert installation.redis
    heard: list[tuple[str, int]] = []
    listener = Listener(installation.redis, lambda kb, version: heard.append((kb, version)))

    def announced_and_heard() -> bool:
        installation.publish_release(released.name, 1)  # again each time: a subscription takes a moment
        return (released.name, 1) in heard

    try:
        wait_until(announced_and_heard, message="The release was not heard of")
    finally:
        listener.close()
