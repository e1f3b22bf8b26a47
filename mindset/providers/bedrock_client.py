"""The client of Amazon Bedrock's runtime (boto3) and the translation of its errors."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import boto3.session
import botocore.exceptions as boto
from botocore.config import Config
from botocore.eventstream import ParserError
from urllib3.exceptions import HTTPError as Urllib3Error

from mindset.errors import ConfigurationError, ProviderError, ProviderRejected, ProviderUnavailable
from mindset.providers.deadline import Deadline, retry_after_s

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

_ACCESS = "Enable the model for the account and region, and allow bedrock:InvokeModel* on it to these credentials."
_CREDENTIALS = "Configure AWS credentials where boto3 looks for them: a role, a profile or AWS_ACCESS_KEY_ID."

TRANSIENT_CODES = frozenset(
    {
        "InternalServerException",
        "ModelErrorException",
        "ModelNotReadyException",
        "ModelStreamErrorException",
        "ModelTimeoutException",
        "ServiceUnavailableException",
        "ThrottlingException",
    }
)
"""Codes of errors that are worth a retry."""

REMEDIES = {
    "AccessDeniedException": _ACCESS,
    "ExpiredTokenException": _CREDENTIALS,
    "IncompleteSignatureException": _CREDENTIALS,
    "InvalidSignatureException": _CREDENTIALS,
    "MissingAuthenticationTokenException": _CREDENTIALS,
    "ResourceNotFoundException": "Set the knowledge base's model to one that the region offers; old ones are retired.",
    "ServiceQuotaExceededException": "Request a higher quota for this model from AWS.",
    "UnrecognizedClientException": _CREDENTIALS,
    "ValidationException": "Check the model's id (many need an inference profile, such as `us.`...) and that no text "
    "is too long for it.",
}
"""What to do about each permanent error, by its code."""

_TRANSIENT_ERRORS = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, boto.MetadataRetrievalError)
_CREDENTIAL_ERRORS = (
    boto.CredentialRetrievalError,
    boto.LoginError,
    boto.NoAuthTokenError,
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.ProfileNotFound,
    boto.RefreshWithMFAUnsupportedError,
    boto.SSOError,
    boto.TokenRetrievalError,
    boto.UnknownCredentialError,
)
_CODE = re.compile(r"\b([A-Za-z]+Exception)\b")

T = TypeVar("T")

_opened = threading.local()


def open_client(
    region: str, url: str | None, timeout_s: float, connections: int, session: boto3.session.Session | None = None
) -> BedrockRuntimeClient:
    """Return a thread-safe client. The caller closes it. Raises ConfigurationError.

    boto3 fixes the read timeout per client, not per call: the last retry can exceed its deadline by `timeout_s`."""
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},  # the adapters retry, within their deadlines
        connect_timeout=min(timeout_s, 5.0),
        read_timeout=timeout_s,
        max_pool_connections=connections,
    )
    try:
        # boto3's default session is not thread-safe.
        session = session or boto3.session.Session()
        client = session.client("bedrock-runtime", region_name=region, endpoint_url=url, config=config)
    except (boto.BotoCoreError, ValueError) as error:
        raise ConfigurationError(
            f"Bedrock cannot be set up: {error}. Check MINDSET_BEDROCK_REGION, MINDSET_BEDROCK_URL and AWS_PROFILE."
        ) from error
    client.meta.events.register("response-received.bedrock-runtime.ConverseStream", _remember_body)
    return client


def read_events(stream: Iterable[T], deadline: Deadline) -> Iterator[T]:
    """Yield the events of the stream that this thread opened last, waiting for each until the deadline.

    Cancelling the deadline interrupts the wait. It cannot interrupt the wait for the start of the stream, which ends
    with the client's timeout: boto3 exposes no connection until then."""
    events, body = iter(stream), _opened.body

    def open_socket() -> socket.socket | None:
        # None once the stream is read to its end: another response may use the connection by then.
        return getattr(body.connection, "sock", None)

    def shut_down() -> None:
        with suppress(OSError):
            if connected := open_socket():
                connected.shutdown(socket.SHUT_RDWR)

    while True:
        with deadline.on_cancel(shut_down):
            if connected := open_socket():
                connected.settimeout(deadline.seconds_left())
            event = next(events, None)
        if event is None:
            return
        yield event


