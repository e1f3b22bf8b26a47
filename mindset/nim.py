"""NVIDIA NIM over HTTP: its client, and its errors as ours."""

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

from mindset.access.secrets import Secret
from mindset.deadline import Deadline, retry_after_s
from mindset.errors import (
    ConfigurationError,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
    ServiceUnavailable,
)

# 408 and 425 ask to be tried again, as 429 does; every other 4xx would be refused again.
_TRY_AGAIN = frozenset({408, 425, 429})
_LONGEST_ERROR_BODY = 64 * 1024

_REMEDY = {
    401: "Set MINDSET_NIM_API_KEY to a valid key.",
    402: "The account of MINDSET_NIM_API_KEY has no credits left.",
    403: "Set MINDSET_NIM_API_KEY to a key that may use this model.",
    404: "Check the model's name in the knowledge base, and MINDSET_NIM_URL, which ends in /v1.",
    410: "The model is retired: name another one in the knowledge base.",
    400: "If a text is too long for the model, make the knowledge base's chunks smaller or give it fewer passages.",
    413: "Make the knowledge base's chunks smaller or give it fewer passages.",
    422: "If a text is too long for the model, make the knowledge base's chunks smaller or give it fewer passages.",
}


def open_client(url: str, api_key: SecretStr | None, connections: int) -> httpx.Client:
    """A client of the NIM at `url`, up to and including /v1; the caller closes it. Raises ConfigurationError."""
    auth = _Key(api_key) if api_key else None
    try:
        base = httpx.URL(url.rstrip("/") + "/")
    except httpx.InvalidURL as wrong:
        raise ConfigurationError(f"MINDSET_NIM_URL is not an address: {wrong}.") from None
    if base.scheme not in {"http", "https"} or not base.host:
        raise ConfigurationError(f"MINDSET_NIM_URL must begin with http:// or https:// and name a host, not {url!r}.")
    return httpx.Client(
        base_url=base,
        auth=auth,
        transport=_Transport(connections),
    )


class _Key(httpx.Auth):
    """The key in each request, so that one that is given by reference may change."""

    def __init__(self, given: SecretStr) -> None:
        self._secret = Secret("MINDSET_NIM_API_KEY", given)
        if not self._secret.is_reference:
            self._checked()  # else at the first request: whoever opens a client does not wait for a store of secrets

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        try:
            key = self._checked()
        except ConfigurationError as wrong:
            raise ProviderRejected(str(wrong)) from wrong
        except ServiceUnavailable as lost:
            raise ProviderUnavailable(str(lost)) from lost
        if key:
            request.headers["Authorization"] = f"Bearer {key}"
        yield request

    def _checked(self) -> str:
        key = self._secret.value().strip()
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ConfigurationError("MINDSET_NIM_API_KEY holds characters that no key has. Copy the key again.")
        return key


CONNECT_S = 3.0
"""Longest wait for a connection."""

_waiting = threading.local()


class _Transport(httpx.HTTPTransport):
    """One whose reads end when the request's deadline is cancelled, or sooner than httpx's time-out where that expects it.

    httpx reads its time-outs once a response, and closes no connection from another thread."""

    def __init__(self, connections: int) -> None:
        super().__init__()
        self._pool.close()
        # httpx gives no other way to hand a network backend to its transport.
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=30.0,
            network_backend=_Backend(),
        )


class _Backend(httpcore.SyncBackend):
    def connect_tcp(self, *given: Any, **more: Any) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(*given, **more))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        deadline: Deadline | None = getattr(_waiting, "deadline", None)
        if deadline is None:
            return self._stream.read(max_bytes, timeout)
        with deadline.interrupted_by(self._interrupt):
            return self._stream.read(max_bytes, deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *given: Any, **more: Any) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(*given, **more))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _interrupt(self) -> None:
        with suppress(OSError):  # closing it would leave the reader waiting
            self._stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


@contextmanager
def _obeying(deadline: Deadline) -> Iterator[None]:
    """Reads of this thread inside the block wait for this deadline."""
    before = getattr(_waiting, "deadline", None)
    _waiting.deadline = deadline
    try:
        yield
    finally:
        _waiting.deadline = before


