"""The API over real HTTP, on real servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mindset.application import Installation
from mindset.catalog.documents import take_down
from mindset.catalog.transactions import scalar
from mindset.config.generation_options import Generation
from mindset.config.settings import Settings
from mindset.generation.fallback import FallbackGenerator
from mindset.generation.registry import GeneratorRegistry
from mindset.releases.promotion import promote, roll_back
from mindset.vector_index.chroma import ChromaIndex
from tests.corpus import Corpus, document, run_night
from tests.served import api_at
from tests.waiting import wait_until


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    with api_at(settings) as url, httpx.Client(base_url=url, timeout=20) as opened:
        yield opened


@pytest.fixture
def released(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.fill(4)
    run_night(installation, corpus.name)
    return corpus


def ask(
    client: httpx.Client, kb: str, question: str = "How many rooms has the bakery 3?", **more: Any
) -> httpx.Response:
    return client.post("/v1/answers", json={"knowledge_base": kb, "question": question, **more})


def test_search_finds_passages_and_names_the_version(client: httpx.Client, released: Corpus) -> None:
    found = client.post(
        "/v1/search", json={"knowledge_base": released.name, "question": "rooms of the bakery 3"}
    ).json()
    assert found["version"] == 1
    assert found["degraded"] == []
    best = found["passages"][0]
    assert best["places"][0]["uri"] == "doc3.md"
    assert best["places"][0]["heading_path"]
    assert "score" not in json.dumps(found)


def test_an_answer_quotes_and_cites(client: httpx.Client, released: Corpus, settings: Settings) -> None:
    answer = ask(client, released.name).json()
    assert answer["supported"]
    assert "bakery 3" in answer["answer"]
    for citation in answer["citations"]:
        assert citation["uri"] == answer["passages"][citation["passage"] - 1]["places"][0]["uri"]
        assert 0 <= citation["start"] < citation["end"] <= len(answer["answer"])


def test_a_question_that_nothing_supports_is_said_to_be_so(client: httpx.Client, released: Corpus) -> None:
    answer = ask(client, released.name, "Who won the quantum chess tournament?").json()
    assert answer["answer"] == "Not in the documents."
    assert answer["supported"] is False
    assert answer["citations"] == []


def test_a_streamed_answer_ends_with_the_same_answer(client: httpx.Client, released: Corpus) -> None:
    whole = ask(client, released.name).json()
    with client.stream(
        "POST",
        "/v1/answers",
        json={"knowledge_base": released.name, "question": "How many rooms has the bakery 3?", "stream": True},
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = _events(response)
    assert [name for name, _ in events[:2]] == ["answer.created", "retrieval.completed"]
    assert events[-1][0] == "answer.completed"
    text = "".join(data["text"] for name, data in events if name == "answer.delta")
    assert text.strip() == events[-1][1]["answer"] == whole["answer"]
    assert sum(name == "citation" for name, _ in events) == len(whole["citations"])


def test_answers_are_logged_without_the_question(
    client: httpx.Client, released: Corpus, installation: Installation
) -> None:
    number = ask(client, released.name, "How many rooms has the secret bakery 3?").json()["id"]

    def logged() -> str | None:
        with installation.catalog.reading() as connection:
            row: str | None = scalar(connection, "SELECT row_to_json(l)::text FROM answer_log l WHERE id = %s", number)
            return row

    row = wait_until(logged, message="The answer was not logged")  # it is logged after the response
    assert released.name in row
    assert "secret" not in row


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"knowledge_base": "nobody", "question": "hello"}, 404, "UnknownKnowledgeBase"),
        ({"knowledge_base": "../etc", "question": "hello"}, 404, "UnknownKnowledgeBase"),
        ({"question": ""}, 422, "QuestionRejected"),
        ({"question": "\u200b\u200b  "}, 422, "QuestionRejected"),
        ({"question": "why? " * 1_000}, 422, "QuestionRejected"),
        ({"question": "x" * 1_000_000}, 413, "BodyTooLarge"),
        ({"question": "hello", "limit": 0}, 422, "InvalidRequest"),
        ({"question": "hello", "principals": ["root"]}, 422, "InvalidRequest"),
        ({"question": 7}, 422, "InvalidRequest"),
    ],
)
def test_bad_requests_get_a_problem_that_says_what_to_do(
    client: httpx.Client, released: Corpus, body: dict[str, Any], status: int, kind: str
) -> None:
    for path in ("/v1/search", "/v1/answers"):
        response = client.post(path, json={"knowledge_base": released.name} | body)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert problem["type"] == f"urn:mindset:{kind}"
        assert problem["status"] == status
        assert problem["request_id"] == response.headers["x-request-id"]


def test_a_body_without_a_length_is_limited_too(client: httpx.Client) -> None:
    response = client.post("/v1/search", content=(b"x" * 50_000 for _ in range(10)))
    assert response.status_code == 413


def test_nothing_released_is_not_an_error_of_the_service(client: httpx.Client, corpus: Corpus) -> None:
    response = client.post("/v1/search", json={"knowledge_base": corpus.name, "question": "hello"})
    assert response.status_code == 404
    assert "mindset night" in response.json()["detail"]


def test_a_promotion_is_followed_without_a_restart(
    client: httpx.Client, released: Corpus, installation: Installation
) -> None:
    released.write("new.md", document(7))
    run_night(installation, released.name)
    assert ask(client, released.name).json()["version"] == 2
    roll_back(installation.catalog, released.name, "test", "bad")
    assert ask(client, released.name).json()["version"] == 1
    promote(installation.catalog, released.name, 2, "test", "good after all")
    assert ask(client, released.name).json()["version"] == 2
    releases = client.get(f"/v1/knowledge-bases/{released.name}/releases").json()["items"]
    assert [(each["version"], each["replaces"]) for each in releases] == [(2, 1), (1, 2), (2, 1), (1, None)]


def test_a_taken_down_document_is_gone_at_once(
    client: httpx.Client, released: Corpus, installation: Installation
) -> None:
    with installation.catalog.writing() as connection:
        take_down(connection, released.name, "doc3.md", "test")
    found = client.post(
        "/v1/search", json={"knowledge_base": released.name, "question": "bakery 3", "limit": 50}
    ).json()
    assert "doc3.md" not in json.dumps(found)


def test_restricted_documents_are_never_shown_to_everybody(
    client: httpx.Client, released: Corpus, installation: Installation
) -> None:
    released.write("board.md", "---\nacl: [board]\n---\nThe merger with the bakery 3 is secret.")
    run_night(installation, released.name)
    found = client.post(
        "/v1/search", json={"knowledge_base": released.name, "question": "secret merger", "limit": 50}
    ).json()
    assert "merger" not in json.dumps(found)


def test_without_chroma_answers_come_from_the_full_text_and_say_so(
    client: httpx.Client, released: Corpus, installation: Installation
) -> None:
    with installation.catalog.reading() as connection:
        collection = scalar(connection, "SELECT collection FROM segment WHERE kb = %s", released.name)
    installation.vectors.drop(collection)
    found = client.post(
        "/v1/search", json={"knowledge_base": released.name, "question": "rooms of the bakery 3"}
    ).json()
    assert found["degraded"] == ["dense"]
    assert found["passages"][0]["places"][0]["uri"] == "doc3.md"


def test_an_unreachable_chroma_is_named_and_ready_says_degraded(settings: Settings) -> None:
    index = ChromaIndex("http://127.0.0.1:9")
    from mindset.errors import ServiceUnavailable

    with pytest.raises(ServiceUnavailable, match="Chroma does not respond at"):
        index.ping()


def test_knowledge_bases_and_health(client: httpx.Client, released: Corpus) -> None:
    (kb,) = client.get("/v1/knowledge-bases").json()
    assert kb == client.get(f"/v1/knowledge-bases/{released.name}").json()
    assert (kb["live_version"], kb["documents"], kb["chunks"]) == (1, 4, 16)
    assert client.get("/livez").text == "ok"
    assert client.get("/readyz").json() == {"postgres": "ok", "chroma": "ok", "redis": "ok"}
    assert client.get("/v1/knowledge-bases/none").status_code == 404
    assert client.get("/nowhere").headers["content-type"] == "application/problem+json"


def test_a_catalog_of_an_older_release_makes_it_not_ready(client: httpx.Client, installation: Installation) -> None:
    with installation.catalog.writing() as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0003'")
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["postgres"]) == (503, "not migrated")


def test_metrics_count_requests_by_route_and_not_by_path(client: httpx.Client, released: Corpus) -> None:
    client.get(f"/v1/knowledge-bases/{released.name}")
    ask(client, released.name)
    text = client.get("/metrics").text
    families = {each.name: each for each in text_string_to_metric_families(text)}
    assert released.name not in {sample.labels.get("route") for sample in families["mindset_requests"].samples}
    assert families["mindset_answers"].samples[0].value == 1
    assert families["mindset_searched_version"].samples[0].value == 1


def test_a_request_id_of_the_caller_is_kept_if_it_is_one(client: httpx.Client) -> None:
    assert client.get("/livez", headers={"x-request-id": "abcd-1234"}).headers["x-request-id"] == "abcd-1234"
    assert client.get("/livez", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


def test_a_vanished_client_leaves_nothing_behind(client: httpx.Client, released: Corpus) -> None:
    for _ in range(20):
        body = {"knowledge_base": released.name, "question": "How many rooms has the bakery 3?", "stream": True}
        with client.stream("POST", "/v1/answers", json=body) as response:
            next(response.iter_lines())
    assert ask(client, released.name).status_code == 200


def _events(response: httpx.Response) -> list[tuple[str, Any]]:
    events, name = [], ""
    for line in response.iter_lines():
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            events.append((name, json.loads(line.removeprefix("data:"))))
    return events


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.app._THREADS", 1)


def test_slow_answers_do_not_make_the_service_look_dead(
    one_thread: None, client: httpx.Client, released: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on, opened = threading.Event(), threading.Event(), GeneratorRegistry.generator

    def slow(registry: GeneratorRegistry, options: Generation, preferred: str | None = None) -> FallbackGenerator:
        asked.set()
        go_on.wait(60)
        return opened(registry, options, preferred)

    monkeypatch.setattr(GeneratorRegistry, "generator", slow)
    waiting = threading.Thread(target=ask, args=(client, released.name))
    waiting.start()
    try:
        assert asked.wait(10)
        for path in ("/livez", "/readyz", "/metrics"):
            assert client.get(path).status_code == 200
    finally:
        go_on.set()
        waiting.join()


def test_a_definition_that_turns_wrong_is_used_as_it_was(client: httpx.Client, released: Corpus) -> None:
    assert ask(client, released.name).status_code == 200
    released.define(retrieval={"pasages": 3})
    assert ask(client, released.name).status_code == 200
    assert released.name in {each["name"] for each in client.get("/v1/knowledge-bases").json()}


def test_one_wrong_definition_does_not_hide_the_others(
    client: httpx.Client, released: Corpus, settings: Settings
) -> None:
    (settings.knowledge_bases / "broken.yaml").write_text("name: [")
    assert [each["name"] for each in client.get("/v1/knowledge-bases").json()] == [released.name]
