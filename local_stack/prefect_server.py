"""Prefect's server behind a guard: `python -m local_stack.prefect_server PORT`.

Prefect itself checks the password of API requests (`PREFECT_SERVER_API_AUTH_STRING`), but no `Host`, and its page would ask
for the password. The guard rejects requests of other web sites. It lets a browser in that opened the page by the link
that `mindset up` prints, by a cookie, and adds the password to its requests.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from local_stack.credentials import PAGE_PARAMETER, USER, page_key
from local_stack.guard import COOKIE, foreign, has_cookie, has_password

_Scope = MutableMapping[str, Any]
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


class Guard:
    """ASGI middleware that rejects foreign and unauthenticated requests."""

    def __init__(self, app: _App, password: str) -> None:
        self._app, self._password, self._key = app, password, page_key(password)
        self._authorization = b"Basic " + base64.b64encode(f"{USER}:{password}".encode())

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Handle a connection. WebSockets are rejected before they are accepted, and get status 403."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if reason := foreign(scope.get("method", "GET"), headers):
            await _refuse(scope, send, 403, f"Refused: {reason}")
        elif scope["type"] == "http" and (location := self._login(scope)):
            cookie = f"{COOKIE}={self._key}; HttpOnly; SameSite=Strict; Path=/"
            await _respond(send, 303, b"", [(b"location", location.encode()), (b"set-cookie", cookie.encode())])
        elif has_cookie(headers, self._key):
            await self._for_page(scope, receive, send)
        elif has_password(headers, self._password) or scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)  # Prefect checks the password and leaves /api/health open
        else:
            await _refuse(scope, send, 401, "Open this page by the link that `mindset status` prints.")

    def _login(self, scope: _Scope) -> str | None:
        """Return the address without the key if the request has the right one."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["method"] != "GET" or (PAGE_PARAMETER, self._key) not in query:
            return None
        rest = urlencode([(name, value) for name, value in query if name != PAGE_PARAMETER])
        return "/" + str(scope["path"]).lstrip("/") + (f"?{rest}" if rest else "")

    async def _for_page(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Handle a request of the page: it knows no password, so that it asks for none."""
        # An uncompressed response can be changed.
        others = [pair for pair in scope["headers"] if pair[0] not in (b"authorization", b"accept-encoding")]
        scope = {**scope, "headers": [*others, (b"authorization", self._authorization)]}
        if scope["type"] == "websocket":
            await self._app(scope, self._with_password(receive), send)
        elif scope["path"].endswith("/ui-settings"):
            await self._app(scope, receive, _without_login(send))
        else:
            await self._app(scope, receive, send)

    def _with_password(self, receive: _Receive) -> _Receive:
        """Add the password to the first message, by which Prefect authenticates WebSockets."""
        first = True

        async def next_message() -> _Message:
            nonlocal first
            message = await receive()
            if first and message["type"] == "websocket.receive":
                first = False
                message = {
                    "type": "websocket.receive",
                    "text": json.dumps({"type": "auth", "token": f"{USER}:{self._password}"}),
                }
            return message

        return next_message


def _without_login(send: _Send) -> _Send:
    """Return a `send` that removes the page's own login from its settings."""
    start: _Message = {}
    body = b""

    async def forward(message: _Message) -> None:
        nonlocal start, body
        if message["type"] == "http.response.start":
            start = message
            return
        body += message.get("body", b"")
        if not message.get("more_body") and start["status"] == 200:
            settings = json.dumps(json.loads(body) | {"auth": None}).encode()
            await _respond(send, 200, settings, [(b"content-type", b"application/json")])
        elif not message.get("more_body"):
            await send(start)
            await send({"type": "http.response.body", "body": body})

    return forward


async def _refuse(scope: _Scope, send: _Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": reason[:100]})
    else:
        await _respond(send, status, reason.encode(), [(b"content-type", b"text/plain; charset=utf-8")])


async def _respond(send: _Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Run the server until a signal stops it."""
    import uvicorn
    from prefect.server.api.server import create_app

    password = os.environ["PREFECT_SERVER_API_AUTH_STRING"].partition(":")[2]
    app: Any = Guard(create_app(final=True), password)
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), timeout_keep_alive=5, log_level="warning", access_log=False
    )


if __name__ == "__main__":
    main()
