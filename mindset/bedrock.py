"""Amazon Bedrock's runtime through boto3: its client, and its errors as ours."""

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

from mindset.deadline import Deadline, retry_after_s
from mindset.errors import ConfigurationError, ProviderError, ProviderRejected, ProviderUnavailable

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

_ACCESS = "Enable the model for the account and region, and allow bedrock:InvokeModel* on it to these credentials."
_CREDENTIALS = "Configure AWS credentials where boto3 looks for them: a role, a profile or AWS_ACCESS_KEY_ID."

UNAVAILABLE = frozenset(
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
"""Codes of errors that may pass."""

REMEDY = {
    "AccessDeniedException": _ACCESS,
    "ExpiredTokenException": _CREDENTIALS,
    "IncompleteSignatureException": _CREDENTIALS,
    "InvalidSignatureException": _CREDENTIALS,
    "MissingAuthenticationTokenException": _CREDENTIALS,
    "ResourceNotFoundException": "Set the knowledge base's model to one that the region offers; old ones are retired.",
    "ServiceQuotaExceededException": "Ask AWS for a higher quota of this model.",
    "UnrecognizedClientException": _CREDENTIALS,
    "ValidationException": "Check the model's id (many need an inference profile, such as `us.`...) and that no text "
    "is too long for it.",
}
"""Codes of errors that stay until somebody does this."""

_PASSING = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, boto.MetadataRetrievalError)
_ABOUT_CREDENTIALS = (
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
    """A client for many threads; the caller closes it. Raises ConfigurationError.

    boto3 fixes the time-out of a silence here, for all calls: the last retry may outlive its deadline by as much."""
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},  # the adapters retry, within their deadlines
        connect_timeout=min(timeout_s, 5.0),
        read_timeout=timeout_s,
        max_pool_connections=connections,
    )
    try:
        # A session of its own: boto3's default one may not be used from two threads.
        session = session or boto3.session.Session()
        client = session.client("bedrock-runtime", region_name=region, endpoint_url=url, config=config)
    except (boto.BotoCoreError, ValueError) as wrong:
        raise ConfigurationError(
            f"Bedrock cannot be set up: {wrong}. Check MINDSET_BEDROCK_REGION, MINDSET_BEDROCK_URL and AWS_PROFILE."
        ) from wrong
    client.meta.events.register("response-received.bedrock-runtime.ConverseStream", _note_body)
    return client


def received(stream: Iterable[T], deadline: Deadline) -> Iterator[T]:
    """The events of the stream that this thread opened last, each waited for as long as the deadline says.

    Cancelling it ends that wait. Only the client's time-out ends the one for the stream's beginning: until then boto3
    shows no connection."""
    events, body = iter(stream), _opened.body

    def line() -> socket.socket | None:
        # None once all has been read: another answer may be using the connection by then.
        return getattr(body.connection, "sock", None)

    def shut() -> None:
        with suppress(OSError):
            if connected := line():
                connected.shutdown(socket.SHUT_RDWR)

    while True:
        with deadline.interrupted_by(shut):
            if connected := line():
                connected.settimeout(deadline.left())
            event = next(events, None)
        if event is None:
            return
        yield event


def _note_body(response_dict: dict[str, Any] | None = None, **_: object) -> None:
    # boto3 calls this in the thread that asks. It shows no other way to the connection below an event stream.
    _opened.body = response_dict["body"] if response_dict else None


class Clients:
    """Clients by the longest silence that they bear, since boto3 fixes it for each; opened at their first use.

    Thread-safe. Close it by `close`."""

    _SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

    def __init__(self, region: str, url: str | None, connections: int) -> None:
        self._region, self._url, self._connections = region, url, connections
        self._session = boto3.session.Session()  # what it has read of the service is read once
        self._opening = threading.Lock()
        self._opened: dict[float, BedrockRuntimeClient] = {}

    def patient(self, seconds: float) -> BedrockRuntimeClient:
        """One that bears a silence of so many seconds at most, and of half as many at least."""
        borne = max((each for each in self._SECONDS if each <= seconds), default=0.3)
        with self._opening:
            if borne not in self._opened:
                self._opened[borne] = open_client(self._region, self._url, borne, self._connections, self._session)
            return self._opened[borne]

    def close(self) -> None:
        """Close what was opened."""
        for each in self._opened.values():
            each.close()


@contextmanager
def errors(model: str) -> Iterator[None]:
    """Raise botocore's errors as ours, also those of a stream that is read inside the block."""
    try:
        yield
    except boto.ClientError as error:
        raise _refusal(model, error) from error
    except (*_PASSING, Urllib3Error, ParserError) as error:
        raise ProviderUnavailable(
            f"Bedrock model {model} cannot be reached: {error}. "
            "If it stays so, check MINDSET_BEDROCK_REGION and the network."
        ) from error
    except _ABOUT_CREDENTIALS as error:
        raise ProviderRejected(f"Bedrock model {model}: {error}. {_CREDENTIALS}") from error
    except boto.BotoCoreError as error:
        raise ProviderRejected(
            f"Bedrock model {model}: boto3 cannot send the request: {error}. "
            "Check the model's id and the AWS configuration."
        ) from error


def _refusal(model: str, error: boto.ClientError) -> ProviderError:
    details = error.response.get("Error", {})
    said = " ".join(str(details.get("Message", "")).split())[:300].rstrip(".") or str(error)
    code = _code(str(details.get("Code", "")), str(error))
    metadata = error.response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    what = f"Bedrock model {model} answered {code}: {said}"
    if code in REMEDY:
        return ProviderRejected(f"{what}. {REMEDY[code]}")
    if code in UNAVAILABLE or status in {408, 424, 429} or status >= 500:
        headers = metadata.get("HTTPHeaders", {})
        return ProviderUnavailable(f"{what}. Try again later.", retry_after_s(headers.get("retry-after")))
    return ProviderRejected(f"{what}. Check the model's id and the AWS configuration.")


def _code(code: str, text: str) -> str:
    """The error's name. In a stream it has a small first letter, and may stand in the message only."""
    known = UNAVAILABLE | REMEDY.keys()
    for name in (code, *(match[1] for match in _CODE.finditer(text))):
        capital = name[:1].upper() + name[1:]
        if capital in known:
            return capital
    return code or "an error"
