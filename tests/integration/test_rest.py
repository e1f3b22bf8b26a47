"""Documents, passages, feedback, versions, releases and nights over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from mindset.application import Installation
from mindset.catalog.documents import take_down
from mindset.catalog.releases import release_version
from mindset.catalog.transactions import rows, scalar
from mindset.config.scopes import Scope
from mindset.config.settings import Settings
from tests.corpus import Corpus, document, run_night
from tests.integration.test_access import PEPPER, bearer, make_key
from tests.providers.faults import garbage
from tests.providers.prefect import PrefectServer
from tests.providers.server import ProviderServer
from tests.served import api_at


@pytest.fixture
def prefect() -> Iterator[PrefectServer]:
    with PrefectServer() as opened:
        yield opened


@pytest.fixture
def client(settings: Settings, installation: Installation, prefect: PrefectServer) -> Iterator[httpx.Client]:
    """A client with an administrator's key that has no principals."""
    guarded = settings.model_copy(
        update={"api_access": "required", "api_key_pepper": SecretStr(PEPPER), "prefect_api_url": prefect.url}
    )
    with api_at(guarded) as url, httpx.Client(base_url=url, timeout=20) as opened:
        opened.headers.update(bearer(make_key(installation, Scope.ADMIN)))
        yield opened


@pytest.fixture
def released(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.fill(5)
    corpus.write(
        "guides/a b.md", "---\nteam: search\n---\n# Spaces\n\nA document in a folder, with a space in its name."
    )
    corpus.write("board.md", "---\nacl: [board]\n---\nThe merger with the bakery 3 is secret.")
    run_night(installation, corpus.name)
    return corpus


# Documents and passages


def test_documents_are_listed_in_pages_without_duplicates(client: httpx.Client, released: Corpus) -> None:
    uris: list[str] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"knowledge_base": released.name, "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/documents", params=params).json()
        uris += [item["uri"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        assert len(page["items"]) == 2
    assert uris == ["doc0.md", "doc1.md", "doc2.md", "doc3.md", "doc4.md", "guides/a b.md"]
    filtered = client.get("/v1/documents", params={"knowledge_base": released.name, "prefix": "guides/"}).json()
    assert [(item["uri"], item["metadata"]) for item in filtered["items"]] == [("guides/a b.md", {"team": "search"})]


@pytest.mark.parametrize("cursor", ["x", "bnVsbA", "W10", "MQ", "IlwwIg", "e30", "====", "\u00e9"])
def test_invalid_cursor_is_rejected(client: httpx.Client, released: Corpus, cursor: str) -> None:
    for path in ("/v1/documents", f"/v1/knowledge-bases/{released.name}/releases"):
        response = client.get(path, params={"knowledge_base": released.name, "cursor": cursor})
        assert response.status_code in (200, 422)
        assert response.status_code == 422 or cursor == "MQ"


def test_document_is_returned_with_its_text_and_chunks(client: httpx.Client, released: Corpus) -> None:
    params = {"knowledge_base": released.name}
    response = client.get("/v1/documents/doc3.md", params=params)
    body = response.json()
    assert body["title"]
    for chunk in body["chunks"]:
        passage = client.get(f"/v1/passages/{chunk['chunk_id']}", params=params).json()
        assert passage["places"][0]["uri"] == "doc3.md"
        assert body["text"][chunk["start"] : chunk["end"]].split()[:3] == passage["text"].split()[:3]
    not_modified = client.get(
        "/v1/documents/doc3.md", params=params, headers={"if-none-match": response.headers["etag"]}
    )
    assert (not_modified.status_code, not_modified.content) == (304, b"")
    assert client.get("/v1/documents/guides/a b.md", params=params).status_code == 200
    assert client.get("/v1/documents/guides%2Fa%20b.md", params=params).status_code == 200


def test_forbidden_and_taken_down_documents_return_404(
    client: httpx.Client, released: Corpus, installation: Installation
) -> None:
    params = {"knowledge_base": released.name}
    chunk = client.get("/v1/documents/doc3.md", params=params).json()["chunks"][0]["chunk_id"]
    with installation.catalog.writing() as connection:
        take_down(connection, released.name, "doc3.md", "test")
        secret = scalar(connection, "SELECT chunk_id FROM placement WHERE kb = %s AND uri = 'board.md'", released.name)
    for path in ("documents/doc3.md", "documents/board.md", f"passages/{chunk}", f"passages/{secret}", "passages/none"):
        response = client.get(f"/v1/{path}", params=params)
        assert response.status_code == 404
        assert response.json()["type"] == "urn:mindset:UnknownDocument"
    board = bearer(make_key(installation, Scope.READ, principals=("board",)))
    assert client.get("/v1/documents/board.md", params=params, headers=board).status_code == 200


# Feedback


def test_second_feedback_on_an_answer_replaces_the_first(
    client: httpx.Client, released: Corpus, installation: Installation
) -> None:
    body = {"knowledge_base": released.name, "question": "How many rooms has the bakery 3?"}
    answer = client.post("/v1/answers", json=body).json()["id"]
    for rating, comment in (("bad", "too short"), ("good", None)):
        response = client.post("/v1/feedback", json={"answer": answer, "rating": rating, "comment": comment})
        assert response.status_code == 201, response.text
    with installation.catalog.reading() as connection:
        stored = rows(connection, "SELECT kb, rating, comment FROM feedback WHERE answer_id = %(id)s", id=answer)
    assert stored == [(released.name, "good", None)]


def test_answer_of_another_caller_cannot_be_rated(
    client: httpx.Client, released: Corpus, installation: Installation
) -> None:
    body = {"knowledge_base": released.name, "question": "How many rooms has the bakery 3?"}
    answer = client.post("/v1/answers", json=body).json()["id"]
    other = bearer(make_key(installation, Scope.FEEDBACK))
    for id_, headers in ((answer, other), ("0" * 32, {}), ("x", {}), (f"{answer[:-1]}z", {})):
        response = client.post("/v1/feedback", json={"answer": id_, "rating": "good"}, headers=headers)
        assert response.status_code == 404
        assert response.json()["type"] == "urn:mindset:UnknownAnswer"


# Versions and releases


def test_versions_and_their_differences_are_returned(
    client: httpx.Client, released: Corpus, installation: Installation
) -> None:
    released.write("doc0.md", document(9))
    released.write("new.md", document(7))
    (released.folder / "doc1.md").unlink()
    run_night(installation, released.name)
    path = f"/v1/knowledge-bases/{released.name}/versions"
    page = client.get(path, params={"limit": 1}).json()
    assert [item["number"] for item in page["items"]] == [2]
    page = client.get(path, params={"limit": 1, "cursor": page["next"]}).json()
    assert ([item["number"] for item in page["items"]], page["next"]) == ([1], None)
    version = client.get(f"{path}/2").json()
    assert (version["state"], version["documents"]) == ("ready", 7)
    assert version["evaluation"]["passed"]
    renamed = client.get(f"{path}/2/difference", params={"since": 1})
    assert (renamed.status_code, "`base`" in renamed.json()["detail"]) == (422, True)
    changes = client.get(f"{path}/2/difference", params={"base": 1}).json()
    names = ("documents_added", "documents_changed", "documents_removed")
    assert [changes[name] for name in names] == [["new.md"], ["doc0.md"], ["doc1.md"]]
    assert client.get(f"{path}/9").status_code == 404


@pytest.fixture
def two_versions(released: Corpus, installation: Installation) -> Corpus:
    released.write("new.md", document(7))
    run_night(installation, released.name)
    return released


def post(client: httpx.Client, kb: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return client.post(f"/v1/knowledge-bases/{kb}/releases", json=body, headers=headers)


def live(client: httpx.Client, kb: str) -> Any:
    return client.get(f"/v1/knowledge-bases/{kb}").json()["live_version"]


def test_live_release_is_found_behind_many_releases_of_the_canary(
    client: httpx.Client, two_versions: Corpus, installation: Installation
) -> None:
    with installation.catalog.writing() as connection:
        for number in range(1_100):
            release_version(connection, two_versions.name, "canary", 1 + number % 2, "test", "canary")
    assert live(client, two_versions.name) == 2
    assert client.get(f"/v1/models/{two_versions.name}").status_code == 200
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == [two_versions.name]
    assert post(client, two_versions.name, action="roll_back", reason="bad").json()["version"] == 1


@pytest.mark.parametrize(("number", "base"), [(2, 1), (1, 2), (1, None)])
def test_retired_version_cannot_be_compared(
    client: httpx.Client, two_versions: Corpus, installation: Installation, number: int, base: int | None
) -> None:
    with installation.catalog.writing() as connection:
        connection.execute("UPDATE version SET state = 'retired' WHERE number = 1")
    response = client.get(
        f"/v1/knowledge-bases/{two_versions.name}/versions/{number}/difference", params={"base": base} if base else {}
    )
    assert (response.status_code, "is retired" in response.json()["detail"]) == (404, True)


def test_rollback_and_promotion_record_the_caller(client: httpx.Client, two_versions: Corpus) -> None:
    rollback = post(client, two_versions.name, action="roll_back", reason="wrong prices")
    assert (rollback.status_code, rollback.json()) == (201, {"version": 1, "replaces": 2, "reasons": ["wrong prices"]})
    assert live(client, two_versions.name) == 1
    assert post(client, two_versions.name, action="promote", version=2).status_code == 201
    newest, previous, *_ = client.get(f"/v1/knowledge-bases/{two_versions.name}/releases").json()["items"]
    assert (newest["version"], previous["version"]) == (2, 1)
    assert previous["released_by"].startswith("key:")
    assert previous["reason"] == "wrong prices"


def test_outdated_if_match_header_is_rejected(client: httpx.Client, two_versions: Corpus) -> None:
    outdated = {"if-match": client.get(f"/v1/knowledge-bases/{two_versions.name}/releases").headers["etag"]}
    assert post(client, two_versions.name, outdated, action="roll_back").status_code == 201
    rejected = post(client, two_versions.name, outdated, action="promote", version=2)
    assert (rejected.status_code, rejected.json()["type"]) == (412, "urn:mindset:PreconditionFailed")
    assert live(client, two_versions.name) == 1
    assert post(client, two_versions.name, {"if-match": '"latest"'}, action="roll_back").status_code == 422
    current = client.get(f"/v1/knowledge-bases/{two_versions.name}/releases").headers["etag"]
    either = {"if-match": f"{outdated['if-match']}, {current}"}
    assert post(client, two_versions.name, either, action="promote", version=2).status_code == 201


def test_if_match_any_is_rejected_without_a_release(client: httpx.Client, corpus: Corpus) -> None:
    rejected = post(client, corpus.name, {"if-match": "*"}, action="promote", version=1)
    assert (rejected.status_code, rejected.json()["type"]) == (412, "urn:mindset:PreconditionFailed")


def test_requests_with_the_same_idempotency_key_are_executed_once(
    client: httpx.Client, two_versions: Corpus, installation: Installation
) -> None:
    key = {"idempotency-key": "rollback-1"}
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(lambda _: post(client, two_versions.name, key, action="roll_back"), range(8)))
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.text for reply in replies}) == 1
    assert sum(reply.headers.get("idempotent-replay") == "true" for reply in replies) == 7
    assert len(client.get(f"/v1/knowledge-bases/{two_versions.name}/releases").json()["items"]) == 3
    different_body = post(client, two_versions.name, key, action="promote", version=2)
    assert (different_body.status_code, different_body.json()["type"]) == (422, "urn:mindset:RequestRejected")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"action": "promote"}, 422),
        ({"action": "promote", "version": 99}, 404),
        ({"action": "roll_back", "version": 1}, 422),
        ({"action": "destroy"}, 422),
        ({"action": "roll_back", "force": True}, 422),
    ],
)
def test_invalid_release_request_changes_nothing(
    client: httpx.Client, two_versions: Corpus, body: dict[str, Any], status: int
) -> None:
    assert post(client, two_versions.name, **body).status_code == status
    assert live(client, two_versions.name) == 2


