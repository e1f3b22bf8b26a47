"""Requests that must not reach the servers of a local stack: of other web sites, by DNS rebinding, without the password."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psycopg
import pytest
import redis
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as open_websocket

from local_stack import credentials
from local_stack.addresses import Addresses, without_password
from local_stack.credentials import page_key, page_link
from local_stack.state import running
from local_stack.supervision import local_stack
from mindset.vector_index.client import open_client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:1"},
    {"origin": "http://localhost"},
    {"host": "evil.example"},
    {"host": "127.0.0.1.evil.example:4200"},
    {"host": "evil.example", "origin": "http://evil.example"},
    {"host": ""},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
]
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def guarded(directory: Path) -> Iterator[Addresses]:
    with local_stack(directory, services=("postgres", "valkey", "chroma", "prefect", "worker-cpu")) as addresses:
        yield addresses


def urls(addresses: Addresses, server: str) -> tuple[str, dict[str, str]]:
    """Return the URL of a harmless request that lists something, and the headers that authenticate it."""
    url = (addresses.prefect_api_url if server == "prefect" else addresses.chroma_url) or ""
    path = "/flow_runs/filter" if server == "prefect" else "/api/v2/tenants/default_tenant/databases"
    client = httpx.Client()
    request = client.build_request("GET", url)
    authorization = next(client._build_request_auth(request).auth_flow(request)).headers["authorization"]
    return without_password(url)[0] + path, {"authorization": authorization}


def body(server: str) -> dict[str, Any]:
    return {"limit": 1} if server == "prefect" else {"name": "evil"}


def csrf(url: str, headers: dict[str, str]) -> dict[str, str]:
    response = httpx.get(f"{url.partition('/api')[0]}/api/csrf-token", params={"client": "test"}, headers=headers)
    token = response.json()["token"] if response.status_code == 200 else ""
    return {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "test"} if token else {}


@pytest.mark.parametrize("server", ["prefect", "chroma"])
def test_request_with_the_password_is_accepted(guarded: Addresses, server: str) -> None:
    url, password = urls(guarded, server)
    sent = {**password, **csrf(url, password)}
    name = {"name": f"own-{os.urandom(4).hex()}"} if server == "chroma" else {"limit": 1}
    assert httpx.post(url, json=name, headers=sent).status_code == 200
    port = urlsplit(url).port
    assert httpx.post(url, json=name, headers={**sent, "host": f"localhost:{port}"}).status_code in (200, 409)


@pytest.mark.parametrize("server", ["prefect", "chroma"])
@pytest.mark.parametrize("authenticated", [False, True])
@pytest.mark.parametrize("headers", FOREIGN)
def test_request_of_another_site_is_rejected(
    guarded: Addresses, server: str, headers: dict[str, str], authenticated: bool
) -> None:
    url, password = urls(guarded, server)
    sent = {**(password if authenticated else {}), **(csrf(url, password) if authenticated else {}), **headers}
    simple = {"content-type": "text/plain"}  # browsers send this one without a preflight
    responses = [
        httpx.options(url, headers={**sent, **PREFLIGHT}),
        httpx.post(url, content=json.dumps(body(server)), headers={**sent, **simple}),
        httpx.post(url, json=body(server), headers=sent),
        httpx.post(url, content=json.dumps(body(server)), headers=sent),
        httpx.get(url.replace("/flow_runs/filter", "/work_pools/cpu"), headers=sent),
        httpx.delete(url, headers=sent),
    ]
    assert {response.status_code for response in responses} == {403}
    assert not any("access-control-allow-origin" in response.headers for response in responses)


@pytest.mark.parametrize("server", ["prefect", "chroma"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic bWluZHNldDp3cm9uZw=="},
        {"authorization": "Basic !"},
        {"authorization": "Bearer x"},
        {"x-chroma-token": "wrong"},
        {"cookie": "mindset_stack=wrong"},
    ],
)
def test_request_without_the_password_is_rejected(guarded: Addresses, server: str, headers: dict[str, str]) -> None:
    url, password = urls(guarded, server)
    for sent in (headers, {**headers, **csrf(url, password)}):
        assert httpx.get(url.replace("/flow_runs/filter", "/work_pools/cpu"), headers=sent).status_code == 401
        assert httpx.post(url, json=body(server), headers=sent).status_code in (401, 403)
        assert httpx.post(url, content="{}", headers={**sent, "content-type": "text/plain"}).status_code in (401, 403)


def test_every_request_of_a_chroma_connection_is_checked(guarded: Addresses) -> None:
    url, password = urls(guarded, "chroma")
    with httpx.Client() as client:
        assert client.get(url, headers=password).status_code == 200
        assert client.get(url, headers={**password, "host": "evil.example"}).status_code == 403
        assert client.get(url).status_code == 401
        assert client.get(url, headers=password).status_code == 200
        chunked = client.post(url, content=iter([b"{}"]), headers=password)
        assert chunked.status_code == 501


def test_chroma_client_writes_and_reads_through_the_gate(guarded: Addresses) -> None:
    collection = open_client(guarded.chroma_url or "").create_collection("through-the-gate")
    count = 5_000
    vectors = np.array([[number, 1.0] for number in range(count)], dtype=np.float32)
    collection.add(ids=[str(number) for number in range(count)], embeddings=vectors)
    assert collection.count() == count
    assert collection.query(query_embeddings=vectors[3:4], n_results=1)["ids"] == [["3"]]


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Origin": "http://127.0.0.1:1"}]
)
def test_web_socket_of_another_site_is_rejected(guarded: Addresses, headers: dict[str, str]) -> None:
    address = without_password(guarded.prefect_api_url or "")[0].replace("http://", "ws://") + "/events/out"
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(address, additional_headers=headers, subprotocols=["prefect"])  # type: ignore[list-item]
    assert refused.value.response.status_code in (400, 403)


def test_csrf_token_is_required(guarded: Addresses) -> None:
    url, password = urls(guarded, "prefect")
    assert httpx.post(url, json={}, headers=password).status_code == 403


def test_page_opens_by_its_link_and_needs_no_password(guarded: Addresses, directory: Path) -> None:
    root = without_password(guarded.prefect_api_url or "")[0].removesuffix("/api")
    key = page_key(credentials.load_or_create(directory).prefect)
    assert page_link(guarded.prefect_api_url or "") == f"{root}/?key={key}"
    document = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "accept": "text/html"}
    with httpx.Client(base_url=root, follow_redirects=True) as browser:
        refused = browser.get("/", headers=document)
        assert (refused.status_code, "mindset status" in refused.text) == (401, True)
        assert browser.get("/?key=wrong", headers=document).status_code == 401
        page = browser.get(f"/?key={key}", headers=document)
        assert page.status_code == 200
        assert "<html" in page.text.lower()
        assert "key" not in str(page.url)
        script = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "origin": root}
        assert browser.get("/ui-settings", headers=script).json()["auth"] is None
        csrf_token = browser.get("/api/csrf-token", params={"client": "page"}, headers=script).json()["token"]
        tokens = {"Prefect-Csrf-Token": csrf_token, "Prefect-Csrf-Client": "page"}
        assert browser.post("/api/flow_runs/filter", json={}, headers={**script, **tokens}).status_code == 200
        assert browser.post("/api/flow_runs/filter", json={}, headers={**tokens, "origin": "null"}).status_code == 403
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    address = f"{root.replace('http://', 'ws://')}/api/events/out"
    with open_websocket(
        address, additional_headers={"Cookie": cookie, "Origin": root}, subprotocols=["prefect"]  # type: ignore[list-item]
    ) as socket:  # fmt: skip
        socket.send(json.dumps({"type": "auth", "token": ""}))
        assert json.loads(socket.recv(timeout=30))["type"] == "auth_success"


def test_work_pool_runs_no_other_command(guarded: Addresses) -> None:
    url, password = urls(guarded, "prefect")
    template = httpx.get(url.replace("/flow_runs/filter", "/work_pools/cpu"), headers=password).json()[
        "base_job_template"
    ]
    assert set(template["variables"]["properties"]) == {"name", "labels", "stream_output"}
    assert "{{" not in template["job_configuration"]["command"]
    assert "{{" not in template["job_configuration"]["working_dir"]
    assert "env" not in template["job_configuration"]


def test_valkey_requires_its_password(guarded: Addresses) -> None:
    parts = urlsplit(guarded.redis_url or "")
    with redis.Redis(port=parts.port or 0) as client, pytest.raises(redis.AuthenticationError):
        client.set("a", "b")
    with redis.Redis(port=parts.port or 0, password="wrong") as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    # A page can send lines to it, as the body of a form.
    with suppress(httpx.HTTPError):
        httpx.post(f"http://127.0.0.1:{parts.port}", content="\r\nSET page yes\r\n")
    with redis.Redis.from_url(guarded.redis_url or "") as client:
        assert client.get("page") is None
        assert client.ping()


def test_postgres_requires_its_password(guarded: Addresses) -> None:
    address = urlsplit(guarded.postgres_url or "")
    for user in ("postgres", "postgres:wrong"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://{user}@127.0.0.1:{address.port}/postgres")


def test_passwords_are_readable_by_the_user_only(guarded: Addresses, directory: Path) -> None:
    for name in ("credentials.json", "stack.json", "valkey/valkey.conf"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600
    state = running(directory)
    assert state is not None
    passwords = json.loads((directory / "credentials.json").read_text()).values()
    for server in state.servers.values():
        command = Path(f"/proc/{server.pid}/cmdline")
        if command.exists():
            assert not any(password in command.read_text() for password in passwords)


def test_lost_passwords_are_replaced_at_the_next_start(tmp_path: Path) -> None:
    stores = ("postgres", "valkey", "chroma")
    with local_stack(tmp_path, services=stores) as addresses, psycopg.connect(addresses.postgres_url or "") as db:
        db.execute("CREATE TABLE kept (a int)")
    (tmp_path / "credentials.json").unlink()
    with local_stack(tmp_path, services=stores) as changed, psycopg.connect(changed.postgres_url or "") as db:
        assert changed.postgres_url != addresses.postgres_url
        assert db.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_cluster_without_a_password_gets_one_at_the_next_start(tmp_path: Path) -> None:
    with local_stack(tmp_path, services=["postgres"]) as addresses, psycopg.connect(addresses.postgres_url or "") as db:
        db.execute("ALTER ROLE postgres PASSWORD NULL")
    access = tmp_path / "postgres" / "pg_hba.conf"
    access.write_text("host all all 127.0.0.1/32 trust\n")
    (access.parent / "password.sha256").unlink()
    with local_stack(tmp_path, services=["postgres"]) as addresses:
        with psycopg.connect(addresses.postgres_url or "") as db:
            assert db.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{urlsplit(addresses.postgres_url or '').port}/postgres")
