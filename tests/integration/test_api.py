"""The REST API over real HTTP, with real databases."""

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


def test_search_returns_passages_and_the_version(client: httpx.Client, released: Corpus) -> None:
    body = client.post("/v1/search", json={"knowledge_base": released.name, "question": "rooms of the bakery 3"}).json()
    assert body["version"] == 1
    assert body["degraded"] == []
    best = body["passages"][0]
    assert best["places"][0]["uri"] == "doc3.md"
    assert best["places"][0]["heading_path"]
    assert "score" not in json.dumps(body)


def test_answer_has_text_and_valid_citations(client: httpx.Client, released: Corpus, settings: Settings) -> None:
    answer = ask(client, released.name).json()
    assert answer["supported"]
    assert "bakery 3" in answer["answer"]
    for citation in answer["citations"]:
        assert citation["uri"] == answer["passages"][citation["passage"] - 1]["places"][0]["uri"]
        assert 0 <= citation["start"] < citation["end"] <= len(answer["answer"])


def test_unanswerable_question_is_marked_as_unsupported(client: httpx.Client, released: Corpus) -> None:
    answer = ask(client, released.name, "Who won the quantum chess tournament?").json()
    assert answer["answer"] == "Not in the documents."
    assert answer["supported"] is False
    assert answer["citations"] == []


def test_streamed_answer_equals_the_whole_answer(client: httpx.Client, released: Corpus) -> None:
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
    answer_id = ask(client, released.name, "How many rooms has the secret bakery 3?").json()["id"]

    def logged() -> str | None:
        with installation.catalog.reading() as connection:
            row: str | None = scalar(
                connection, "SELECT row_to_json(l)::text FROM answer_log l WHERE id = %s", answer_id
            )
            return row

    row = wait_until(logged, message="The answer was not logged")  # it is logged after the response
    assert released.name in row
    assert "secret" not in row


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"knowledge_base": "missing", "question": "hello"}, 404, "UnknownKnowledgeBase"),
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
def test_invalid_request_returns_problem_details(
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


def test_body_without_content_length_is_limited(client: httpx.Client) -> None:
    response = client.post("/v1/search", content=(b"x" * 50_000 for _ in range(10)))
    assert response.status_code == 413


def test_knowledge_base_without_a_release_returns_404(client: httpx.Client, corpus: Corpus) -> None:
    response = client.post("/v1/search", json={"knowledge_base": corpus.name, "question": "hello"})
    assert response.status_code == 404
    assert "mindset night" in response.json()["detail"]


def test_promotion_takes_effect_without_a_restart(
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
    assert [(release["version"], release["replaces"]) for release in releases] == [(2, 1), (1, 2), (2, 1), (1, None)]


def test_taken_down_document_is_hidden_immediately(
    client: httpx.Client, released: Corpus, installation: Installation
) -> None:
    with installation.catalog.writing() as connection:
        take_down(connection, released.name, "doc3.md", "test")
    body = client.post("/v1/search", json={"knowledge_base": released.name, "question": "bakery 3", "limit": 50}).json()
    assert "doc3.md" not in json.dumps(body)


def test_restricted_document_is_not_returned_to_anonymous_callers(
    client: httpx.Client, released: Corpus, installation: Installation
) -> None:
    released.write("board.md", "---\nacl: [board]\n---\nThe merger with the bakery 3 is secret.")
    run_night(installation, released.name)
    body = client.post(
        "/v1/search", json={"knowledge_base": released.name, "question": "secret merger", "limit": 50}
    ).json()
    assert "merger" not in json.dumps(body)


def test_search_without_its_collection_uses_full_text_and_reports_degradation(
    client: httpx.Client, released: Corpus, installation: Installation
) -> None:
    with installation.catalog.reading() as connection:
        collection = scalar(connection, "SELECT collection FROM segment WHERE kb = %s", released.name)
    installation.vectors.drop(collection)
    body = client.post("/v1/search", json={"knowledge_base": released.name, "question": "rooms of the bakery 3"}).json()
    assert body["degraded"] == ["dense"]
    assert body["passages"][0]["places"][0]["uri"] == "doc3.md"


def test_unreachable_chroma_is_named_in_the_error(settings: Settings) -> None:
    index = ChromaIndex("http://127.0.0.1:9")
    from mindset.errors import ServiceUnavailable

    with pytest.raises(ServiceUnavailable, match="Chroma does not respond at"):
        index.ping()


def test_knowledge_base_and_health_endpoints(client: httpx.Client, released: Corpus) -> None:
    (kb,) = client.get("/v1/knowledge-bases").json()
    assert kb == client.get(f"/v1/knowledge-bases/{released.name}").json()
    assert (kb["live_version"], kb["documents"], kb["chunks"]) == (1, 4, 16)
    assert client.get("/livez").text == "ok"
    assert client.get("/readyz").json() == {"postgres": "ok", "chroma": "ok", "redis": "ok"}
    assert client.get("/v1/knowledge-bases/none").status_code == 404
    assert client.get("/nowhere").headers["content-type"] == "application/problem+json"


def test_outdated_schema_makes_the_api_not_ready(client: httpx.Client, installation: Installation) -> None:
    with installation.catalog.writing() as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0003'")
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["postgres"]) == (503, "not migrated")


def test_request_metrics_are_labelled_by_route_and_not_by_path(client: httpx.Client, released: Corpus) -> None:
    client.get(f"/v1/knowledge-bases/{released.name}")
    ask(client, released.name)
    text = client.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert released.name not in {sample.labels.get("route") for sample in families["mindset_requests"].samples}
    assert families["mindset_answers"].samples[0].value == 1
    assert families["mindset_searched_version"].samples[0].value == 1


def test_valid_request_id_of_the_caller_is_returned(client: httpx.Client) -> None:
    assert client.get("/livez", headers={"x-request-id": "abcd-1234"}).headers["x-request-id"] == "abcd-1234"
    assert client.get("/livez", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


def test_disconnected_clients_do_not_block_later_requests(client: httpx.Client, released: Corpus) -> None:
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


def test_health_endpoints_respond_while_answers_are_slow(
    one_thread: None, client: httpx.Client, released: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, resume, original = threading.Event(), threading.Event(), GeneratorRegistry.generator

    def slow_generator(
        registry: GeneratorRegistry, options: Generation, preferred: str | None = None
    ) -> FallbackGenerator:
        started.set()
        resume.wait(60)
        return original(registry, options, preferred)

    monkeypatch.setattr(GeneratorRegistry, "generator", slow_generator)
    waiting = threading.Thread(target=ask, args=(client, released.name))
    waiting.start()
    try:
        assert started.wait(10)
        for path in ("/livez", "/readyz", "/metrics"):
            assert client.get(path).status_code == 200
    finally:
        resume.set()
        waiting.join()


def test_last_valid_definition_is_used_after_it_becomes_invalid(client: httpx.Client, released: Corpus) -> None:
    assert ask(client, released.name).status_code == 200
    released.define(retrieval={"pasages": 3})
    assert ask(client, released.name).status_code == 200
    assert released.name in {kb["name"] for kb in client.get("/v1/knowledge-bases").json()}


def test_invalid_definition_does_not_hide_other_knowledge_bases(
    client: httpx.Client, released: Corpus, settings: Settings
) -> None:
    (settings.knowledge_bases / "broken.yaml").write_text("name: [")
    assert [kb["name"] for kb in client.get("/v1/knowledge-bases").json()] == [released.name]
