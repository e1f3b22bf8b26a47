"""HTTP requests to servers on this machine, with the standard library: it loads quickly and ignores proxy settings."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final, Literal
from urllib.parse import urlsplit

_TIMEOUT_S: Final = 2


def status(url: str | None) -> int:
    """Return the response status of a GET; 0 if the server does not answer."""
    return 0 if url is None else _request("GET", url, None)[0]


def send(method: Literal["POST", "PATCH"], url: str, body: object) -> tuple[int, Any]:
    """Send a JSON body; return status and decoded response, or 0 and None if the server does not answer in JSON."""
    code, text = _request(method, url, json.dumps(body))
    try:
        return code, json.loads(text) if text else None
    except ValueError:
        return 0, None


def _request(method: str, url: str, body: str | None) -> tuple[int, bytes]:
    parts = urlsplit(url)
    client = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = client(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
    try:
        connection.request(method, parts.path, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()
