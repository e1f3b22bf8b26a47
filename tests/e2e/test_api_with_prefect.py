"""Nightly runs started by applications and agents, through the API and a real Prefect server."""

from __future__ import annotations

import uuid

import httpx
import pytest

from local_stack.addresses import Addresses
from tests.corpus import Corpus
from tests.integration.test_mcp import client_at, text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.xdist_group("prefect")]


def test_night_is_started_once_and_can_be_watched(house: Addresses, corpus: Corpus) -> None:
    at, key = f"/v1/knowledge-bases/{corpus.name}/nights", {"idempotency-key": "tonight"}
    with httpx.Client(base_url=house.api_url or "", timeout=30) as client:
        started = client.post(at, headers=key)
        again = client.post(at, headers=key)
        other = client.post(at, headers=key, json={"allow_deletions": True})
        night = client.get(started.headers["location"])
        listed = client.get(at)
    assert (started.status_code, started.headers.get("idempotent-replay")) == (202, None)
    assert (again.json()["id"], again.headers["idempotent-replay"]) == (started.json()["id"], "true")
    assert other.status_code == 422
    assert night.json()["knowledge_base"] == corpus.name
    assert [run["id"] for run in listed.json()] == [started.json()["id"]]


@pytest.mark.anyio
async def test_night_confirmed_by_an_agent_is_started_and_can_be_watched(house: Addresses, corpus: Corpus) -> None:
    async with client_at(house.api_url or "") as client:
        preview = await client.call_tool("start_night", {"knowledge_base": corpus.name})
        confirmed = {"knowledge_base": corpus.name, "confirmation": preview.structured_content["confirmation"]}
        started = await client.call_tool("start_night", confirmed)
        night = started.structured_content["night"]
        watched = await client.call_tool("get_night", {"id": night})
        unknown = await client.call_tool("get_night", {"id": str(uuid.uuid4())})
    assert started.structured_content["done"]
    assert watched.structured_content["id"] == night
    assert text(unknown).startswith("UnknownRun: ")
