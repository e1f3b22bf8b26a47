"""HTTP requests to servers on this machine, with the standard library: it loads quickly and ignores proxy settings.

A user and password in a URL are sent as Basic authentication."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

_TIMEOUT_S: Final = 2


def status(url: str | None) -> int:
    """Return the response status of a GET; 0 if the server does not answer."""
    return 0 if url is None else _request("GET", url, None)[0]


def send(
    method: Literal["POST", "PATCH"], url: str, body: object, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """Send a JSON body; return status and decoded response, or 0 and None if the server does not answer in JSON."""
    code, text = _request(method, url, json.dumps(body), headers)
    try:
        return code, json.loads(text) if text else None
    except ValueError:
        return 0, None


def send_to_prefect(method: Literal["POST", "PATCH"], url: str, body: object) -> tuple[int, Any]:
    """Send as `send`, with a CSRF token, which Prefect requires if its protection is enabled."""
    client = uuid.uuid4().hex
    status, text = _request("GET", f"{url.partition('/api/')[0]}/api/csrf-token?client={client}", None)
    headers = {}
    if status == HTTPStatus.OK:
        headers = {"Prefect-Csrf-Token": json.loads(text)["token"], "Prefect-Csrf-Client": client}
    return send(method, url, body, headers)


def _request(method: str, url: str, body: str | None, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    parts = urlsplit(url)
    sent = {"Content-Type": "application/json"} if body else {}
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        sent["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    client = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = client(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
    try:
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, path, body, sent | dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()
