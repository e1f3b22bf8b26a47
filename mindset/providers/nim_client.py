"""The HTTP client of NVIDIA NIMs and the translation of its errors."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import quote

import httpcore
import httpx
from pydantic import SecretStr

from mindset.config.secrets import Secret
from mindset.errors import (
    ConfigurationError,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
    ServiceUnavailable,
)
from mindset.providers.deadline import Deadline, retry_after_s

# 4xx statuses that are worth a retry; all others would fail again.
_RETRYABLE_STATUSES = frozenset({408, 425, 429})
# Statuses that may be the fault of the content: too long, or refused by a filter.
_INPUT_STATUSES = frozenset({400, 413, 422})
_MAX_ERROR_BODY = 64 * 1024

_REMEDIES = {
    401: "Set MINDSET_NIM_API_KEY to a valid key.",
    402: "The account of MINDSET_NIM_API_KEY has no credits left.",
    403: "Set MINDSET_NIM_API_KEY to a key that may use this model.",
    404: "Check the model's name in the knowledge base, and MINDSET_NIM_URL, which ends in /v1.",
    410: "The model is retired. Configure another one in the knowledge base.",
    400: "If a text is too long for the model, make the knowledge base's chunks smaller or give it fewer passages.",
    413: "Make the knowledge base's chunks smaller or give it fewer passages.",
    422: "If a text is too long for the model, make the knowledge base's chunks smaller or give it fewer passages.",
}


def open_client(url: str, api_key: SecretStr | None, connections: int) -> httpx.Client:
    """Return a client of the NIM at `url`, which ends in /v1. The caller closes it. Raises ConfigurationError."""
    auth = _ApiKeyAuth(api_key) if api_key else None
    try:
        base = httpx.URL(url.rstrip("/") + "/")
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"MINDSET_NIM_URL is not a valid URL: {error}.") from None
    if base.scheme not in {"http", "https"} or not base.host:
        raise ConfigurationError(f"MINDSET_NIM_URL must begin with http:// or https:// and name a host, not {url!r}.")
    return httpx.Client(
        base_url=base,
        auth=auth,
        transport=_Transport(connections),
    )


class _ApiKeyAuth(httpx.Auth):
    """Sends the API key. It is resolved for each request, because a key configured by reference may be rotated."""

    def __init__(self, api_key: SecretStr) -> None:
        self._secret = Secret("MINDSET_NIM_API_KEY", api_key)
        if not self._secret.is_reference:
            self._valid_key()  # a reference is resolved with the first request: the secret store may be slow

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        try:
            key = self._valid_key()
        except ConfigurationError as error:
            raise ProviderRejected(str(error)) from error
        except ServiceUnavailable as error:
            raise ProviderUnavailable(str(error)) from error
        if key:
            request.headers["Authorization"] = f"Bearer {key}"
        yield request

    def _valid_key(self) -> str:
        key = self._secret.value().strip()
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ConfigurationError(
                "MINDSET_NIM_API_KEY contains characters that no API key contains. Copy the key again."
            )
        return key


_CONNECT_S = 3.0

_current = threading.local()


class _Transport(httpx.HTTPTransport):
    """A transport whose reads end at the current deadline, or as soon as it is cancelled.

    httpx applies one read timeout per response, and cannot close a connection from another thread."""

    def __init__(self, connections: int) -> None:
        super().__init__()
        self._pool.close()
        # httpx offers no public way to pass a network backend to its transport.
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=30.0,
            network_backend=_Backend(),
        )


class _Backend(httpcore.SyncBackend):
    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(*args, **kwargs))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        deadline: Deadline | None = getattr(_current, "deadline", None)
        if deadline is None:
            return self._stream.read(max_bytes, timeout)
        with deadline.on_cancel(self._shut_down):
            return self._stream.read(max_bytes, deadline.seconds_left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(*args, **kwargs))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _shut_down(self) -> None:
        with suppress(OSError):  # `close` would not wake the reader
            self._stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


@contextmanager
def _reads_until(deadline: Deadline) -> Iterator[None]:
    """Apply the deadline to this thread's reads inside the block."""
    previous = getattr(_current, "deadline", None)
    _current.deadline = deadline
    try:
        yield
    finally:
        _current.deadline = previous


def list_models(url: str, api_key: SecretStr | None, deadline_s: float = 15.0) -> list[str]:
    """Return the names of the models of a NIM. Raises ProviderRejected, ProviderUnavailable, ConfigurationError."""
    with open_client(url, api_key, 1) as client, translate_errors("list"):
        response = client.get("models", timeout=deadline_s).raise_for_status()
        try:
            return sorted(model["id"] for model in response.json()["data"])
        except (LookupError, TypeError, ValueError) as error:
            raise ProviderUnavailable(
                "The server at MINDSET_NIM_URL returned no list of models. Check that it is the address of a NIM."
            ) from error


