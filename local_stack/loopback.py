"""One HTTP request with the standard library, which loads at once and ignores proxies: no loopback goes through one."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final, Literal
from urllib.parse import urlsplit

_TIMEOUT_S: Final = 2


def status(url: str | None) -> int:
    """The status that GET answers; 0 if nobody does."""
    return 0 if url is None else _request("GET", url, None)[0]


def send(method: Literal["POST", "PATCH"], url: str, body: object) -> tuple[int, Any]:
    """Status and JSON that the server answers to a JSON body; 0 and None if nobody answers, or not in JSON."""
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
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()