def _remember_body(response_dict: dict[str, Any] | None = None, **_: object) -> None:
    # boto3 calls this in the requesting thread. It offers no other access to the connection of an event stream.
    _opened.body = response_dict["body"] if response_dict else None


class Clients:
    """Clients with different read timeouts, which boto3 fixes per client. They are opened at their first use.

    Thread-safe. Close it with `close`."""

    _TIMEOUTS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

    def __init__(self, region: str, url: str | None, connections: int) -> None:
        self._region, self._url, self._connections = region, url, connections
        self._session = boto3.session.Session()  # loads the service's description once for all clients
        self._lock = threading.Lock()
        self._clients: dict[float, BedrockRuntimeClient] = {}

    def with_timeout(self, seconds: float) -> BedrockRuntimeClient:
        """Return the client with the longest timeout that is at most `seconds`, but with at least 0.3 s."""
        timeout_s = max((timeout for timeout in self._TIMEOUTS_S if timeout <= seconds), default=0.3)
        with self._lock:
            if timeout_s not in self._clients:
                self._clients[timeout_s] = open_client(
                    self._region, self._url, timeout_s, self._connections, self._session
                )
            return self._clients[timeout_s]

    def close(self) -> None:
        """Close all opened clients."""
        for client in self._clients.values():
            client.close()


@contextmanager
def translate_errors(model: str) -> Iterator[None]:
    """Raise botocore's errors as ProviderRejected or ProviderUnavailable, also while a stream is read in the block."""
    try:
        yield
    except boto.ClientError as error:
        raise _response_error(model, error) from error
    except (*_TRANSIENT_ERRORS, Urllib3Error, ParserError) as error:
        raise ProviderUnavailable(
            f"Bedrock model {model} cannot be reached: {error}. "
            "If this persists, check MINDSET_BEDROCK_REGION and the network."
        ) from error
    except _CREDENTIAL_ERRORS as error:
        raise ProviderRejected(f"Bedrock model {model}: {error}. {_CREDENTIALS}") from error
    except boto.BotoCoreError as error:
        raise ProviderRejected(
            f"Bedrock model {model}: boto3 cannot send the request: {error}. "
            "Check the model's id and the AWS configuration."
        ) from error


def _response_error(model: str, error: boto.ClientError) -> ProviderError:
    details = error.response.get("Error", {})
    message = " ".join(str(details.get("Message", "")).split())[:300].rstrip(".") or str(error)
    code = _code(str(details.get("Code", "")), str(error))
    metadata = error.response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    summary = f"Bedrock model {model} returned {code}: {message}"
    if code in REMEDIES:
        return ProviderRejected(f"{summary}. {REMEDIES[code]}", for_input=code == "ValidationException")
    if code in TRANSIENT_CODES or status in {408, 424, 429} or status >= 500:
        headers = metadata.get("HTTPHeaders", {})
        return ProviderUnavailable(f"{summary}. Try again later.", retry_after_s(headers.get("retry-after")))
    return ProviderRejected(f"{summary}. Check the model's id and the AWS configuration.", for_input=status == 413)


def _code(code: str, text: str) -> str:
    """Return the error's code. Errors within a stream start it in lower case, or name it only in the message."""
    known_codes = TRANSIENT_CODES | REMEDIES.keys()
    for name in (code, *(match[1] for match in _CODE.finditer(text))):
        capitalized = name[:1].upper() + name[1:]
        if capitalized in known_codes:
            return capitalized
    return code or "an error"