@contextmanager
def stream_response(
    client: httpx.Client, model: str, path: str, body: Mapping[str, object], deadline: Deadline
) -> Iterator[httpx.Response]:
    """Post a request and return its successful response, whose body is not read yet. Leaving the block closes it.

    All errors, also while the body is read in the block, are raised as ProviderRejected or ProviderUnavailable."""
    with translate_errors(model):
        with _reads_until(deadline):
            response = client.send(_request(client, "POST", path, deadline, json=body), stream=True)
        while response.status_code == httpx.codes.ACCEPTED:
            # The hosted NIM returns 202 for a queued request. The response is then polled by the request's id.
            response.close()
            request_id = response.headers.get("NVCF-REQID")
            if not request_id:
                raise ProviderUnavailable(f"NIM model {model} queued the request without returning its id. Try again.")
            deadline.sleep(min(0.5, deadline.seconds / 20))
            deadline.check(f"NIM model {model}")
            poll = _request(client, "GET", f"status/{quote(request_id, safe='')}", deadline)
            with _reads_until(deadline):
                response = client.send(poll, stream=True)
        with closing(response):
            if not response.is_success:
                error_body = _read_error_body(response, deadline)
                raise response_error(model, response.status_code, response.headers, error_body)
            yield response


def read_chunks(response: httpx.Response, model: str, deadline: Deadline) -> Iterator[bytes]:
    """Yield the body as it arrives. Raises ProviderUnavailable at the deadline, even if the server keeps sending."""
    chunks = response.iter_bytes()
    while True:
        with _reads_until(deadline):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk
        deadline.check(f"NIM model {model}")


@contextmanager
def translate_errors(model: str) -> Iterator[None]:
    """Raise httpx's errors as ProviderRejected or ProviderUnavailable."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        response = error.response
        raise response_error(model, response.status_code, response.headers, response.content) from error
    except httpx.LocalProtocolError:
        # The error's text may quote a header, and so the API key.
        raise ProviderRejected(
            f"NIM model {model}: the request is not valid HTTP. Check MINDSET_NIM_API_KEY."
        ) from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise ProviderRejected(f"NIM model {model}: {error}. Check MINDSET_NIM_URL.") from error
    except httpx.TimeoutException as error:
        raise ProviderUnavailable(f"NIM model {model} did not respond in time ({type(error).__name__}).") from error
    except httpx.HTTPError as error:
        raise ProviderUnavailable(
            f"NIM model {model} cannot be reached: {str(error) or type(error).__name__}. "
            "If this persists, check MINDSET_NIM_URL and that the NIM is running."
        ) from error


def response_error(model: str, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Return the error for a response that is not successful."""
    summary = f"NIM model {model} returned HTTP {status}: {_body_message(body)}"
    if status in _RETRYABLE_STATUSES or status >= 500:
        return ProviderUnavailable(f"{summary}. Try again later.", retry_after_s(headers.get("Retry-After")))
    if 300 <= status < 400:
        return ProviderRejected(f"{summary}. Set MINDSET_NIM_URL to the redirect's target: {headers.get('Location')}.")
    remedy = _REMEDIES.get(status, "Check the request against the NIM documentation.")
    return ProviderRejected(f"{summary}. {remedy}", for_input=status in _INPUT_STATUSES)


def error_message(error: object) -> str:
    """Return the message in an `error` member. Hosted and self-hosted NIMs nest it differently."""
    if isinstance(error, dict):
        inner = next((error[key] for key in ("error", "message", "detail", "title") if error.get(key)), error)
        return str(inner) if inner is error else error_message(inner)
    return str(error)


def _body_message(body: bytes) -> str:
    try:
        text = error_message(json.loads(body))
    except ValueError:
        text = body.decode("utf-8", errors="replace")
    return " ".join(text.split())[:300].rstrip(".") or "no message"


def _request(client: httpx.Client, method: str, path: str, deadline: Deadline, json: object = None) -> httpx.Request:
    seconds_left = deadline.seconds_left()
    timeout = httpx.Timeout(seconds_left, connect=min(seconds_left, _CONNECT_S))
    return client.build_request(method, path, json=json, timeout=timeout)


def _read_error_body(response: httpx.Response, deadline: Deadline) -> bytes:
    body = b""
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _MAX_ERROR_BODY or deadline.seconds_left() < 0.01:
            break
    return body
