"""Decides which HTTP requests may reach a server of the stack: Prefect and Chroma accept any `Host` and `Origin`."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

COOKIE: Final = "mindset_stack"
_NAMES: Final = frozenset({"127.0.0.1", "localhost"})


def foreign(method: str, headers: Mapping[str, str]) -> str | None:
    """Return why a request comes from another web site, or None. Header names are in lower case.

    A page whose name resolves to this machine (DNS rebinding) sends its own name as `Host`. Browsers send `Origin` with every
    request that may change something, and `Sec-Fetch-Site` with every request; other ports are other origins."""
    host = headers.get("host", "")
    if _host_name(f"//{host}") not in _NAMES:
        return f"the host {host[:80]!r} is not this server. Use 127.0.0.1 or localhost."
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return f"the origin {origin[:80]!r} is another web site."
    opened_by_link = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not opened_by_link:
        return "it was sent by a page of another web site."
    return None


def has_password(headers: Mapping[str, str], password: str) -> bool:
    """Return whether the request has the password, as Basic authentication or in Chroma's `x-chroma-token`."""
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    try:
        sent = base64.b64decode(encoded, validate=True).decode().partition(":")[2] if scheme.lower() == "basic" else ""
    except (binascii.Error, ValueError):
        sent = ""
    return _equal(sent or headers.get("x-chroma-token", ""), password)


def has_cookie(headers: Mapping[str, str], key: str) -> bool:
    """Return whether the request has the cookie of a browser that opened the page by its link."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return False
    return cookie is not None and _equal(cookie.value, key)


def _equal(sent: str, expected: str) -> bool:
    return hmac.compare_digest(sent.encode(), expected.encode())


def _host_name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
