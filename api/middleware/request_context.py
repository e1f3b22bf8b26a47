"""What every request passes through: its id, the limit of its size, one log line, its metrics."""

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
"""Bytes; the longest question has 4,000 characters."""


_TOO_LARGE = f"The body has more than {MAX_BODY_BYTES:,} bytes. Shorten the question: 4,000 characters is the most."


class RequestContext:
    """Plain ASGI, since Starlette's middleware class would copy every streamed answer through a queue."""

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
                left = scope["state"].get("rate_limit")
                own = [(b"x-request-id", request_id.encode()), *(left.headers if left else ())]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        try:
            if _content_length(scope) > MAX_BODY_BYTES:
                await _refuse(respond, scope, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BodyTooLarge", _TOO_LARGE)
            else:
                await self._app(scope, _bounded(receive), respond)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.request(scope["method"], route, status, seconds)
            if route not in ("/livez", "/readyz", "/metrics"):
                _log.info(
                    "request", method=scope["method"], route=route, status=status,
                    milliseconds=round(seconds * 1000, 1), **_known(scope),
                )  # fmt: skip


class AllowedHosts:
    """Lets requests in that are sent to a name of this server, and by no page of another one.

    For open access: whoever reaches the address may do everything then, also a page in the browser of somebody on this
    machine, under a name that leads here (DNS rebinding), or by a request of its own."""

    def __init__(self, app: ASGIApp, names: frozenset[str], elsewhere: frozenset[str]) -> None:
        """`elsewhere` are paths that look at names by themselves, and refuse as their protocol does."""
        self._app, self._names, self._elsewhere = app, names, elsewhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and scope["path"] not in self._elsewhere
        if ours and (foreign := self._foreign(scope)):
            detail = (
                f"Access is open here, so requests are taken under this machine's own names alone, not {foreign[:80]!r}. "
                "Name it in MINDSET_API_URL or MINDSET_MCP_HOSTS, or set MINDSET_API_ACCESS=required."
            )
            await _refuse(send, scope, HTTPStatus.FORBIDDEN, NotAllowed.__name__, detail)
            return
        await self._app(scope, receive, send)

    def _foreign(self, scope: Scope) -> str | None:
        given = {name: value.decode("latin-1") for name, value in scope["headers"] if name in (b"host", b"origin")}
        host, origin = given.get(b"host", ""), given.get(b"origin")
        if _host_name(f"//{host}") not in self._names:
            return host or "no host"
        return origin if origin is not None and _host_name(origin) not in self._names else None


def allowed_hosts(settings: Settings) -> frozenset[str] | None:
    """By which names this server may be called; None: by any."""
    if settings.api_access != "open" or settings.mcp_hosts == "*":
        return None
    named = [f"//{each.strip()}" for each in (settings.mcp_hosts or "").split(",")]
    return frozenset(
        {
            "127.0.0.1",
            "localhost",
            "::1",
            settings.api_host,
            *filter(None, map(_host_name, [settings.api_url or "", *named])),
        }
    )


def _host_name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _known(scope: Scope) -> dict[str, Any]:
    """What the request turned out to be about; the threads that found it out have contexts of their own."""
    state = scope["state"]
    known: dict[str, Any] = {"caller": state["caller"].name} if "caller" in state else {}
    if kb := scope.get("path_params", {}).get("kb"):
        known["knowledge_base"] = str(kb)[:80]
    known.update(state.get("noted", {}))
    return known


def _bounded(receive: Receive) -> Receive:
    """For bodies that do not say their length."""
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
    found = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(found) if found.isdigit() else 0


def _request_id(scope: Scope) -> str:
    """The caller's, if it looks like one; it goes into logs and headers."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    return given if re.fullmatch(r"[A-Za-z0-9._-]{8,64}", given) else uuid.uuid4().hex


async def _refuse(send: Send, scope: Scope, status: HTTPStatus, kind: str, detail: str) -> None:
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