# Nights


def test_night_is_started_once_per_idempotency_key(
    client: httpx.Client, released: Corpus, prefect: PrefectServer
) -> None:
    path, key = f"/v1/knowledge-bases/{released.name}/nights", {"idempotency-key": "tonight"}
    started = client.post(path, json={"allow_deletions": True}, headers=key)
    assert started.status_code == 202
    assert "idempotent-replay" not in started.headers
    repeated = client.post(path, json={"allow_deletions": True}, headers=key)
    assert (repeated.json()["id"], repeated.headers["idempotent-replay"]) == (started.json()["id"], "true")
    different_body = client.post(path, json={"allow_deletions": False}, headers=key)
    assert (different_body.status_code, different_body.json()["type"]) == (422, "urn:mindset:RequestRejected")
    assert client.post(path).json()["id"] != started.json()["id"]
    (run, *_) = prefect.runs.values()
    assert run["parameters"] == {"parameters": {"kb": released.name, "allow_deletions": True}}
    run["state_type"] = "COMPLETED"
    night = client.get(started.headers["location"]).json()
    assert (night["state"], night["knowledge_base"]) == ("COMPLETED", released.name)
    assert {listed["id"] for listed in client.get(path).json()} == set(prefect.runs)


def test_report_of_a_night_is_returned_only_to_administrators(
    client: httpx.Client, released: Corpus, installation: Installation, prefect: PrefectServer
) -> None:
    location = client.post(f"/v1/knowledge-bases/{released.name}/nights").headers["location"]
    (run,) = prefect.runs.values()
    run["state_type"] = "COMPLETED"
    prefect.reports[run["id"]] = "- `legal/secret.md`"
    for scope, report in ((Scope.OPERATE, None), (Scope.ADMIN, "- `legal/secret.md`")):
        response = client.get(location, headers=bearer(make_key(installation, scope)))
        assert (response.status_code, response.json()["report"]) == (200, report)


