"""Tests of the translation of httpx's errors and of HTTP statuses: each is mapped to a ProviderError."""

from __future__ import annotations

import inspect

import httpx
import pytest

from mindset.errors import ProviderError, ProviderRejected, ProviderUnavailable
from mindset.providers.nim_client import response_error, translate_errors

# Errors of this project's code, which must not be reported as the provider's.
BUGS = {
    httpx.CookieConflict,
    httpx.StreamError,
    httpx.StreamConsumed,
    httpx.StreamClosed,
    httpx.ResponseNotRead,
    httpx.RequestNotRead,
}
REJECTED = {
    httpx.HTTPStatusError,  # here with a 404
    httpx.InvalidURL,
    httpx.LocalProtocolError,
    httpx.TooManyRedirects,
    httpx.UnsupportedProtocol,
}
HTTPX_ERRORS = [
    kind
    for kind in vars(httpx).values()
    if inspect.isclass(kind) and issubclass(kind, Exception) and not issubclass(kind, Warning)
]


def _error(kind: type[Exception]) -> Exception:
    if issubclass(kind, httpx.HTTPStatusError):
        request = httpx.Request("POST", "http://nim")
        return kind("no", request=request, response=httpx.Response(404, request=request))
    return kind("no")


@pytest.mark.parametrize("kind", [kind for kind in HTTPX_ERRORS if kind not in BUGS], ids=lambda kind: kind.__name__)
def test_every_error_of_httpx_is_mapped(kind: type[Exception]) -> None:
    with pytest.raises(ProviderError, match="the-model") as caught, translate_errors("the-model"):
        raise _error(kind)
    assert caught.type is (ProviderRejected if kind in REJECTED else ProviderUnavailable)


@pytest.mark.parametrize("status", [code for code in range(300, 600) if code not in {408, 425, 429}])
def test_every_status_is_mapped(status: int) -> None:
    error = response_error("the-model", status, {}, b'{"detail": "because"}')
    assert type(error) is (ProviderUnavailable if status >= 500 else ProviderRejected)
    assert f"HTTP {status}: because." in str(error)


@pytest.mark.parametrize("status", [408, 425, 429])
def test_retryable_status_is_unavailable(status: int) -> None:
    error = response_error("the-model", status, {"Retry-After": "7"}, b"")
    assert isinstance(error, ProviderUnavailable)
    assert error.retry_after_s == 7


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "why", "type": "x", "code": 1}}',
        b'{"error": "why"}',
        b'{"detail": "why"}',
        b'{"status": 429, "title": "why"}',
        b"why",
    ],
)
def test_message_is_read_from_every_known_error_body(body: bytes) -> None:
    assert "HTTP 500: why." in str(response_error("the-model", 500, {}, body))
