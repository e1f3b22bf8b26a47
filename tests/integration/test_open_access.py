"""An API that lets everybody do everything does so for this machine alone, and for no page in its browser."""

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
def test_a_page_of_somebody_elses_reads_and_starts_nothing(url: str, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/v1/knowledge-bases"), ("POST", "/v1/knowledge-bases/docs/nights")):
        refused = httpx.request(method, f"{url}{path}", headers=headers)
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:mindset:NotAllowed")
        assert "MINDSET_API_ACCESS=required" in refused.json()["detail"]
        assert refused.json()["request_id"] == refused.headers["x-request-id"]


@pytest.mark.parametrize(
    "headers", [{}, {"host": "localhost:1"}, {"host": "[::1]:8080"}, {"origin": "http://localhost:5173"}]
)
def test_this_machine_is_let_in_by_all_its_names(url: str, headers: dict[str, str]) -> None:
    assert httpx.get(f"{url}/v1/knowledge-bases", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "named", [{"mcp_hosts": "kb.example.com:*, 10.0.0.7"}, {"mcp_hosts": "*"}, {"api_url": "https://kb.example.com/"}]
)
def test_a_name_in_the_settings_is_let_in(settings: Settings, named: dict[str, str]) -> None:
    with api_at(settings.model_copy(update=named)) as url:
        assert httpx.get(f"{url}/v1/knowledge-bases", headers={"host": "kb.example.com"}).status_code == 200


def test_where_access_is_required_a_credential_counts_whatever_the_name(settings: Settings) -> None:
    guarded = settings.model_copy(
        update={"api_access": "required", "oidc_issuer": "http://127.0.0.1:9", "oidc_audience": "x"}
    )
    with api_at(guarded) as url:
        assert httpx.get(f"{url}/v1/knowledge-bases", headers={"host": "evil.example.com"}).status_code == 401