def test_night_of_a_hidden_knowledge_base_returns_404(
    client: httpx.Client, released: Corpus, installation: Installation, prefect: PrefectServer
) -> None:
    location = client.post(f"/v1/knowledge-bases/{released.name}/nights").headers["location"]
    released.define(audience=["board"])
    assert client.get(location).status_code == 404
    assert client.get("/v1/nights/none").json()["type"] == "urn:mindset:UnknownRun"
    board = bearer(make_key(installation, Scope.OPERATE, principals=("board",)))
    assert client.get(location, headers=board).status_code == 200


def test_missing_or_unreachable_prefect_returns_503(settings: Settings, released: Corpus) -> None:
    for url, message in ((None, "MINDSET_PREFECT_API_URL"), ("http://127.0.0.1:9/api", "is unavailable")):
        with api_at(settings.model_copy(update={"prefect_api_url": url})) as api_url:
            response = httpx.post(f"{api_url}/v1/knowledge-bases/{released.name}/nights", timeout=20)
        assert response.status_code == 503
        assert message in response.json()["detail"]
        assert "127.0.0.1" not in response.text, "internal addresses must not be disclosed"


def test_server_that_is_not_prefect_returns_503(settings: Settings, released: Corpus, prefect: PrefectServer) -> None:
    with ProviderServer() as other:
        other.fail("nightly/nightly", always=garbage())
        for url, message in ((f"{other.url}/v1", "is unavailable"), (f"{prefect.url}/elsewhere", "no deployment")):
            with api_at(settings.model_copy(update={"prefect_api_url": url})) as api_url:
                response = httpx.post(f"{api_url}/v1/knowledge-bases/{released.name}/nights", timeout=60)
            assert response.status_code == 503
            assert message in response.json()["detail"]


