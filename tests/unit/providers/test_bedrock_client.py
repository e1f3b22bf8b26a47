"""Every error of botocore, and every error that Bedrock's model names, is one of ours."""

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

# They say that an SDK's model or our own code is wrong; botocore raises them while a client is made.
BUGS = {"UndefinedModelAttributeError", "MissingServiceIdError"}
MAY_PASS = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.MetadataRetrievalError,
)
EVERY = [
    each
    for name, each in vars(botocore.exceptions).items()
    if inspect.isclass(each) and issubclass(each, Exception) and not issubclass(each, Warning) and name not in BUGS
]


def _modelled() -> list[str]:
    """Names of the errors of the operations in use, and of those in their streams."""
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


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_error_of_botocore_is_mapped(kind: type[Exception]) -> None:
    made = kind.__new__(kind)  # their constructors all differ
    if isinstance(made, botocore.exceptions.ClientError):
        made.response = {"Error": {"Code": "ThrottlingException"}}
    with pytest.raises(ProviderError, match="the-model") as caught, translate_errors("the-model"):
        raise made
    passing = issubclass(kind, (*MAY_PASS, botocore.exceptions.ClientError))
    assert caught.type is (ProviderUnavailable if passing else ProviderRejected)


@pytest.mark.parametrize(
    "kind",
    [
        each
        for module in (urllib3.exceptions, eventstream)
        for each in vars(module).values()
        if inspect.isclass(each)
        and issubclass(each, urllib3.exceptions.HTTPError | eventstream.ParserError)
        and not issubclass(each, Warning)
    ],
    ids=lambda kind: kind.__name__,
)
def test_every_error_of_reading_a_stream_may_pass(kind: type[Exception]) -> None:
    made = kind.__new__(kind)
    vars(made).update(length=1, partial=0, expected=1)  # what some of them speak of
    with pytest.raises(ProviderUnavailable, match="the-model"), translate_errors("the-model"):
        raise made


@pytest.mark.parametrize("name", _modelled())
def test_every_error_that_bedrock_names_has_its_place(name: str) -> None:
    capital = name[0].upper() + name[1:]
    assert (capital in TRANSIENT_CODES) != (capital in REMEDIES), (
        f"{capital} is new: say in mindset/providers/bedrock_client.py what it means"
    )
    with pytest.raises(ProviderError, match=f"{capital}: why") as caught, translate_errors("the-model"):
        raise botocore.exceptions.ClientError({"Error": {"Code": name, "Message": "why"}}, "Converse")
    assert caught.type is (ProviderUnavailable if capital in TRANSIENT_CODES else ProviderRejected)


@pytest.mark.parametrize(
    ("status", "expected"), [(500, ProviderUnavailable), (429, ProviderUnavailable), (418, ProviderRejected)]
)
def test_an_unknown_name_goes_by_its_status(status: int, expected: type[ProviderError]) -> None:
    response = {
        "Error": {"Code": "Strange", "Message": "why"},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {"retry-after": "3"}},
    }
    with pytest.raises(expected, match="Strange: why"), translate_errors("the-model"):
        raise botocore.exceptions.ClientError(response, "Converse")  # type: ignore[arg-type]  # the rest is never read


@pytest.mark.parametrize(("region", "url"), [("not a region", None), ("us-east-1", "nowhere")])
def test_a_wrong_region_or_address_is_a_configuration_error(region: str, url: str | None) -> None:
    with pytest.raises(ConfigurationError, match="MINDSET_BEDROCK"):
        open_client(region, url, 1.0, 1)
