"""The MCP endpoint `/mcp`, called by the official client over real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent
from pydantic import SecretStr

from api.app import create_app
from api.mcp.confirmations import LIFETIME_S, Preview, issue, verify
from mindset.application import Installation
from mindset.auth.api_keys import create_key
from mindset.catalog.documents import take_down
from mindset.catalog.pool import Catalog
from mindset.catalog.releases import list_releases, live_version
from mindset.catalog.server_secrets import server_secret
from mindset.catalog.versions import set_state
from mindset.config.scopes import Scope
from mindset.config.settings import Settings
from mindset.errors import PreconditionFailed, RequestRejected
from mindset.releases import promotion
from tests.corpus import Corpus, document, run_night
from tests.providers import ProviderServer, hang
from tests.providers.fixtures import provider
from tests.providers.prefect import PrefectServer
from tests.served import address_of, api_at
from tests.snippets import snippet
from tests.waiting import wait_until

__all__ = ["provider"]

QUESTION = "How many rooms has the bakery 3?"
QUERY_TOOLS = ["search", "ask", "get_document", "list_knowledge_bases", "list_releases", "index_health"]
OPERATION_TOOLS = ["compare_versions", "get_night", "start_night", "promote", "roll_back"]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def released(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.fill(4)
    run_night(installation, corpus.name)
    return corpus


@pytest.fixture
def address(settings: Settings) -> Iterator[str]:
    with api_at(settings) as url:
        yield url


@asynccontextmanager
async def client_at(address: str, **options: Any) -> AsyncIterator[Client]:
    async with Client(f"{address}/mcp", read_timeout_seconds=20, **options) as client:
        yield client


def text(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def test_tools_are_listed_with_schemas_and_annotations(address: str) -> None:
    async with client_at(address) as client:
        tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == [*QUERY_TOOLS, *OPERATION_TOOLS]
    for tool in tools:
        assert tool.description
        assert tool.input_schema["type"] == "object"
        assert tool.output_schema
        assert tool.annotations
        assert tool.annotations.read_only_hint is (tool.name not in ("start_night", "promote", "roll_back"))
        assert tool.annotations.destructive_hint is (tool.name in ("promote", "roll_back"))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_clients_of_both_protocol_versions_are_supported(address: str, released: Corpus, mode: str) -> None:
    async with client_at(address, mode=mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == [*QUERY_TOOLS, *OPERATION_TOOLS]
        answer = await client.call_tool("ask", {"knowledge_base": released.name, "question": QUESTION})
    assert "bakery 3" in text(answer)


async def test_answer_cites_its_sources_in_text_and_structured_content(address: str, released: Corpus) -> None:
    steps: list[str | None] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        steps.append(message)

    async with client_at(address) as client:
        arguments = {"knowledge_base": released.name, "question": QUESTION}
        answer = await client.call_tool("ask", arguments, progress_callback=on_progress)
    assert not answer.is_error
    assert answer.structured_content["supported"]
    assert answer.structured_content["version"] == 1
    assert answer.structured_content["citations"][0]["uri"] == "doc3.md"
    assert answer.structured_content["answer"] in text(answer)
    assert "(doc3.md)" in text(answer)
    assert len(steps) == 1
    assert "passages found" in str(steps[0])


async def test_search_and_get_document_return_only_visible_documents(
    address: str, released: Corpus, installation: Installation
) -> None:
    async with client_at(address) as client:

        async def call(name: str, **arguments: Any) -> CallToolResult:
            return await client.call_tool(name, {"knowledge_base": released.name} | arguments)

        result = await call("search", question="rooms of the bakery 3", limit=3.0)
        assert result.structured_content["passages"][0]["places"][0]["uri"] == "doc3.md"
        assert "(doc3.md)" in text(result)
        condition = {"field": "uri", "op": "eq", "value": "doc1.md"}
        filtered = await call("search", question="rooms of the bakery 3", where=condition)
        assert {passage["places"][0]["uri"] for passage in filtered.structured_content["passages"]} == {"doc1.md"}
        invalid = await call("search", question="rooms", where=condition | {"op": "like"})
        assert invalid.is_error
        assert "write `field`, `op`" in text(invalid)
        whole = await call("get_document", uri="doc3.md")
        assert text(whole).strip() == document(3).strip()
        assert whole.structured_content["length"] == len(text(whole))
        rest = await call("get_document", uri="doc3.md", start=100)
        assert text(rest) == text(whole)[100:]
        with installation.catalog.writing() as connection:
            take_down(connection, released.name, "doc3.md", "test")
        removed = await call("get_document", uri="doc3.md")
        assert removed.is_error
        assert text(removed).startswith("UnknownDocument: ")
        assert "doc3.md" not in text(await call("search", question="rooms of the bakery 3"))


async def test_forbidden_document_is_reported_as_unknown(
    address: str, corpus: Corpus, installation: Installation
) -> None:
    corpus.define(acl=["board"])
    corpus.fill(2)
    run_night(installation, corpus.name)
    async with client_at(address) as client:
        hidden = await client.call_tool("get_document", {"knowledge_base": corpus.name, "uri": "doc1.md"})
        missing = await client.call_tool("get_document", {"knowledge_base": corpus.name, "uri": "doc9.md"})
        corpus.write("doc2.md", document(2))
        run_night(installation, corpus.name)
        compared = await client.call_tool("compare_versions", {"knowledge_base": corpus.name, "old": 1, "new": 2})
    assert text(hidden).replace("doc1", "doc9") == text(missing)
    assert compared.structured_content["documents_added"] == 1
    assert compared.structured_content["uris_added"] == []


async def test_knowledge_bases_and_their_releases_are_listed(address: str, released: Corpus) -> None:
    async with client_at(address) as client:
        listed = await client.call_tool("list_knowledge_bases")
        history = await client.call_tool("list_releases", {"knowledge_base": released.name})
        released.define(audience=["board"])
        hidden = await client.call_tool("list_knowledge_bases")
        rejected = await client.call_tool("ask", {"knowledge_base": released.name, "question": QUESTION})
    assert [kb["name"] for kb in listed.structured_content["knowledge_bases"]] == [released.name]
    assert [release["version"] for release in history.structured_content["releases"]] == [1]
    assert [(version["number"], version["state"]) for version in history.structured_content["versions"]] == [
        (1, "ready")
    ]
    assert hidden.structured_content["knowledge_bases"] == []
    assert text(rejected).startswith("UnknownKnowledgeBase: ")


async def test_index_health_reports_a_missing_segment(
    address: str, released: Corpus, installation: Installation
) -> None:
    async with client_at(address) as client:
        healthy = await client.call_tool("index_health", {"knowledge_base": released.name})
        (segment,) = healthy.structured_content["segments"]
        installation.vectors.drop(segment["collection"])
        damaged = await client.call_tool("index_health", {"knowledge_base": released.name})
    assert healthy.structured_content["healthy"]
    assert segment["expected"] == segment["found"] > 0
    assert not damaged.structured_content["healthy"]
    assert segment["collection"] in damaged.structured_content["findings"][0]


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("ask", {}, "`question` is missing"),
        ("ask", {"question": 7}, "`question` is invalid: it should be a valid string"),
        ("ask", {"question": "hello", "limit": 0}, "`limit` is invalid"),
        ("ask", {"question": "hello", "limit": 2.5}, "`limit` is invalid"),
        ("ask", {"question": "hello", "limit": "two"}, "`limit` is invalid"),
        ("ask", {"question": "hello", "limit": True}, "`limit` is invalid"),
        ("ask", {"question": "hello", "principals": ["root"]}, "`principals` is not an argument of this tool"),
        ("ask", {"question": ""}, "QuestionRejected: "),
        ("search", {"question": "hello", "knowledge_base": "missing"}, "UnknownKnowledgeBase: "),
        ("search", {"question": "hello", "knowledge_base": "../etc"}, "UnknownKnowledgeBase: "),
        ("get_document", {"uri": "nothing.md"}, "UnknownDocument: "),
        ("compare_versions", {"new": 99}, "UnknownVersion: "),
        ("promote", {"version": 99, "reason": "test"}, "UnknownVersion: "),
        ("promote", {"version": 1, "reason": "test", "confirm": True}, "`confirm` is not an argument of this tool"),
        ("promote", {"version": 1, "reason": "test", "confirmation": 1}, "`confirmation` is invalid"),
        ("promote", {"version": 1, "reason": "test", "confirmation": "yes"}, "without `confirmation`"),
        ("roll_back", {"reason": "test", "confirmation": "a.b"}, "without `confirmation`"),
        ("start_night", {"confirmation": ""}, "without `confirmation`"),
        ("roll_back", {"reason": "test"}, "UnknownVersion: "),
        ("get_night", {"id": "no id"}, "`id` is invalid"),
    ],
)
async def test_invalid_arguments_return_a_clear_error(
    address: str, released: Corpus, tool: str, arguments: dict[str, Any], message: str
) -> None:
    if tool != "get_night":
        arguments = {"knowledge_base": released.name} | arguments
    async with client_at(address) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert message in text(result)
    assert "pydantic" not in text(result)
    assert "Traceback" not in text(result)


async def test_unknown_tool_cannot_be_called(address: str) -> None:
    async with client_at(address) as client:
        with pytest.raises(MCPError, match="You have no tool 'drop_database'"):
            await client.call_tool("drop_database", {})


async def test_promotion_and_rollback_require_confirmation(
    address: str, released: Corpus, installation: Installation
) -> None:
    def live() -> int | None:
        with installation.catalog.reading() as connection:
            return live_version(connection, released.name)

    released.write("new.md", document(7))
    run_night(installation, released.name)
    assert live() == 2
    async with client_at(address) as client:

        async def call(name: str, **arguments: Any) -> Any:
            return (await client.call_tool(name, {"knowledge_base": released.name} | arguments)).structured_content

        compared = await call("compare_versions", old=1, new=2)
        assert (compared["documents_added"], compared["uris_added"]) == (1, ["new.md"])

        preview = await call("roll_back", reason="bad")
        assert (preview["done"], preview["version"], preview["replaces"], live()) == (False, 1, 2, 2)
        executed = await call("roll_back", reason="bad", confirmation=preview["confirmation"])
        assert (executed["done"], executed["version"], executed["replaces"], live()) == (True, 1, 2, 1)

        preview = await call("promote", version=2, reason="good after all")
        assert (preview["done"], preview["version"], preview["replaces"], live()) == (False, 2, 1, 1)
        confirmation = preview["confirmation"]
        executed = await call("promote", version=2, reason="good after all", confirmation=confirmation)
        assert (executed["done"], executed["version"], executed["replaces"], live()) == (True, 2, 1, 2)
    with installation.catalog.reading() as connection:
        newest = list_releases(connection, released.name)[0]
    assert (newest.version, newest.reason, newest.released_by) == (2, "good after all", "anyone")


async def test_start_night_requires_confirmation_and_prefect(address: str, released: Corpus) -> None:
    async with client_at(address) as client:
        arguments = {"knowledge_base": released.name}
        preview = await client.call_tool("start_night", arguments)
        failed = await client.call_tool(
            "start_night", arguments | {"confirmation": preview.structured_content["confirmation"]}
        )
    assert preview.structured_content["done"] is False
    assert failed.is_error
    assert "MINDSET_PREFECT_API_URL" in text(failed)


async def test_confirmation_is_bound_to_what_was_previewed(
    address: str, released: Corpus, installation: Installation
) -> None:
    for number in (2, 3):
        released.write("new.md", document(number + 5))
        run_night(installation, released.name)

    def releases() -> list[int]:
        with installation.catalog.reading() as connection:
            return [release.version for release in list_releases(connection, released.name)]

    async with client_at(address) as client:

        async def call(name: str, **arguments: Any) -> Any:
            return await client.call_tool(name, {"knowledge_base": released.name} | arguments)

        async def token(name: str, **arguments: Any) -> str:
            return str((await call(name, **arguments)).structured_content["confirmation"])

        promoting = await token("promote", version=1, reason="r")
        # Other arguments, another tool, a damaged token
        for name, arguments in (
            ("promote", {"version": 2, "reason": "r", "confirmation": promoting}),
            ("promote", {"version": 1, "reason": "other", "confirmation": promoting}),
            ("roll_back", {"reason": "r", "confirmation": promoting}),
            ("promote", {"version": 1, "reason": "r", "confirmation": promoting[:-2] + "xx"}),
            ("promote", {"version": 1, "reason": "r", "confirmation": "\u00e4.\u00e4"}),
        ):
            refused = await call(name, **arguments)
            assert refused.is_error
            assert "without `confirmation`" in text(refused)
        assert releases() == [3, 2, 1]

        # Another release went live after the preview, even though the same version is live again
        rolling_back = await token("roll_back", reason="r")
        starting = await token("start_night")
        for version in (2, 3):
            promotion.promote(installation.catalog, released.name, version, "test", "meanwhile")
        for name, arguments in (
            ("promote", {"version": 1, "reason": "r", "confirmation": promoting}),
            ("roll_back", {"reason": "r", "confirmation": rolling_back}),
            ("start_night", {"confirmation": starting}),
        ):
            refused = await call(name, **arguments)
            assert refused.is_error
            assert "PreconditionFailed" in text(refused)
            assert "without `confirmation`" in text(refused)
        assert releases() == [3, 2, 3, 2, 1]

        # A repeated call does nothing and gets the same response, whatever happened since
        rolling_back = await token("roll_back", reason="r")
        first = (await call("roll_back", reason="r", confirmation=rolling_back)).structured_content
        promotion.promote(installation.catalog, released.name, 1, "test", "meanwhile")
        again = (await call("roll_back", reason="r", confirmation=rolling_back)).structured_content
    assert (first["done"], first["version"], first["replayed"]) == (True, 2, False)
    assert again == first | {"replayed": True}
    assert releases() == [1, 2, 3, 2, 3, 2, 1]


async def test_rollback_to_another_version_than_previewed_is_refused(
    address: str, released: Corpus, installation: Installation
) -> None:
    for number in (2, 3):
        released.write("new.md", document(number + 5))
        run_night(installation, released.name)
    async with client_at(address) as client:
        arguments = {"knowledge_base": released.name, "reason": "r"}
        preview = (await client.call_tool("roll_back", arguments)).structured_content
        assert preview["version"] == 2
        with installation.catalog.writing() as connection:
            set_state(connection, released.name, 2, "rejected")
        refused = await client.call_tool("roll_back", arguments | {"confirmation": preview["confirmation"]})
    assert refused.is_error
    assert "leads to version 1 now" in text(refused)


async def test_confirmed_night_starts_once(settings: Settings, released: Corpus, installation: Installation) -> None:
    with PrefectServer() as prefect, api_at(settings.model_copy(update={"prefect_api_url": prefect.url})) as address:
        async with client_at(address) as client:
            arguments: dict[str, Any] = {"knowledge_base": released.name}
            arguments["confirmation"] = (await client.call_tool("start_night", arguments)).structured_content[
                "confirmation"
            ]
            first = (await client.call_tool("start_night", arguments)).structured_content
            released.write("new.md", document(9))
            run_night(installation, released.name)
            again = (await client.call_tool("start_night", arguments)).structured_content
    assert first["done"]
    assert again == first | {"replayed": True}


def test_confirmation_expires_and_belongs_to_its_caller() -> None:
    preview = Preview("key:a", "promote", {"version": 1}, release=7, version=1)
    token = issue(b"secret", preview, now=1_000.0)
    confirmed = verify(b"secret", token, preview, now=1_000.0 + LIFETIME_S)
    assert (confirmed.release, confirmed.version) == (7, 1)
    with pytest.raises(PreconditionFailed, match="older than 15 minutes"):
        verify(b"secret", token, preview, now=1_001.0 + LIFETIME_S)
    with pytest.raises(RequestRejected, match="another action"):
        verify(b"secret", token, replace(preview, caller="key:b"), now=1_000.0)
    for damaged in ("", ".", "a", "a.b.c", token[1:], f"{token}A", "é.é"):
        with pytest.raises(RequestRejected, match="not one that a preview returned"):
            verify(b"secret", damaged, preview, now=1_000.0)
    with pytest.raises(RequestRejected, match="not one that a preview returned"):
        verify(b"other", token, preview, now=1_000.0)


def test_processes_share_the_secret_of_confirmations(installation: Installation, settings: Settings) -> None:
    first = server_secret(installation.catalog, "test")
    with Catalog(settings.postgres_url.get_secret_value() if settings.postgres_url else "") as other:
        assert server_secret(other, "test") == first
    assert server_secret(installation.catalog, "other") != first
    assert len(first) == 32


async def test_client_disconnect_cancels_the_answer(
    settings: Settings, provider: ProviderServer, installation: Installation, corpus: Corpus
) -> None:
    corpus.define(generation={"provider": "nim", "model": "meta/llama-3.1-8b-instruct", "deadline_s": 30})
    corpus.fill(2)
    run_night(installation, corpus.name)
    provider.fail("/chat/completions", hang(after=3))
    app = create_app(settings.model_copy(update={"nim_url": provider.nim_url}))
    with address_of(app) as address:
        async with client_at(address) as client:
            with pytest.raises(MCPError):
                await client.call_tool(
                    "ask", {"knowledge_base": corpus.name, "question": QUESTION}, read_timeout_seconds=1
                )
        # Less than the answer's own deadline of 30 seconds.
        await anyio.to_thread.run_sync(
            wait_until, lambda: app.state.streams.in_progress == 0, 10, "The stream was not closed"
        )


@pytest.mark.parametrize(
    ("host", "hosts", "status"),
    [
        ("evil.example", None, 421),
        ("127.0.0.1.evil.example", None, 421),
        ("localhost:1", None, 200),
        ("mcp.example.com", "mcp.example.com, other.example", 200),
        ("127.0.0.1:8080", "mcp.example.com", 421),
        ("anything", "*", 200),
    ],
)
def test_requests_for_unknown_hosts_are_rejected(settings: Settings, host: str, hosts: str | None, status: int) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"accept": "application/json, text/event-stream"}
    with api_at(settings.model_copy(update={"mcp_hosts": hosts})) as address:
        response = httpx.post(f"{address}/mcp", json=call, headers={"host": host} | accept, timeout=10)
    assert response.status_code == status


PEPPER = "a pepper of more than thirty-two characters"


@pytest.fixture
def guarded(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_access": "required", "api_key_pepper": SecretStr(PEPPER)})


def key_of(installation: Installation, *scopes: Scope, principals: tuple[str, ...] = ()) -> str:
    with installation.catalog.writing() as connection:
        return create_key(connection, PEPPER, "test", scopes, principals, None)[0]


@asynccontextmanager
async def client_with(address: str, key: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=20) as http,
        Client(streamable_http_client(f"{address}/mcp", http_client=http)) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("scope", "tools"),
    [
        (Scope.ASK, ["ask", "list_knowledge_bases"]),
        (Scope.READ, ["get_document", "list_knowledge_bases", "list_releases", "index_health"]),
        (Scope.OPERATE, ["compare_versions", "get_night", "start_night"]),
        (Scope.RELEASE, ["compare_versions", "promote", "roll_back"]),
        (Scope.FEEDBACK, []),
        (Scope.ADMIN, [*QUERY_TOOLS, *OPERATION_TOOLS]),
    ],
)
async def test_key_lists_and_calls_only_the_tools_of_its_scopes(
    guarded: Settings, installation: Installation, released: Corpus, scope: Scope, tools: list[str]
) -> None:
    with api_at(guarded) as address:
        async with client_with(address, key_of(installation, scope)) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == tools
            for name in [*QUERY_TOOLS, *OPERATION_TOOLS]:
                if name not in tools:
                    with pytest.raises(MCPError, match=f"You have no tool '{name}'"):
                        await client.call_tool(
                            name, {"knowledge_base": released.name, "reason": "x", "confirmation": "a.b"}
                        )
    with installation.catalog.reading() as connection:
        assert live_version(connection, released.name) == 1


async def test_key_reads_with_its_principals_and_releases_under_its_id(
    guarded: Settings, installation: Installation, corpus: Corpus
) -> None:
    corpus.define(acl=["board"])
    corpus.fill(2)
    run_night(installation, corpus.name)
    corpus.write("doc2.md", document(2))
    run_night(installation, corpus.name)
    document_arguments = {"knowledge_base": corpus.name, "uri": "doc1.md"}
    with api_at(guarded) as address:
        async with client_with(address, key_of(installation, Scope.READ)) as client:
            assert (await client.call_tool("get_document", document_arguments)).is_error
        async with client_with(address, key_of(installation, Scope.READ, principals=("board",))) as client:
            assert not (await client.call_tool("get_document", document_arguments)).is_error
        key = key_of(installation, Scope.RELEASE)
        async with client_with(address, key) as client:
            arguments = {"knowledge_base": corpus.name, "reason": "bad"}
            preview = (await client.call_tool("roll_back", arguments)).structured_content
            arguments["confirmation"] = preview["confirmation"]
            assert (await client.call_tool("roll_back", arguments)).structured_content["version"] == 1
    with installation.catalog.reading() as connection:
        assert list_releases(connection, corpus.name)[0].released_by == f"key:{key.split('_')[1]}"


def test_missing_credentials_are_rejected_and_the_issuer_is_advertised(guarded: Settings) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"accept": "application/json, text/event-stream"}
    metadata = "/.well-known/oauth-protected-resource/mcp"
    with api_at(guarded) as address:
        rejected = httpx.post(f"{address}/mcp", json=call, headers=accept, timeout=10)
        invalid = httpx.post(
            f"{address}/mcp", json=call, headers=accept | {"authorization": "Bearer pm_no"}, timeout=10
        )
        assert httpx.get(f"{address}{metadata}", timeout=10).status_code == 404
    assert (rejected.status_code, rejected.headers["www-authenticate"]) == (401, "Bearer")
    assert (invalid.status_code, invalid.headers["content-type"]) == (401, "application/problem+json")

    oidc = {"oidc_issuer": "https://login.example.com", "oidc_audience": "mindset"}
    with api_at(guarded.model_copy(update=oidc)) as address:
        rejected = httpx.post(f"{address}/mcp", json=call, headers=accept, timeout=10)
        resource = httpx.get(f"{address}{metadata}", timeout=10).json()
        assert rejected.headers["www-authenticate"] == f'Bearer resource_metadata="{address}{metadata}"'
        assert resource["resource"] == f"{address}/mcp"
    assert resource["authorization_servers"] == ["https://login.example.com"]
    assert set(resource["scopes_supported"]) == {"ask", "search", "read", "release", "operate"}


def test_calls_are_rate_limited_per_key(guarded: Settings, installation: Installation) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {
        "accept": "application/json, text/event-stream",
        "authorization": f"Bearer {key_of(installation, Scope.ASK)}",
    }
    with api_at(guarded.model_copy(update={"rate_limit": "3/minute"})) as address:
        responses = [httpx.post(f"{address}/mcp", json=call, headers=headers, timeout=10) for _ in range(4)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429]
    assert int(responses[-1].headers["retry-after"]) >= 1


def test_only_post_is_allowed(address: str) -> None:
    for method in ("GET", "DELETE"):
        response = httpx.request(method, f"{address}/mcp", headers={"accept": "text/event-stream"}, timeout=5)
        assert response.status_code == 405


def test_client_example_in_the_reference_works(address: str, released: Corpus) -> None:
    page = "docs/reference/mcp.md"
    code = snippet(page, "python", "from mcp import Client", address=address, kb=released.name, question=QUESTION)
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "bakery 3" in completed.stdout


@pytest.mark.parametrize("page", ["README.md", "docs/reference/mcp.md"])
async def test_client_configuration_in_the_docs_connects(page: str, address: str) -> None:
    configuration = json.loads(snippet(page, "json", "mcpServers", address=address))["mcpServers"]["product-mindset"]
    async with (
        httpx2.AsyncClient(headers=configuration["headers"]) as http,
        Client(streamable_http_client(configuration["url"], http_client=http)) as client,
    ):
        assert (await client.list_tools()).tools
