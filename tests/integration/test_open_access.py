"""An API with open access serves only this machine, and no web page of another site in its browser."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from mindset.config.settings import Settings
from tests.served import api_at


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with api_at(settings) as opened:
        yield opened


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example.com"},
        {"host": "evil.example.com:8080"},
        {"host": "127.0.0.1.evil.example.com"},
        {"host": "[::1"},
        {"origin": "https://evil.example.com"},
        {"origin": "null"},
    ],
)
def test_request_with_a_foreign_host_or_origin_is_rejected(url: str, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/v1/knowledge-bases"), ("POST", "/v1/knowledge-bases/docs/nights")):
        response = httpx.request(method, f"{url}{path}", headers=headers)
        assert (response.status_code, response.json()["type"]) == (403, "urn:mindset:NotAllowed")
        assert "MINDSET_API_ACCESS=required" in response.json()["detail"]
        assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    "headers", [{}, {"host": "localhost:1"}, {"host": "[::1]:8080"}, {"origin": "http://localhost:5173"}]
)
def test_request_with_a_local_host_or_origin_is_accepted(url: str, headers: dict[str, str]) -> None:
    assert httpx.get(f"{url}/v1/knowledge-bases", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "configured",
    [{"mcp_hosts": "kb.example.com:*, 10.0.0.7"}, {"mcp_hosts": "*"}, {"api_url": "https://kb.example.com/"}],
)
def test_configured_host_is_accepted(settings: Settings, configured: dict[str, str]) -> None:
    with api_at(settings.model_copy(update=configured)) as url:
        assert httpx.get(f"{url}/v1/knowledge-bases", headers={"host": "kb.example.com"}).status_code == 200


def test_host_is_not_checked_if_access_is_required(settings: Settings) -> None:
    guarded = settings.model_copy(
        update={"api_access": "required", "oidc_issuer": "http://127.0.0.1:9", "oidc_audience": "x"}
    )
    with api_at(guarded) as url:
        assert httpx.get(f"{url}/v1/knowledge-bases", headers={"host": "evil.example.com"}).status_code == 401
