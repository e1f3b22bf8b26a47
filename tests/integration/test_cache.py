"""What is kept in Redis: searches, answers, conversations, limits. And what happens without it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from mindset import answers
from mindset.access.caller import Caller, Scope, as_principals
from mindset.answers import Asked
from mindset.catalog.documents import take_down
from mindset.installation import Installation, open_installation
from mindset.local.supervision import local_stack
from mindset.releases import roll_back
from mindset.settings import Settings
from tests.corpus import Corpus, document, run_night
from tests.faults.victims import Servers
from tests.integration.test_access import bearer, make_key
from tests.served import api_at

QUESTION = "How many rooms has the bakery 3?"
PEPPER = "a pepper of more than thirty-two characters"


@pytest.fixture
def released(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.fill(4)
    corpus.write("board.md", "---\nacl: [board]\n---\nThe bakery 3 has a secret room.")
    run_night(installation, corpus.name)
    return corpus


def asked(installation: Installation, kb: str, *principals: str, question: str = QUESTION, **more: Any) -> Asked:
    caller = Caller("test", frozenset(Scope), as_principals(principals))
    return Asked(installation.knowledge_base(kb), question, caller, **more)


def test_the_same_question_is_answered_as_before_and_says_so(installation: Installation, released: Corpus) -> None:
    first = answers.whole(answers.answer(installation, asked(installation, released.name)))
    again = answers.whole(answers.answer(installation, asked(installation, released.name)))
    assert not (first[0].cached or first[1].cached)
    assert again[0].cached and again[1].cached
    assert (again[1].text, again[1].citations) == (first[1].text, first[1].citations)
    assert again[0].passages == first[0].passages
    events = list(answers.answer(installation, asked(installation, released.name)))
    assert len(events) == 3 + len(first[1].citations)


@pytest.mark.parametrize(
    "other",
    [{"limit": 2}, {"question": "Where is the glacier 1?"}],
    ids=lambda other: next(iter(other)),
)
def test_another_question_is_another(installation: Installation, released: Corpus, other: dict[str, Any]) -> None:
    answers.search(installation, asked(installation, released.name))
    assert not answers.search(installation, asked(installation, released.name, **other)).cached


def test_who_may_read_less_is_not_served_what_another_may(installation: Installation, released: Corpus) -> None:
    board = answers.search(installation, asked(installation, released.name, "board", limit=50))
    assert "secret" in str(board.passages)
    for principals in ((), ("staff",), ("Board",)):
        found = answers.search(installation, asked(installation, released.name, *principals, limit=50))
        assert not found.cached
        assert "secret" not in str(found.passages)


def test_what_is_taken_down_between_two_equal_questions_is_gone(installation: Installation, released: Corpus) -> None:
    question = asked(installation, released.name)
    before = answers.whole(answers.answer(installation, question))
    assert before[1].citations
    with installation.catalog.writing() as connection:
        take_down(connection, released.name, "doc3.md", "test")
    found, _ = answers.whole(answers.answer(installation, question))
    assert not found.cached
    assert "doc3.md" not in str(found.passages)


def test_rights_that_are_narrowed_between_two_equal_questions_count(
    installation: Installation, released: Corpus
) -> None:
    question = asked(installation, released.name)
    answers.whole(answers.answer(installation, question))
    with installation.catalog.writing() as connection:
        connection.execute("UPDATE document SET acl = '{board}' WHERE kb = %s AND uri = 'doc3.md'", [released.name])
    found, _ = answers.whole(answers.answer(installation, question))
    assert "doc3.md" not in str(found.passages)


def test_another_release_is_asked_anew(installation: Installation, released: Corpus) -> None:
    question = asked(installation, released.name)
    answers.search(installation, question)
    released.write("new.md", document(7))
    run_night(installation, released.name)
    found = answers.search(installation, question)
    assert (found.version, found.cached) == (2, False)
    roll_back(installation.catalog, released.name, "test", "bad")
    found = answers.search(installation, question)
    assert (found.version, found.cached) == (1, False)


def test_what_is_degraded_is_not_kept(installation: Installation, released: Corpus) -> None:
    with installation.catalog.reading() as connection:
        (collection,) = connection.execute(
            "SELECT collection FROM segment WHERE kb = %s", [released.name]
        ).fetchone() or ("",)
    installation.vectors.drop(collection)
    for _ in range(2):
        found = answers.search(installation, asked(installation, released.name))
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
    for headers, status in ((mine, 200), (other, 422)):
        response = client.post("/v1/answers", json=body | {"conversation": conversation}, headers=headers)
        assert response.status_code == status
    assert client.post("/v1/answers", json=body | {"conversation": "invented"}, headers=mine).status_code == 422


# Limits


def test_a_caller_who_asks_too_often_is_told_when_to_come_back(
    settings: Settings, installation: Installation, released: Corpus
) -> None:
    limited = settings.model_copy(
        update={"api_access": "required", "api_key_pepper": SecretStr(PEPPER), "rate_limit": "5/minute"}
    )
    mine, other = (bearer(make_key(installation)) for _ in range(2))
    with api_at(limited) as url, api_at(limited) as second:
        codes = [httpx.get(f"{url}/v1/knowledge-bases", headers=mine).status_code for _ in range(4)]
        last = httpx.get(f"{second}/v1/knowledge-bases", headers=mine)
        refused = httpx.get(f"{second}/v1/knowledge-bases", headers=mine)
        assert httpx.get(f"{url}/v1/knowledge-bases", headers=other).status_code == 200
    assert codes == [200] * 4
    assert last.status_code == 200
    assert last.headers["ratelimit-policy"] == '"default";q=5;w=60'
    assert last.headers["ratelimit"].startswith('"default";r=0;t=')
    assert refused.status_code == 429
    assert refused.json()["type"] == "urn:mindset:TooManyRequests"
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_an_address_that_is_refused_again_and_again_is_not_listened_to(
    settings: Settings, installation: Installation
) -> None:
    limited = settings.model_copy(
        update={
            "api_access": "required",
            "api_key_pepper": SecretStr(PEPPER),
            "rate_limit_refused": "3/minute",
            "redis_url": None,
        }
    )
    key = make_key(installation)
    with api_at(limited) as url:
        codes = [httpx.get(f"{url}/v1/knowledge-bases", headers=bearer("wrong")).status_code for _ in range(4)]
        right = httpx.get(f"{url}/v1/knowledge-bases", headers=bearer(key)).status_code
    assert codes == [401, 401, 401, 429]
    assert right == 429


# Without Redis


def test_an_answer_does_not_wait_for_a_redis_that_is_silent(
    settings: Settings, installation: Installation, released: Corpus
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        guarded = settings.model_copy(
            update={"redis_url": SecretStr(url), "api_access": "required", "api_key_pepper": SecretStr(PEPPER)}
        )
        headers = bearer(make_key(installation, Scope.ASK))
        body = {"knowledge_base": released.name, "question": QUESTION}
        with api_at(guarded) as at:
            httpx.post(f"{at}/v1/answers", json=body, headers=headers, timeout=20)
            took = []
            for _ in range(20):
                started = time.perf_counter()
                response = httpx.post(f"{at}/v1/answers", json=body, headers=headers, timeout=20)
                took.append(time.perf_counter() - started)
                assert response.status_code == 200
                assert response.json()["citations"]
                assert response.headers["ratelimit"]
    assert sorted(took)[10] < 0.5  # each wait for it would be 50 ms, and there are a handful a question


def test_redis_may_die_and_come_back_and_nobody_is_refused(
    settings: Settings, installation: Installation, released: Corpus, tmp_path: Path
) -> None:
    with local_stack(tmp_path / "valkey", services=("valkey",)) as addresses:
        own = settings.model_copy(update={"redis_url": SecretStr(addresses.redis_url or "")})
        with open_installation(own) as opened:
            question = asked(opened, released.name)
            answers.search(opened, question)
            assert answers.search(opened, question).cached
            Servers(tmp_path / "valkey").kill("valkey")
            found = answers.search(opened, question)
            assert found.passages
            deadline = time.monotonic() + 10
            while not answers.search(opened, question).cached:
                assert time.monotonic() < deadline
                time.sleep(0.1)


def test_a_conversation_without_redis_goes_on_without_its_past_and_says_so(
    settings: Settings, installation: Installation, released: Corpus
) -> None:
    own = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:9/0")})
    body = {"knowledge_base": released.name, "question": QUESTION, "conversation": "of-yesterday"}
    with api_at(own) as at:
        answer = httpx.post(f"{at}/v1/answers", json=body, timeout=20).json()
    assert answer["citations"]
    assert answer["conversation"] is None
    assert "conversation" in answer["degraded"]


def test_a_release_is_heard_of_at_once(settings: Settings, installation: Installation, released: Corpus) -> None:
    from mindset.announcements import Listener

    assert settings.redis_url
    heard: list[tuple[str, int]] = []
    told = threading.Event()

    def hear(kb: str, version: int) -> None:
        heard.append((kb, version))
        told.set()

    listener = Listener(settings.redis_url.get_secret_value(), hear)
    try:
        deadline = time.monotonic() + 5
        while not told.is_set() and time.monotonic() < deadline:
            installation.announce(released.name, 1)
            told.wait(0.1)
    finally:
        listener.close()
    assert heard[0] == (released.name, 1)
