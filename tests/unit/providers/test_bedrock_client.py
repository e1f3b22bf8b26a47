"""Tests of the translation of botocore's and Bedrock's errors: each is mapped to a ProviderError."""

from __future__ import annotations

import inspect

import boto3.session
import botocore.exceptions
import pytest
import urllib3.exceptions
from botocore import eventstream
from botocore.model import StructureShape

from mindset.errors import ConfigurationError, ProviderError, ProviderRejected, ProviderUnavailable
from mindset.providers.bedrock_client import REMEDIES, TRANSIENT_CODES, open_client, translate_errors

# Raised while a client is created, if the SDK's model or this project's code is wrong.
BUGS = {"UndefinedModelAttributeError", "MissingServiceIdError"}
TRANSIENT_ERRORS = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.MetadataRetrievalError,
)
BOTOCORE_ERRORS = [
    kind
    for name, kind in vars(botocore.exceptions).items()
    if inspect.isclass(kind) and issubclass(kind, Exception) and not issubclass(kind, Warning) and name not in BUGS
]


def _modelled_errors() -> list[str]:
    """Return the names of the errors of all operations in use and of their event streams."""
    client = boto3.session.Session().client(
        "bedrock-runtime", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    model = client.meta.service_model
    names: set[str] = set()
    for operation in ("InvokeModel", "Converse", "ConverseStream", "ApplyGuardrail"):
        names |= {shape.name for shape in model.operation_model(operation).error_shapes}
    stream = model.shape_for("ConverseStreamOutput")
    assert isinstance(stream, StructureShape)
    return sorted(names | {name for name in stream.members if name.endswith("Exception")})


@pytest.mark.parametrize("kind", BOTOCORE_ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_botocore_is_mapped(kind: type[Exception]) -> None:
    error = kind.__new__(kind)  # the constructors' signatures differ
    if isinstance(error, botocore.exceptions.ClientError):
        error.response = {"Error": {"Code": "ThrottlingException"}}
    with pytest.raises(ProviderError, match="the-model") as caught, translate_errors("the-model"):
        raise error
    transient = issubclass(kind, (*TRANSIENT_ERRORS, botocore.exceptions.ClientError))
    assert caught.type is (ProviderUnavailable if transient else ProviderRejected)


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for module in (urllib3.exceptions, eventstream)
        for kind in vars(module).values()
        if inspect.isclass(kind)
        and issubclass(kind, urllib3.exceptions.HTTPError | eventstream.ParserError)
        and not issubclass(kind, Warning)
    ],
    ids=lambda kind: kind.__name__,
)
def test_every_error_while_reading_a_stream_is_transient(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    vars(error).update(length=1, partial=0, expected=1)  # attributes that some messages use
    with pytest.raises(ProviderUnavailable, match="the-model"), translate_errors("the-model"):
        raise error


@pytest.mark.parametrize("name", _modelled_errors())
def test_every_modelled_error_is_transient_or_has_a_remedy(name: str) -> None:
    code = name[0].upper() + name[1:]
    assert (code in TRANSIENT_CODES) != (code in REMEDIES), (
        f"{code} is new: add it to TRANSIENT_CODES or REMEDIES in mindset/providers/bedrock_client.py"
    )
    with pytest.raises(ProviderError, match=f"{code}: why") as caught, translate_errors("the-model"):
        raise botocore.exceptions.ClientError({"Error": {"Code": name, "Message": "why"}}, "Converse")
    assert caught.type is (ProviderUnavailable if code in TRANSIENT_CODES else ProviderRejected)


@pytest.mark.parametrize(
    ("status", "expected"), [(500, ProviderUnavailable), (429, ProviderUnavailable), (418, ProviderRejected)]
)
def test_unknown_code_is_mapped_by_its_status(status: int, expected: type[ProviderError]) -> None:
    response = {
        "Error": {"Code": "Strange", "Message": "why"},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {"retry-after": "3"}},
    }
    with pytest.raises(expected, match="Strange: why"), translate_errors("the-model"):
        raise botocore.exceptions.ClientError(response, "Converse")  # type: ignore[arg-type]  # other members are not read


@pytest.mark.parametrize(("region", "url"), [("not a region", None), ("us-east-1", "nowhere")])
def test_invalid_region_or_url_is_a_configuration_error(region: str, url: str | None) -> None:
    with pytest.raises(ConfigurationError, match="MINDSET_BEDROCK"):
        open_client(region, url, 1.0, 1)