# Problems


def test_unknown_paths_and_methods_return_problem_details(client: httpx.Client) -> None:
    for method, path, status, kind in (
        ("GET", "/v1/none", 404, "NotFound"), ("DELETE", "/v1/search", 405, "MethodNotAllowed"),
    ):  # fmt: skip
        response = client.request(method, path)
        assert (response.status_code, response.json()["type"]) == (status, f"urn:mindset:{kind}")
        assert response.headers["content-type"] == "application/problem+json"
        assert "/docs" in response.json()["detail"]
    assert response.headers["allow"] == "POST"


def test_validation_error_points_to_the_field(client: httpx.Client) -> None:
    problem = client.post("/v1/search", json={"knowledge_base": "x", "question": "y", "limit": 0}).json()
    assert problem["errors"] == [{"pointer": "/limit", "detail": "Input should be greater than or equal to 1"}]
    problem = client.get("/v1/documents", params={"limit": 0}).json()
    assert [error["parameter"] for error in problem["errors"]] == ["knowledge_base", "limit"]
    # The pointer omits the name of the model, which is part of pydantic's own location.
    problem = post(client, "docs", action="promote", version=0).json()
    assert problem["errors"] == [{"pointer": "/version", "detail": "Input should be greater than or equal to 1"}]
    assert post(client, "docs", action="promote").json()["errors"][0]["pointer"] == "/version"
    assert post(client, "docs", action="destroy").json()["errors"][0]["pointer"] == ""
    broken = client.post("/v1/search", content=b"{", headers={"content-type": "application/json"}).json()
    assert broken["errors"] == [{"pointer": "", "detail": "The body is not valid JSON"}]
