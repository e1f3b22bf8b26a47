"""Tests of the Bedrock embedder when Bedrock fails."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from mindset.embedding.bedrock import BedrockEmbedder
from mindset.errors import ConfigurationError, DimensionMismatch, ProviderRejected, ProviderUnavailable
from tests.providers import Fault, ProviderServer, cut, garbage, hang, status

TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "us.cohere.embed-english-v3"


def _open(
    provider: ProviderServer, model: str = TITAN, dimension: int = 1024, deadline_s: float = 5.0
) -> BedrockEmbedder:
    embedder = BedrockEmbedder(model, dimension, url=provider.url, deadline_s=deadline_s)
    return provider.clients.enter_context(closing(embedder))


def test_titan_receives_one_text_per_request_and_cohere_96(provider: ProviderServer) -> None:
    _open(provider).embed_passages(["a"] * 5)
    assert len(provider.requests) == 5
    _open(provider, COHERE).embed_passages(["a"] * 97)
    assert sorted(len(request.body["texts"]) for request in provider.requests[5:]) == [1, 96]


def test_cohere_receives_the_input_type(provider: ProviderServer) -> None:
    embedder = _open(provider, COHERE)
    embedder.embed_passages(["a"])
    embedder.embed_query("a")
    assert [request.body["input_type"] for request in provider.requests] == ["search_document", "search_query"]


@pytest.mark.parametrize("model", [TITAN, COHERE])
@pytest.mark.parametrize("fault", [status(429, retry_after=0.05), status(500), status(424), garbage()], ids=repr)
def test_transient_fault_is_retried(provider: ProviderServer, fault: Fault, model: str) -> None:
    provider.fail("/invoke", fault)
    assert _open(provider, model).embed_passages(["a"]).shape == (1, 1024)
    assert len(provider.requests) == 2


@pytest.mark.parametrize("fault", [status(429), hang(), garbage(), cut(0)], ids=lambda fault: fault.kind)
def test_persistent_fault_is_unavailable_at_the_deadline(provider: ProviderServer, fault: Fault) -> None:
    provider.fail("/invoke", always=fault)
    started = time.monotonic()
    with pytest.raises(ProviderUnavailable, match=TITAN):
        _open(provider, deadline_s=0.3).embed_query("a")
    assert time.monotonic() - started < 4


@pytest.mark.parametrize(("code", "remedy"), [(403, "bedrock:InvokeModel"), (404, "region offers"), (400, "too long")])
def test_rejection_is_not_retried_and_names_the_remedy(provider: ProviderServer, code: int, remedy: str) -> None:
    provider.fail("/invoke", always=status(code))
    with pytest.raises(ProviderRejected, match=f"{TITAN}.*simulated failure.*{remedy}"):
        _open(provider).embed_query("a")
    assert len(provider.requests) == 1


def test_missing_credentials_are_reported(provider: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(ProviderRejected, match="credentials"):
        _open(provider).embed_query("a")


def test_dimension_mismatch_names_both_dimensions(provider: ProviderServer) -> None:
    with pytest.raises(DimensionMismatch, match=f"{COHERE}.* 1024 .* 512 "):
        _open(provider, COHERE, 512).embed_passages(["a"])


def test_unsupported_model_is_a_configuration_error(provider: ProviderServer) -> None:
    with pytest.raises(ConfigurationError, match="titan-embed-text-v2"):
        _open(provider, "anthropic.claude-sonnet-4-6")