def list_models(url: str, api_key: SecretStr | None, deadline_s: float = 15.0) -> list[str]:
    """Names of the models that a NIM serves. Raises ProviderRejected, ProviderUnavailable, ConfigurationError."""
    with open_client(url, api_key, 1) as client, errors("list"):
        response = client.get("models", timeout=deadline_s).raise_for_status()
        try:
            return sorted(each["id"] for each in response.json()["data"])
        except (LookupError, TypeError, ValueError) as wrong:
            raise ProviderUnavailable(
                "What is at MINDSET_NIM_URL sends no list of models. Check that it is the address of a NIM."
            ) from wrong


@contextmanager
def answer(
    client: httpx.Client, model: str, path: str, body: Mapping[str, object], deadline: Deadline
) -> Iterator[httpx.Response]:
    """The good response to a POST, its body not yet read; leaving the block closes it.

    Whatever goes wrong, also while the body is read inside the block, is raised as ProviderRejected or
    ProviderUnavailable."""
    with errors(model):
        with _obeying(deadline):
            response = client.send(_request(client, "POST", path, deadline, json=body), stream=True)
        while response.status_code == httpx.codes.ACCEPTED:
            # The hosted NIM answers 202 where it queues: the answer is to be fetched under this id.
            response.close()
            request_id = response.headers.get("NVCF-REQID")
            if not request_id:
                raise ProviderUnavailable(
                    f"NIM model {model} queued the request without saying under which id. Try again."
                )
            deadline.pause(min(0.5, deadline.seconds / 20))
            deadline.check(f"NIM model {model}")
            poll = _request(client, "GET", f"status/{quote(request_id, safe='')}", deadline)
            with _obeying(deadline):
                response = client.send(poll, stream=True)
        with closing(response):
            if not response.is_success:
                raise refusal(model, response.status_code, response.headers, _beginning(response, deadline))
            yield response


def chunks(response: httpx.Response, model: str, deadline: Deadline) -> Iterator[bytes]:
    """The body as it comes. A read time-out only bounds each silence: a server that drips is stopped here."""
    parts = response.iter_bytes()
    while True:
        with _obeying(deadline):
            part = next(parts, None)
        if part is None:
            return
        yield part
        deadline.check(f"NIM model {model}")


@contextmanager
def errors(model: str) -> Iterator[None]:
    """Raise httpx's errors as ours."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise refusal(model, error.response.status_code, error.response.headers, error.response.content) from error
    except httpx.LocalProtocolError:
        # Its text may quote a header, and so the key.
        raise ProviderRejected(
            f"NIM model {model}: the request is not valid HTTP. Check MINDSET_NIM_API_KEY."
        ) from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise ProviderRejected(f"NIM model {model}: {error}. Check MINDSET_NIM_URL.") from error
    except httpx.TimeoutException as error:
        raise ProviderUnavailable(f"NIM model {model} did not answer in time ({type(error).__name__}).") from error
    except httpx.HTTPError as error:
        raise ProviderUnavailable(
            f"NIM model {model} cannot be reached: {str(error) or type(error).__name__}. "
            "If it stays so, check MINDSET_NIM_URL and that the NIM is running."
        ) from error


def refusal(model: str, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error that a response with this status stands for."""
    what = f"NIM model {model} answered HTTP {status}: {_said(body)}"
    if status in _TRY_AGAIN or status >= 500:
        return ProviderUnavailable(f"{what}. Try again later.", retry_after_s(headers.get("Retry-After")))
    if 300 <= status < 400:
        return ProviderRejected(f"{what}. Set MINDSET_NIM_URL to where it redirects to: {headers.get('Location')}.")
    return ProviderRejected(f"{what}. {_REMEDY.get(status, 'Check the request against the NIM documentation.')}")


def message(error: object) -> str:
    """What an `error` member says: hosted and own NIMs wrap it differently."""
    if isinstance(error, dict):
        inner = next((error[key] for key in ("error", "message", "detail", "title") if error.get(key)), error)
        return str(inner) if inner is error else message(inner)
    return str(error)


def _said(body: bytes) -> str:
    try:
        text = message(json.loads(body))
    except ValueError:
        text = body.decode("utf-8", errors="replace")
    return " ".join(text.split())[:300].rstrip(".") or "no message"


def _request(client: httpx.Client, method: str, path: str, deadline: Deadline, json: object = None) -> httpx.Request:
    left = deadline.left()
    return client.build_request(method, path, json=json, timeout=httpx.Timeout(left, connect=min(left, CONNECT_S)))


def _beginning(response: httpx.Response, deadline: Deadline) -> bytes:
    body = b""
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _LONGEST_ERROR_BODY or deadline.left() < 0.01:
            break
    return body
