"""Chroma's own client, made without a request, and with an end to each of its waits."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
from chromadb.api.client import Client
from chromadb.auth import UserIdentity
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings

# Time enough for a batch of vectors to be written: 5,000 of them take a few seconds.
_TIMEOUT = httpx.Timeout(60.0, connect=2.0)


def open_client(url: str) -> Client:
    """A client of the server at a URL; the server is not asked anything yet."""
    parts = urlsplit(url)
    return _Client(
        settings=Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=parts.hostname or "localhost",
            chroma_server_http_port=parts.port or (443 if parts.scheme == "https" else 8000),
            chroma_server_ssl_enabled=parts.scheme == "https",
            anonymized_telemetry=False,
        )
    )


class _Client(Client):
    """Its maker waits forever for every answer (`timeout=None`), and offers no setting for that."""

    def get_user_identity(self) -> UserIdentity:
        """Called before anything is asked: the place to bound what follows. Without accounts there is nobody to look up."""
        session: httpx.Client = self._server._session  # type: ignore[attr-defined]  # noqa: SLF001
        session.timeout = _TIMEOUT
        session.event_hooks = {"response": [_plainly_refused]}
        return UserIdentity(user_id="", tenant=DEFAULT_TENANT, databases=[DEFAULT_DATABASE])

    def _validate_tenant_database(self, tenant: str, database: str) -> None:
        """By two requests, on a client of its own that is not bounded; the defaults are always there."""


def _plainly_refused(response: httpx.Response) -> None:
    """Raise what does not come from Chroma, such as a proxy's page, with its status: the client raises a bare Exception."""
    if response.is_success:
        return
    response.read()
    if response.status_code in (429, 502, 503, 504) or "json" not in response.headers.get("content-type", ""):
        response.raise_for_status()
