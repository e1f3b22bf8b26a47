"""Middleware of every request: request id, size limit, log line, metrics, allowed hosts."""

from __future__ import annotations

import json
import re
import time
import uuid
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.schemas import openai
from api.telemetry.metrics import Metrics
from mindset.config.settings import Settings
from mindset.errors import NotAllowed

_log = structlog.get_logger()

MAX_BODY_BYTES = 256_000
"""The longest question has 4,000 characters."""

_TOO_LARGE = f"The body has more than {MAX_BODY_BYTES:,} bytes. Shorten the question: the maximum is 4,000 characters."


class RequestContext:
    """Adds the request id, limits the body, and logs and counts the request.

    Plain ASGI, because Starlette's BaseHTTPMiddleware would copy every streamed answer through a queue."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request=request_id)
        started = time.perf_counter()
        status = 500

        async def respond(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                rate_limit = scope["state"].get("rate_limit")
                added = [(b"x-request-id", request_id.encode()), *(rate_limit.headers if rate_limit else ())]
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        try:
            if _content_length(scope) > MAX_BODY_BYTES:
                await _reject(respond, scope, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BodyTooLarge", _TOO_LARGE)
            else:
                await self._app(scope, _bounded(receive), respond)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.request(scope["method"], route, status, seconds)
            if route not in ("/livez", "/readyz", "/metrics"):
                _log.info(
                    "request", method=scope["method"], route=route, status=status,
                    milliseconds=round(seconds * 1000, 1), **_log_context(scope),
                )  # fmt: skip


class AllowedHosts:
    """Rejects requests with a foreign `Host` or `Origin` header.

    With open access, every client has every scope. Without this check, so would any web page in a browser on this machine,
    by DNS rebinding or by a cross-origin request."""

    def __init__(self, app: ASGIApp, names: frozenset[str], exempt_paths: frozenset[str]) -> None:
        """`exempt_paths` check hosts themselves and reject requests as their protocol requires."""
        self._app, self._names, self._exempt_paths = app, names, exempt_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        checked = scope["type"] == "http" and scope["path"] not in self._exempt_paths
        if checked and (foreign := self._foreign_name(scope)):
            detail = (
                f"Access is open, so only requests to this machine's own names are accepted, not {foreign[:80]!r}. "
                "Add it to MINDSET_API_URL or MINDSET_MCP_HOSTS, or set MINDSET_API_ACCESS=required."
            )
            await _reject(send, scope, HTTPStatus.FORBIDDEN, NotAllowed.__name__, detail)
            return
        await self._app(scope, receive, send)

    def _foreign_name(self, scope: Scope) -> str | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in (b"host", b"origin")}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if _host_name(f"//{host}") not in self._names:
            return host or "no host"
        return origin if origin is not None and _host_name(origin) not in self._names else None


def allowed_hosts(settings: Settings) -> frozenset[str] | None:
    """Return the allowed `Host` names; None allows any."""
    if settings.api_access != "open" or settings.mcp_hosts == "*":
        return None
    mcp_hosts = [f"//{host.strip()}" for host in (settings.mcp_hosts or "").split(",")]
    return frozenset(
        {
            "127.0.0.1",
            "localhost",
            "::1",
            settings.api_host,
            *filter(None, map(_host_name, [settings.api_url or "", *mcp_hosts])),
        }
    )


def _host_name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _log_context(scope: Scope) -> dict[str, Any]:
    """Return the caller, knowledge base and answer for the request's log line.

    Worker threads store them in the request's state, because they have their own context variables."""
    state = scope["state"]
    context: dict[str, Any] = {"caller": state["caller"].name} if "caller" in state else {}
    if kb := scope.get("path_params", {}).get("kb"):
        context["knowledge_base"] = str(kb)[:80]
    context.update(state.get("log_context", {}))
    return context


def _bounded(receive: Receive) -> Receive:
    """Limit bodies that have no Content-Length."""
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
        return message

    return bounded


def _content_length(scope: Scope) -> int:
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(length) if length.isdigit() else 0


def _request_id(scope: Scope) -> str:
    """Return the client's request id if it is well-formed, since it goes into logs and headers, or else a new one."""
    value = next((header.decode("latin-1") for name, header in scope["headers"] if name == b"x-request-id"), "")
    return value if re.fullmatch(r"[A-Za-z0-9._-]{8,64}", value) else uuid.uuid4().hex


async def _reject(send: Send, scope: Scope, status: HTTPStatus, kind: str, detail: str) -> None:
    body: dict[str, Any] = {
        "type": f"urn:mindset:{kind}",
        "title": status.phrase,
        "status": status,
        "detail": detail,
        "request_id": scope["state"]["request_id"],
    }
    media_type = b"application/problem+json"
    if scope["path"].startswith(openai.PATHS):
        body, media_type = openai.error_body(status, kind, detail), b"application/json"
    headers = [(b"content-type", media_type), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
