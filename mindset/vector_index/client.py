"""Chroma's own client, created without a request and with timeouts."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
from chromadb.api.client import Client
from chromadb.auth import UserIdentity
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings

from mindset.vector_index.http_client import basic_authentication

# Writing a batch of 5,000 vectors takes a few seconds.
_TIMEOUT = httpx.Timeout(60.0, connect=2.0)


def open_client(url: str) -> Client:
    """Return a client of the server at a URL. Sends no request."""
    parts = urlsplit(url)
    return _Client(
        settings=Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=parts.hostname or "localhost",
            chroma_server_http_port=parts.port or (443 if parts.scheme == "https" else 8000),
            chroma_server_ssl_enabled=parts.scheme == "https",
            chroma_server_headers=dict(basic_authentication(url)),
            anonymized_telemetry=False,
        )
    )


class _Client(Client):
    """Adds timeouts: the base class sets `timeout=None` and offers no setting for it."""

    def get_user_identity(self) -> UserIdentity:
        """Set timeouts, since this is called before the first request. There are no accounts, so nothing is looked up."""
        session: httpx.Client = self._server._session  # type: ignore[attr-defined]  # noqa: SLF001
        session.timeout = _TIMEOUT
        session.event_hooks = {"response": [_raise_for_proxy_errors]}
        return UserIdentity(user_id="", tenant=DEFAULT_TENANT, databases=[DEFAULT_DATABASE])

    def _validate_tenant_database(self, tenant: str, database: str) -> None:
        """Skip two requests that a client without timeouts would send; the default tenant and database always exist."""


def _raise_for_proxy_errors(response: httpx.Response) -> None:
    """Raise HTTPStatusError for responses that do not come from Chroma, such as a proxy's error page.

    Chroma's client would raise a bare Exception for them."""
    if response.is_success:
        return
    response.read()
    if response.status_code in (429, 502, 503, 504) or "json" not in response.headers.get("content-type", ""):
        response.raise_for_status()
